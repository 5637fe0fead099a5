"""Makes an archive while it is sent. Reads each file twice: for its CRC-32, and to send it."""

from __future__ import annotations

import datetime
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from share.answers import ArchiveEntry
from share.archive.collecting import Collector, Entry, base_name
from share.archive.layout import Layout, Member
from share.faults import Changed, Exit, Fault
from share.text import printable, reason_of

CHUNK = 256 * 1024


class Archive:
    """An archive to read once, in order. Calls `describe` with each member's name when its bytes begin."""

    def __init__(self, entries: Sequence[Entry], layout: Layout, describe: Callable[[str], None]) -> None:
        self._entries = entries
        self._layout = layout
        self._describe = describe
        self._blocks = self._read_all()
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end. Raises `Changed` if a file has changed."""
        if not self._rest:
            self._rest = next(self._blocks, b"")
        block, self._rest = self._rest[:size], self._rest[size:]
        return block

    def identity(self) -> str:
        """Identifies names, sizes, times and CRC-32s, and therefore all bytes of the archive."""
        digest = hashlib.sha256()
        for entry, member in zip(self._entries, self._layout.members, strict=True):
            digest.update(f"{entry.path.absolute()}\n{member}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def _read_all(self) -> Iterator[bytes]:
        for piece in self._layout.pieces(0, self._layout.size):
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from self._read(self._entries[piece.index], self._layout.members[piece.index])

    def _read(self, entry: Entry, member: Member) -> Iterator[bytes]:
        self._describe(entry.name)
        crc, left = 0, member.size
        try:
            with open(entry.path, "rb") as file:
                # Read one more byte than expected, to see whether the file has grown.
                while block := file.read(min(CHUNK, left + 1)):
                    crc, left = zlib.crc32(block, crc), left - len(block)
                    if left < 0:
                        break
                    yield block
        except OSError as error:
            raise Changed(f"{printable(str(entry.path))} can no longer be read: {reason_of(error)}.") from error
        if left or crc != member.crc:
            raise Changed(f"{printable(str(entry.path))} changed while it was being uploaded. Run the command again.")


def measure(
    entries: Iterable[Entry], collector: Collector, advance: Callable[[int], None]
) -> tuple[list[Entry], list[Member]]:
    """Read each file for its size and CRC-32. Raises `Fault`, or skips missing files as the collector does."""
    readable: list[Entry] = []
    members: list[Member] = []
    for entry in entries:
        try:
            member = _member(entry, advance)
        except OSError as error:
            collector.missing(entry.path, error)
            continue
        readable.append(entry)
        members.append(member)
    if not members:
        raise Fault(Exit.LOCAL, "There is nothing to upload.")
    return readable, members


def _member(entry: Entry, advance: Callable[[int], None]) -> Member:
    if entry.name.endswith("/"):
        return Member(entry.name, 0, entry.path.stat().st_mtime_ns // 10**9, 0)
    crc = size = 0
    with open(entry.path, "rb") as file:
        modified = os.fstat(file.fileno()).st_mtime_ns // 10**9
        while block := file.read(CHUNK):
            crc, size = zlib.crc32(block, crc), size + len(block)
            advance(len(block))
    return Member(entry.name, size, modified, crc)


def archive_name(paths: Sequence[str], name: str | None) -> str:
    """The name that the user gave, or that of the only folder, ending in `.zip`."""
    if name is None:
        name = base_name(paths[0]) if len(paths) == 1 else "files"
    return name if name.lower().endswith(".zip") else f"{name}.zip"


def entries_of(layout: Layout) -> list[ArchiveEntry]:
    """What a server would list of the archive."""
    return [ArchiveEntry(member.name, member.size, _rfc3339(member.modified)) for member in layout.members]


def _rfc3339(modified: int) -> str | None:
    try:
        return f"{datetime.datetime.fromtimestamp(modified, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return None
