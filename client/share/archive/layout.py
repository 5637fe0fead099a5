"""The headers of a stored zip archive (APPNOTE.TXT 6.3), known before any file is read again.

They depend only on names, sizes, times and CRC-32s, so a later run makes the same archive. The page does the same in
JavaScript; `tests/archive_vectors.json` checks that both agree.

- All members are stored, in the given order. Sizes and CRC-32 are in the local headers; there are no data descriptors.
- Names are UTF-8, marked by flag 11. A name that ends in `/` is a folder, without bytes.
- Times are UTC: in extra field 0x5455 if they fit (1970 to 2038), and as DOS time, clamped to 1980 to 2107.
- ZIP64 records and fields are used only for values that do not fit otherwise: some readers refuse unnecessary ones.
"""

from __future__ import annotations

import dataclasses
import datetime
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


class Layout:
    """An archive of these members; `size` is its length in bytes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self._headers = []
        directory, offset = bytearray(), 0
        for member in members:
            header, entry = _headers(member, offset)
            self._headers.append(header)
            directory += entry
            offset += len(header) + member.size
        self._directory = bytes(directory) + _end(len(members), offset, len(directory))
        self.size = offset + len(self._directory)

    def pieces(self) -> Iterator[bytes | int]:
        """The headers of the archive, and between them the indexes of the members whose bytes belong there."""
        for index, (header, member) in enumerate(zip(self._headers, self.members, strict=True)):
            yield header
            if member.size:
                yield index
        yield self._directory


def _headers(member: Member, offset: int) -> tuple[bytes, bytes]:
    """The local header of the member at this offset, and its entry in the directory."""
    sizes = [member.size] * 2 if member.size >= MAX_32 else []
    fields, rest = _common(member, sizes)
    header = _LOCAL.pack(b"PK\x03\x04", *fields) + rest
    fields, rest = _common(member, sizes + [offset] * (offset >= MAX_32))
    attributes = FOLDER if member.name.endswith("/") else FILE
    entry = _CENTRAL.pack(b"PK\x01\x02", UNIX | fields[0], *fields, 0, 0, 0, attributes, min(offset, MAX_32)) + rest
    return header, entry


def _common(member: Member, large: Sequence[int]) -> tuple[Sequence[int], bytes]:
    """The numbers in both headers of a member, and what follows them. The numbers in `large` need a ZIP64 field."""
    name, size = member.name.encode(), min(member.size, MAX_32)
    version = 45 if large else 20
    extra = (_field(1, f"<{len(large)}Q", *large) if large else b"") + _time_field(member.modified)
    return (version, UTF8, 0, *_dos(member.modified), member.crc, size, size, len(name), len(extra)), name + extra


def _end(count: int, offset: int, size: int) -> bytes:
    """What follows the directory, which begins at `offset`."""
    large = b""
    if count >= MAX_16 or size >= MAX_32 or offset >= MAX_32:
        large = _END_64.pack(b"PK\x06\x06", _END_64.size - 12, UNIX | 45, 45, 0, 0, count, count, size, offset)
        large += _LOCATOR_64.pack(b"PK\x06\x07", 0, offset + size, 1)
    few = min(count, MAX_16)
    return large + _END.pack(b"PK\x05\x06", 0, 0, few, few, min(size, MAX_32), min(offset, MAX_32), 0)


def _field(tag: int, form: str, *values: int) -> bytes:
    return struct.pack("<2H", tag, struct.calcsize(form)) + struct.pack(form, *values)


def _time_field(modified: int) -> bytes:
    return _field(0x5455, "<BI", 1, modified) if 0 <= modified < 2**31 else b""


def _dos(modified: int) -> tuple[int, int]:
    """MS-DOS time and date, in steps of two seconds."""
    lowest, highest = _MIN_DOS.timestamp(), _MAX_DOS.timestamp()
    at = datetime.datetime.fromtimestamp(min(max(modified, lowest), highest), datetime.UTC)
    return at.hour << 11 | at.minute << 5 | at.second // 2, (at.year - 1980) << 9 | at.month << 5 | at.day
