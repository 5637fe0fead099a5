"""The directory of a zip archive (APPNOTE.TXT 4.3), written by strangers: its entries, in bounded time and memory.

Python's `zipfile` takes seconds for crafted extra fields, and names entries differently from version to version.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

MAX_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
STORED, DEFLATED = 0, 8

_END = struct.Struct("<12x2I2x")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_END_64 = struct.Struct("<40x2Q")
_END_64_SIGNATURE = b"PK\x06\x06"
_HEADER = struct.Struct("<4s4x4H3I3H8xI")
_HEADER_SIGNATURE = b"PK\x01\x02"
# That of each entry in front of its data (4.3.7): signature, and lengths of the name and of the extra field.
LOCAL_HEADER = struct.Struct("<4s22xHH")
LOCAL_SIGNATURE = b"PK\x03\x04"
_FIELD = struct.Struct("<HH")
# The end of the archive, which says where the directory is. A comment of maximum length would fill it. Directories of
# several hundred entries also fit, and then need no request of their own.
_TAIL_BYTES = _END_64.size + _LOCATOR_BYTES + _END.size + 0xFFFF

_UTF8_NAME = 0x800
_ZIP64_FIELD = 0x0001
_TIMES_FIELD = 0x5455
_HAS_MODIFIED = 0x1
_IN_ZIP64 = 0xFFFFFFFF
# Packers add two or three.
_MAX_FIELDS = 8

# Deflate packs at most 1,032 bytes into one (zlib, "Maximum Compression Factor").
_MAX_RATIO = 1032
# No encoder doubles the length of data. An entry that claims so may consist of endless empty blocks.
_MAX_EXPANSION = 2
_SLACK = 1024


class InvalidZip(Exception):
    """This is no zip archive, or its directory contradicts itself."""


class ZipTooLarge(Exception):
    """The directory has more entries or bytes than are read."""


class Header(NamedTuple):
    """What the directory says of one entry. `offset` is that of the entry's own header, from the start of the file."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    dos_times: tuple[int, int]
    crc: int
    packed_size: int
    size: int
    offset: int
    extra: bytes

    @property
    def modified(self) -> str | None:
        """RFC 3339: the UTC time that most packers add, otherwise their local time, without an offset."""
        times = _field(self.extra, _TIMES_FIELD)
        try:
            if times and times[0] & _HAS_MODIFIED:
                (seconds,) = struct.unpack_from("<i", times, 1)
                return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
            date, time = self.dos_times
            day = 1980 + (date >> 9), date >> 5 & 15, date & 31
            return datetime(*day, time >> 11, time >> 5 & 63, 2 * (time & 31)).isoformat()
        except (ValueError, struct.error):
            # An invalid date, for example because the packer wrote zeros.
            return None


def read_directory(size: int, read: Callable[[int, int], bytes]) -> list[Header]:
    """The entries of an archive of `size` bytes, in the order of its directory. `read` returns a range of its bytes.

    Raises `InvalidZip` also if entries overlap or have impossible sizes, and `ZipTooLarge`.
    """
    tail_start = max(0, size - _TAIL_BYTES)
    tail = read(tail_start, size)
    try:
        start, stop, offset = _locate(tail, tail_start)
        if stop - start > MAX_DIRECTORY_BYTES:
            raise ZipTooLarge
        directory = read(start, stop) if start < tail_start else tail[start - tail_start : stop - tail_start]
        # Each entry begins with a signature, so there are no more entries than signatures.
        if directory.count(_HEADER_SIGNATURE) > MAX_ENTRIES:
            raise ZipTooLarge
        # Offsets are too small if the archive was appended to other bytes, such as a program that extracts it.
        headers = _parse(directory, start - offset)
    except (struct.error, UnicodeError) as error:
        raise InvalidZip(str(error)) from error
    _check(headers, start)
    return headers


