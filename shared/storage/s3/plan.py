"""How an object is put together on S3: which bytes are sent, and which ranges S3 copies by itself.

S3 takes at most 10,000 parts, each of at least 5 MiB but for the last, and of at most 5 GiB; a range is copied only
from an object above 5 MB (Amazon S3 User Guide, "Multipart upload limits"; API Reference, "UploadPartCopy"). A range is
therefore split evenly, so that no share of it is too small for whatever follows, and what stands in front is filled up
to the minimum from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shared.storage.contract import Piece, Slice
from shared.storage.multipart import MAX_PARTS, MIN_PART_SIZE

# Small enough for many copies at once, and for each to be over long before a client would call it dead.
COPY_SIZE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """A part whose bytes pass through us."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return total_size(self.pieces)


@dataclass(frozen=True, slots=True)
class Copied:
    """A part that S3 copies."""

    source: Slice

    @property
    def size(self) -> int:
        return self.source.size


def total_size(pieces: Sequence[Piece]) -> int:
    return sum(piece.size if isinstance(piece, Slice) else len(piece) for piece in pieces)


def plan(pieces: Sequence[Piece]) -> list[Sent | Copied]:
    """The parts of an object made of `pieces`, in order; always the same for the same pieces, and none for no bytes.

    What is below the minimum altogether is one part. Around every range fewer than 10 MiB are sent, and none if nothing
    but one range of at least 5 MiB makes up the object.
    """
    # Of each piece, splitting may make one part more than its share, and what it fills up in front another.
    limit = max(COPY_SIZE, -(-total_size(pieces) // max(1, MAX_PARTS - 2 * len(pieces) - 1)))
    parts: list[Sent | Copied] = []
    waiting: list[Piece] = []

    def send(piece: Piece) -> None:
        waiting.append(piece)
        if total_size(waiting) >= MIN_PART_SIZE:
            parts.append(Sent(tuple(waiting)))
            waiting.clear()

    for piece in pieces:
        if total_size([piece]) == 0:
            continue
        if not isinstance(piece, Slice):
            send(piece)
            continue
        start = piece.start
        if waiting:
            start = min(piece.stop, start + MIN_PART_SIZE - total_size(waiting))
            send(replace(piece, stop=start))
        rest = replace(piece, start=start)
        if rest.size >= MIN_PART_SIZE:
            parts += [Copied(part) for part in _split(rest, limit)]
        elif rest.size:
            send(rest)
    if waiting:
        parts.append(Sent(tuple(waiting)))
    return parts


def _split(whole: Slice, limit: int) -> Iterator[Slice]:
    """Cut into as few slices of at most `limit` bytes as there can be, whose sizes differ by one byte at most."""
    size = whole.size
    count = -(-size // limit)
    for number in range(count):
        yield replace(
            whole, start=whole.start + size * number // count, stop=whole.start + size * (number + 1) // count
        )
