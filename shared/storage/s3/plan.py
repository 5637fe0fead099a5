"""Plans how to make an object on S3: which bytes to send, and which ranges S3 copies itself.

S3 accepts at most 10,000 parts, each of 5 MiB (except the last) to 5 GiB, and copies ranges only from objects above
5 MB (Amazon S3 User Guide, "Multipart upload limits"; API Reference, "UploadPartCopy"). So a range is split evenly,
which keeps each part large enough, and bytes in front of it are filled up to the minimum from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shared.storage.contract import Piece, Slice
from shared.storage.multipart import MAX_PARTS, MIN_PART_SIZE

# Small enough for many parallel copies, and for each to finish well before the client's timeout.
COPY_SIZE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """A part whose bytes we send."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return total_size(self.pieces)


def total_size(pieces: Sequence[Piece]) -> int:
    return sum(piece.size if isinstance(piece, Slice) else len(piece) for piece in pieces)


def plan(pieces: Sequence[Piece]) -> list[Sent | Slice]:
    """The parts of an object made of `pieces`, in order; S3 copies each `Slice`.

    They are always the same for the same pieces, and none for no bytes. An object below the minimum is one part. Less
    than 10 MiB are sent around each range, and none if the object consists of one range of at least 5 MiB.
    """
    # For each piece, rounding up can add one part, and filling up bytes in front of it another.
    limit = max(COPY_SIZE, -(-total_size(pieces) // max(1, MAX_PARTS - 2 * len(pieces) - 1)))
    parts: list[Sent | Slice] = []
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
            parts += _split(rest, limit)
        elif rest.size:
            send(rest)
    if waiting:
        parts.append(Sent(tuple(waiting)))
    return parts


def _split(whole: Slice, limit: int) -> Iterator[Slice]:
    """Split into as few slices of at most `limit` bytes as possible, whose sizes differ by at most one byte."""
    size = whole.size
    count = -(-size // limit)
    for number in range(count):
        yield replace(
            whole, start=whole.start + size * number // count, stop=whole.start + size * (number + 1) // count
        )