def _locate(tail: bytes, tail_start: int) -> tuple[int, int, int]:
    """Where the directory starts and stops, and the start that the archive claims."""
    at = tail.rfind(_END_SIGNATURE, 0, len(tail) - _END.size + len(_END_SIGNATURE))
    if at < 0:
        raise InvalidZip("it has no end")
    size, offset = _END.unpack_from(tail, at)
    locator = at - _LOCATOR_BYTES
    end_64 = locator - _END_64.size
    if end_64 >= 0 and tail.startswith(_LOCATOR_SIGNATURE, locator) and tail.startswith(_END_64_SIGNATURE, end_64):
        size, offset = _END_64.unpack_from(tail, end_64)
        at = end_64
    stop = tail_start + at
    if size > stop:
        raise InvalidZip("its directory begins before the file")
    return stop - size, stop, offset


def _parse(directory: bytes, shift: int) -> list[Header]:
    headers = []
    at = 0
    while at < len(directory):
        values = _HEADER.unpack_from(directory, at)
        signature, flags, method, dos_time, dos_date, crc, packed_size, size = values[:8]
        name_length, extra_length, comment_length, offset = values[8:]
        if signature != _HEADER_SIGNATURE:
            raise InvalidZip("an entry of the directory is not where it should be")
        at += _HEADER.size
        name_stop = at + name_length
        raw_name, extra = directory[at:name_stop], directory[name_stop : name_stop + extra_length]
        at = name_stop + extra_length + comment_length
        if at > len(directory):
            raise InvalidZip("an entry is longer than the directory")
        if _IN_ZIP64 in (size, packed_size, offset):
            size, packed_size, offset = _large((size, packed_size, offset), _field(extra, _ZIP64_FIELD))
        name = _decode(raw_name, flags)
        times = (dos_date, dos_time)
        headers.append(Header(raw_name, name, flags, method, times, crc, packed_size, size, offset + shift, extra))
    return headers


def _decode(raw_name: bytes, flags: int) -> str:
    # Programs cut names at a zero.
    name = raw_name.partition(b"\0")[0]
    try:
        return name.decode()
    except UnicodeDecodeError:
        if flags & _UTF8_NAME:
            raise
        # Info-ZIP and macOS write UTF-8 without the flag, so only what is not UTF-8 has the old encoding.
        return name.decode("cp437")


def _large(values: Sequence[int], field: bytes) -> Iterator[int]:
    """The values, where those that do not fit into 32 bits come from the ZIP64 field, in this order (4.5.3)."""
    at = 0
    for value in values:
        if value == _IN_ZIP64:
            yield from struct.unpack_from("<Q", field, at)
            at += 8
        else:
            yield value


def _field(extra: bytes, kind: int) -> bytes:
    """The content of the first extra field of this kind, empty if there is none. A stranger can add thousands."""
    at = 0
    for _ in range(_MAX_FIELDS):
        if at + _FIELD.size > len(extra):
            break
        each, length = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if each == kind:
            return extra[at : at + length]
        at += length
    return b""


def _check(headers: Sequence[Header], end: int) -> None:
    """Refuse a directory whose entries overlap, reach into it, or have impossible sizes."""
    in_place = sorted(headers, key=lambda header: header.offset)
    stops = [*(header.offset for header in in_place[1:]), end]
    for header, stop in zip(in_place, stops, strict=False):
        if not 0 <= header.offset <= stop - LOCAL_HEADER.size - header.packed_size:
            raise InvalidZip("entries overlap, or reach beyond the archive")
        if header.method == STORED and header.size != header.packed_size:
            raise InvalidZip("a stored entry has two sizes")
        if header.method == DEFLATED and not _is_possible(header.size, header.packed_size):
            raise InvalidZip("a deflated entry cannot have its size")


def _is_possible(size: int, packed_size: int) -> bool:
    return size <= packed_size * _MAX_RATIO and packed_size <= size * _MAX_EXPANSION + _SLACK
