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
from share.source import Blocks, HashedSource
from share.text import printable, reason_of

CHUNK = 256 * 1024


def open_archive(entries: Sequence[Entry], layout: Layout, name: str, describe: Callable[[str], None]) -> HashedSource:
    """An archive of these entries. Calls `describe` with the name of each file when its bytes begin."""

    def identity() -> str:
        # Names, sizes, times and CRC-32s identify all bytes of the archive.
        digest = hashlib.sha256()
        for entry, member in zip(entries, layout.members, strict=True):
            digest.update(f"{entry.path.absolute()}\n{member}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def blocks() -> Iterator[bytes]:
        for piece in layout.pieces():
            if isinstance(piece, bytes):
                yield piece
            else:
                describe(entries[piece].name)
                yield from _read(entries[piece], layout.members[piece])

    return HashedSource(Blocks(blocks()), name, layout.size, identity)


def _read(entry: Entry, member: Member) -> Iterator[bytes]:
    """The bytes of a file. Raises `Changed` if they are not those that were measured."""
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
