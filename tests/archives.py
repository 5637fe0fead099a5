"""Zip archives for tests: valid ones, and inconsistent ones."""

from __future__ import annotations

import bisect
import io
import itertools
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping

from share.archive.layout import Layout

MOMENT = (2026, 11, 27, 10, 15, 0)


def packed(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these files by name; one name can occur twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.filterwarnings("ignore", "Duplicate name")
        for name, data in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(zipfile.ZipInfo(name, MOMENT), data, compression)
    return buffer.getvalue()


class Ranges:
    """Ranges of an archive of any size."""

    def __init__(self, layout: Layout) -> None:
        self._pieces = list(layout.pieces())
        lengths = (len(piece) if isinstance(piece, bytes) else layout.members[piece].size for piece in self._pieces)
        self._starts = list(itertools.accumulate(lengths, initial=0))

    def pieces(self, start: int, stop: int) -> Iterator[bytes | tuple[int, int, int]]:
        """Headers as bytes; for the bytes of a member, its index and their range in it."""
        for number in range(bisect.bisect_right(self._starts, start) - 1, len(self._pieces)):
            piece, at = self._pieces[number], self._starts[number]
            first, last = max(start - at, 0), min(stop, self._starts[number + 1]) - at
            if last <= first:
                return
            yield piece[first:last] if isinstance(piece, bytes) else (piece, first, last)

    def zeros(self, start: int, stop: int) -> bytes:
        """The bytes of the archive if all its members consist of zeros."""
        pieces = self.pieces(start, stop)
        return b"".join(piece if isinstance(piece, bytes) else bytes(piece[2] - piece[1]) for piece in pieces)


def directory_at(archive: bytes) -> int:
    """Where the directory begins."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.start_dir


def patched(archive: bytes, offset: int, layout: str, value: int) -> bytes:
    """The archive with one number in the first directory entry replaced; `offset` counts from that entry."""
    data = bytearray(archive)
    struct.pack_into(layout, data, directory_at(archive) + offset, value)
    return bytes(data)


def overlapping(copies: int) -> bytes:
    """Many names for the same bytes, as in a zip bomb without recursion."""
    one = packed({"a": b"0" * 1000})
    start = directory_at(one)
    entry = one[start:-22]
    return one[:start] + entry * copies + _end(copies, len(entry) * copies, start)


def with_directory_of(size: int) -> bytes:
    """An archive whose end record announces a directory of this many bytes, which exist."""
    return b"\0" * size + _end(1, size, 0)


def crowded(entries: int) -> bytes:
    """An archive of empty files without local headers: the smallest for this number of entries."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    return entry * entries + _end(min(entries, 0xFFFF), len(entry) * entries, 0)


def _end(entries: int, size: int, start: int) -> bytes:
    count = min(entries, 0xFFFF)
    return struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, size, start, 0)


PLAIN = packed({"a.txt": b"0123456789", "b.txt": b"abc"})
LARGE = packed({"a": b"0" * 9000})
DEFLATED = packed({"a.txt": b"0123456789" * 100, "b.txt": b"abc"}, zipfile.ZIP_DEFLATED)

# Offsets within a directory entry (APPNOTE.TXT 4.3.12).
FLAGS, METHOD, CRC, PACKED_SIZE, SIZE, EXTRA_LENGTH, HEADER_OFFSET = 8, 10, 16, 20, 24, 30, 42

# Archives that must be refused as a whole, each with the reason.
LIARS: Mapping[str, Callable[[], bytes]] = {
    "no archive": lambda: b"0123456789" * 10,
    "empty": lambda: b"",
    "an end and nothing before it": lambda: _end(3, 300, 0),
    "cut at the front": lambda: PLAIN[10:],
    "cut at the end": lambda: PLAIN[:-1],
    "entries that overlap": lambda: overlapping(1000),
    "an entry that begins behind the directory": lambda: patched(PLAIN, HEADER_OFFSET, "<I", len(PLAIN)),
    "an entry that reaches into the next": lambda: patched(patched(PLAIN, SIZE, "<I", 900), PACKED_SIZE, "<I", 900),
    "a stored entry of two sizes": lambda: patched(PLAIN, SIZE, "<I", 11),
    "more than deflate can make of it": lambda: patched(DEFLATED, SIZE, "<I", 0xFFFFFFF0),
    "far longer packed than unpacked": lambda: patched(patched(LARGE, METHOD, "<H", 8), SIZE, "<I", 1),
    "an extra field longer than the directory": lambda: patched(PLAIN, EXTRA_LENGTH, "<H", 0xFFFF),
    "a name that is not UTF-8": lambda: patched(packed({"é": b""}), 46, "<H", 0xFFFF),
}
