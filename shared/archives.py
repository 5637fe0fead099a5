"""Zip archives: lists their entries, and locates each one so that it can be downloaded alone.

Reads the directory of an archive by ranges. A stranger wrote the directory, so nothing in it is trusted unchecked:
entries must lie within the file and must not overlap, and sizes must be possible.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import ArchiveTooLarge, Contended, DamagedFile, NotAnArchive, UnknownEntry, UnsupportedEntry
from shared.sharing import Payload, Shares, Stored

MAX_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 16 * 1024 * 1024

# The end of the archive, which says where the directory is. A comment of maximum length would fill it. Directories of
# several hundred entries also fit, and then need no request of their own.
_TAIL_BYTES = 64 * 1024 + 22
# A directory of maximum size takes about 60 MB of memory and half a second.
_AT_ONCE = threading.BoundedSemaphore(2)

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_TIMES_FIELD = 0x5455
_HAS_MODIFIED = 0x1

# Deflate packs at most 1,032 bytes into one (zlib, "Maximum Compression Factor").
_MAX_RATIO = 1032
# No encoder doubles the length of data. An entry that claims so may consist of endless empty blocks.
_MAX_EXPANSION = 2
_SLACK = 1024
_INFLATE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
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
    with _directory(shares, file) as directory:
        return [Entry(info.filename, info.file_size, _modified(info)) for info in directory.infolist()]


def find_member(shares: Shares, file: Stored, name: str) -> Member:
    """The file of this name in an archive. If there are several, the last one: it remains after unpacking.

    Raises `UnknownEntry`, `UnsupportedEntry`, and what `list_entries` raises.
    """
    with _directory(shares, file) as directory:
        try:
            info = directory.getinfo(name)
        except KeyError as error:
            raise UnknownEntry(file.record.file_id) from error
        if info.is_dir():
            raise UnknownEntry(file.record.file_id)
        return _locate(shares, file, info)


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
def _directory(shares: Shares, file: Stored) -> Iterator[zipfile.ZipFile]:
    file_id = file.record.file_id
    if file.record.encryption is not None:
        raise NotAnArchive(file_id, "it is encrypted")
    if not _AT_ONCE.acquire(blocking=False):
        raise Contended(file_id)
    try:
        with zipfile.ZipFile(_Ranged(shares, file)) as directory:
            _check(file_id, directory.infolist(), directory.start_dir)
            yield directory
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise NotAnArchive(file_id, f"{type(error).__name__}: {error}") from error
    finally:
        _AT_ONCE.release()


def _check(file_id: str, entries: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Refuse a directory whose entries overlap, reach into it, or have impossible sizes."""
    in_place = sorted(entries, key=lambda info: info.header_offset)
    for info, following in itertools.pairwise([*in_place, None]):
        assert info is not None
        stop = info.header_offset + _LOCAL_HEADER.size + info.compress_size
        if info.header_offset < 0 or stop > (end if following is None else following.header_offset):
            raise NotAnArchive(file_id, "entries overlap, or reach beyond the archive")
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise NotAnArchive(file_id, "a stored entry has two sizes")
        if info.compress_type == zipfile.ZIP_DEFLATED and not _is_possible(info):
            raise NotAnArchive(file_id, "a deflated entry cannot have its size")


def _is_possible(info: zipfile.ZipInfo) -> bool:
    unpacked, packed = info.file_size, info.compress_size
    return unpacked <= packed * _MAX_RATIO and packed <= unpacked * _MAX_EXPANSION + _SLACK


def _locate(shares: Shares, file: Stored, info: zipfile.ZipInfo) -> Member:
    file_id = file.record.file_id
    if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsupportedEntry(file_id)
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437")
    start = info.header_offset
    head = _read(shares, file, start, start + _LOCAL_HEADER.size + len(name))
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(head)
    # With two names for one entry, an archive could list one and deliver another.
    if signature != _LOCAL_SIGNATURE or name_length != len(name) or head[_LOCAL_HEADER.size :] != name:
        raise NotAnArchive(file_id, "an entry is not where the directory says it is")
    start += _LOCAL_HEADER.size + name_length + extra_length
    stop = start + info.compress_size
    if stop > file.record.file_size:
        raise NotAnArchive(file_id, "an entry reaches beyond the archive")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Member(info.filename, info.file_size, start, stop, deflated, info.CRC)


def _modified(info: zipfile.ZipInfo) -> str | None:
    """The UTC time that most packers add to an entry, otherwise the local time of the zip format."""
    try:
        fields = info.extra
        while len(fields) >= 4:
            kind, length = struct.unpack_from("<HH", fields)
            if kind == _TIMES_FIELD and length >= 5 and fields[4] & _HAS_MODIFIED:
                (seconds,) = struct.unpack_from("<i", fields, 5)
                return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
            fields = fields[4 + length :]
        return datetime(*info.date_time).isoformat()
    except (ValueError, struct.error):
        # An invalid date, for example because the packer wrote zeros.
        return None


class _Ranged(io.RawIOBase):
    """A stored file for `zipfile`: reads the end at once, and anything before it by ranges."""

    def __init__(self, shares: Shares, file: Stored) -> None:
        super().__init__()
        self._shares = shares
        self._file = file
        self._size = file.record.file_size
        self._tail_start = max(0, self._size - _TAIL_BYTES)
        self._tail = _read(shares, file, self._tail_start, self._size)
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise OSError("before the beginning")
        self._position = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        start = min(self._position, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        if stop - start > MAX_DIRECTORY_BYTES:
            raise ArchiveTooLarge(self._file.record.file_id)
        if start >= self._tail_start:
            data = self._tail[start - self._tail_start : stop - self._tail_start]
        else:
            data = _read(self._shares, self._file, start, stop)
        # Each entry of a directory begins with a signature, so there are no more entries than signatures.
        if data.count(_DIRECTORY_SIGNATURE) > MAX_ENTRIES:
            raise ArchiveTooLarge(self._file.record.file_id)
        self._position = stop
        return data


def _read(shares: Shares, file: Stored, start: int, stop: int) -> bytes:
    """The bytes `[start, stop)` of a file, or up to its end."""
    stop = min(stop, file.record.file_size)
    return b"" if start >= stop else shares.read(file, start, stop)
