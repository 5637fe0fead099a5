"""The position of each byte in a stored zip archive (APPNOTE.TXT 6.3), known before any file is read again.

It depends only on names, sizes, times and CRC-32s, so any range can be produced separately, and a later run makes the
same archive. The page does the same in JavaScript; `tests/archive_vectors.json` checks that both agree.

- All members are stored, in the given order. Sizes and CRC-32 are in the local headers; there are no data descriptors.
- Names are UTF-8, marked by flag 11. A name that ends in `/` is a folder, without bytes.
- Times are UTC: in extra field 0x5455 if they fit (1970 to 2038), and as DOS time, clamped to 1980 to 2107.
- ZIP64 records and fields are used only for values that do not fit otherwise: some readers refuse unnecessary ones.
"""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import itertools
import struct
from collections.abc import Iterator, Sequence

UTF8 = 1 << 11
UNIX = 3 << 8
MAX_16 = 0xFFFF
MAX_32 = 0xFFFFFFFF
FILE = 0o100644 << 16
FOLDER = 0o040755 << 16 | 0x10

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_MIN_DOS = datetime.datetime(1980, 1, 1, tzinfo=datetime.UTC)
_MAX_DOS = datetime.datetime(2107, 12, 31, 23, 59, 58, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A file or folder in an archive. `size` is in bytes, `modified` in seconds since 1970."""

    name: str
    size: int
    modified: int
    crc: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """The bytes of a member from `start` to before `stop`."""

    index: int
    start: int
    stop: int


class Layout:
    """An archive of these members; `size` is its length in bytes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        lengths = (len(self._local(member)) + member.size for member in members)
        self._locals = list(itertools.accumulate(lengths, initial=0))
        entries = (len(self._central(index)) for index in range(len(members)))
        self._centrals = list(itertools.accumulate(entries, initial=self._locals[-1]))
        self.size = self._centrals[-1] + len(self._end())

    def pieces(self, start: int, stop: int) -> Iterator[bytes | Slice]:
        """The bytes of the archive from `start` to before `stop`: headers as bytes, files as slices."""
        if start < self._locals[-1]:
            for index in range(bisect.bisect_right(self._locals, start) - 1, len(self.members)):
                offset = self._locals[index]
                if offset >= stop:
                    return
                header = self._local(self.members[index])
                yield from _part(header, offset, start, stop)
                data = offset + len(header)
                first, last = max(start - data, 0), min(stop - data, self.members[index].size)
                if first < last:
                    yield Slice(index, first, last)
        for index in range(max(bisect.bisect_right(self._centrals, start) - 1, 0), len(self.members)):
            if self._centrals[index] >= stop:
                return
            yield from _part(self._central(index), self._centrals[index], start, stop)
        yield from _part(self._end(), self._centrals[-1], start, stop)

    def _local(self, member: Member) -> bytes:
        large = member.size >= MAX_32
        name, time = member.name.encode(), _time_field(member.modified)
        extra = (_field(1, "<2Q", member.size, member.size) if large else b"") + time
        size = MAX_32 if large else member.size
        version = 45 if large else 20
        head = (version, UTF8, 0, *_dos(member.modified), member.crc, size, size, len(name), len(extra))
        return _LOCAL.pack(b"PK\x03\x04", *head) + name + extra

    def _central(self, index: int) -> bytes:
        member, offset = self.members[index], self._locals[index]
        large = [member.size] * 2 if member.size >= MAX_32 else []
        large += [offset] if offset >= MAX_32 else []
        name, time = member.name.encode(), _time_field(member.modified)
        extra = (_field(1, f"<{len(large)}Q", *large) if large else b"") + time
        size, version = min(member.size, MAX_32), 45 if large else 20
        head = (UNIX | version, version, UTF8, 0, *_dos(member.modified), member.crc, size, size, len(name), len(extra))
        attributes = FOLDER if member.is_folder else FILE
        return _CENTRAL.pack(b"PK\x01\x02", *head, 0, 0, 0, attributes, min(offset, MAX_32)) + name + extra

    def _end(self) -> bytes:
        count, offset, end = len(self.members), self._locals[-1], self._centrals[-1]
        large = b""
        if count >= MAX_16 or end - offset >= MAX_32 or offset >= MAX_32:
            large = _END_64.pack(
                b"PK\x06\x06", _END_64.size - 12, UNIX | 45, 45, 0, 0, count, count, end - offset, offset
            )
            large += _LOCATOR_64.pack(b"PK\x06\x07", 0, end, 1)
        few = min(count, MAX_16)
        return large + _END.pack(b"PK\x05\x06", 0, 0, few, few, min(end - offset, MAX_32), min(offset, MAX_32), 0)


def _part(data: bytes, offset: int, start: int, stop: int) -> Iterator[bytes]:
    """The part of the bytes at `offset` that is from `start` to before `stop`."""
    part = data[max(start - offset, 0) : max(stop - offset, 0)]
    if part:
        yield part


def _field(tag: int, form: str, *values: int) -> bytes:
    return struct.pack("<2H", tag, struct.calcsize(form)) + struct.pack(form, *values)


def _time_field(modified: int) -> bytes:
    return _field(0x5455, "<BI", 1, modified) if 0 <= modified < 2**31 else b""


def _dos(modified: int) -> tuple[int, int]:
    """MS-DOS time and date, in steps of two seconds."""
    lowest, highest = _MIN_DOS.timestamp(), _MAX_DOS.timestamp()
    at = datetime.datetime.fromtimestamp(min(max(modified, lowest), highest), datetime.UTC)
    return at.hour << 11 | at.minute << 5 | at.second // 2, (at.year - 1980) << 9 | at.month << 5 | at.day
