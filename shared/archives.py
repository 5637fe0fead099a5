"""Zip archives: lists their entries, and locates each one so that it can be downloaded alone.

Reads the directory of an archive by ranges. A stranger wrote the directory, so nothing in it is trusted unchecked:
entries must lie within the file and must not overlap, and sizes must be possible.
"""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shared.errors import ArchiveTooLarge, Contended, DamagedFile, NotAnArchive, UnknownEntry, UnsupportedEntry
from shared.sharing import Payload, Shares, Stored
from shared.zip_directory import (
    DEFLATED,
    LOCAL_HEADER,
    LOCAL_SIGNATURE,
    STORED,
    Header,
    InvalidZip,
    ZipTooLarge,
    read_directory,
)

# A directory of maximum size takes about 60 MB of memory and half a second.
_AT_ONCE = threading.BoundedSemaphore(2)
PATIENCE = 5.0  # seconds to wait for one's turn

_ENCRYPTED = 0x1
_INFLATE_BYTES = 256 * 1024


class Entry(NamedTuple):
    """One entry of an archive, as the directory describes it.

    `name` ends in "/" for a folder. Otherwise it can be anything, because a stranger chose it. `size` is the unpacked
    size in bytes. `modified` is RFC 3339, without an offset if the archive has only the local time of its packer.
    """

    name: str
    size: int
    modified: str | None


@dataclass(frozen=True, slots=True)
class Member:
    """Where the bytes of one entry are: the range `[start, stop)` of the archive, `deflated` or uncompressed."""

    name: str
    size: int
    start: int
    stop: int
    deflated: bool
    crc: int


def list_entries(shares: Shares, file: Stored) -> list[Entry]:
    """List the entries of an archive, in the order of its directory. This never counts as a download.

    Raises `NotAnArchive`, `ArchiveTooLarge`, `Contended` if too many archives are being read, and what opening the
    file raises.
    """
    with _directory(shares, file) as headers:
        return [Entry(header.name, header.size, header.modified) for header in headers]


def find_member(shares: Shares, file: Stored, name: str) -> Member:
    """The file of this name in an archive. If there are several, the last one: it remains after unpacking.

    Raises `UnknownEntry`, `UnsupportedEntry`, and what `list_entries` raises.
    """
    with _directory(shares, file) as headers:
        header = next((header for header in reversed(headers) if header.name == name), None)
    if header is None or name.endswith("/"):
        raise UnknownEntry(file.record.file_id)
    return _locate(shares, file, header)


class Inflated:
    """Decompresses a deflated entry while reading it from `payload`. Close it when done."""

    def __init__(self, payload: Payload, member: Member, file_id: str) -> None:
        self._payload = payload
        self._file_id = file_id
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._left = member.size
        self._expected_crc = member.crc
        self._crc = 0

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty only at the end.

        Raises `DamagedFile` instead of returning the last bytes if the size or CRC-32 is not as announced.
        """
        if self._left == 0:
            return b""
        data = self._next(min(size, self._left))
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._left == 0 and self._crc != self._expected_crc:
            raise DamagedFile(self._file_id, "an entry of the archive has not the CRC-32 that is announced")
        return data

    def read_ready(self, size: int) -> memoryview | None:
        """None, because decompressing would block the event loop."""
        return None

    def close(self) -> None:
        self._payload.close()

    def _next(self, size: int) -> bytes:
        try:
            while True:
                packed = self._inflater.unconsumed_tail or self._payload.read(_INFLATE_BYTES)
                if data := self._inflater.decompress(packed, size):
                    return data
                if self._inflater.eof or not packed:
                    raise DamagedFile(self._file_id, "an entry of the archive is shorter than it is announced")
        except zlib.error as error:
            raise DamagedFile(self._file_id, f"an entry of the archive cannot be unpacked: {error}") from error


@contextlib.contextmanager
def _directory(shares: Shares, file: Stored) -> Iterator[list[Header]]:
    file_id = file.record.file_id
    if file.record.encryption is not None:
        raise NotAnArchive(file_id, "it is encrypted")
    if not _AT_ONCE.acquire(timeout=PATIENCE):
        raise Contended(file_id)
    try:
        yield read_directory(file.record.file_size, lambda start, stop: _read(shares, file, start, stop))
    except InvalidZip as error:
        raise NotAnArchive(file_id, str(error)) from error
    except ZipTooLarge as error:
        raise ArchiveTooLarge(file_id) from error
    finally:
        _AT_ONCE.release()


def _locate(shares: Shares, file: Stored, header: Header) -> Member:
    file_id = file.record.file_id
    if header.flags & _ENCRYPTED or header.method not in (STORED, DEFLATED):
        raise UnsupportedEntry(file_id)
    name = header.raw_name
    start = header.offset
    head = _read(shares, file, start, start + LOCAL_HEADER.size + len(name))
    signature, name_length, extra_length = LOCAL_HEADER.unpack_from(head)
    # With two names for one entry, an archive could list one and deliver another.
    if signature != LOCAL_SIGNATURE or name_length != len(name) or head[LOCAL_HEADER.size :] != name:
        raise NotAnArchive(file_id, "an entry is not where the directory says it is")
    start += LOCAL_HEADER.size + name_length + extra_length
    stop = start + header.packed_size
    if stop > file.record.file_size:
        raise NotAnArchive(file_id, "an entry reaches beyond the archive")
    return Member(header.name, header.size, start, stop, header.method == DEFLATED, header.crc)


def _read(shares: Shares, file: Stored, start: int, stop: int) -> bytes:
    """The bytes `[start, stop)` of a file, or up to its end."""
    stop = min(stop, file.record.file_size)
    return b"" if start >= stop else shares.read(file, start, stop)
