"""Every plan respects S3's limits, and moves no more bytes through us than they require."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.storage.contract import Piece, Slice
from shared.storage.multipart import MAX_PARTS, MIN_PART_SIZE
from shared.storage.s3.plan import COPY_SIZE, Sent, plan, total_size
from tests.storage.samples import MIB

LARGEST_PART = 5 * 1024**3
LARGEST_OBJECT = 5 * 1024**4
HEAD = b"h" * 11
STOP = b"."

NEAR_AN_EDGE = st.builds(
    lambda edge, factor, off: max(0, edge * factor + off),
    st.sampled_from([MIN_PART_SIZE, COPY_SIZE, LARGEST_PART]),
    st.integers(0, 40),
    st.integers(-24, 24),
)
SIZES = st.integers(0, 12 * MIB) | NEAR_AN_EDGE | st.integers(0, LARGEST_OBJECT)
OFFSETS = st.integers(0, LARGEST_OBJECT) | st.sampled_from([0, 1, 11])
SLICES = st.builds(lambda start, size: Slice("raw/a", start, start + size), OFFSETS, SIZES)
LITERALS = st.binary(max_size=30) | st.sampled_from([bytes(MIN_PART_SIZE - 1), bytes(MIN_PART_SIZE)])
PIECES = st.lists(LITERALS | SLICES, max_size=8).filter(lambda pieces: total_size(pieces) <= LARGEST_OBJECT)


def flat(parts: list[Sent | Slice]) -> list[Piece]:
    """The pieces of all parts in order, with adjacent slices joined, and adjacent literals, too."""
    joined: list[Piece] = []
    for piece in itertools.chain.from_iterable(part.pieces if isinstance(part, Sent) else [part] for part in parts):
        last = joined[-1] if joined else None
        if isinstance(piece, Slice) and isinstance(last, Slice):
            if (last.key, last.stop, last.etag) == (piece.key, piece.start, piece.etag):
                joined[-1] = Slice(last.key, last.start, piece.stop, last.etag)
                continue
        elif isinstance(piece, bytes) and isinstance(last, bytes):
            joined[-1] = last + piece
            continue
        joined.append(piece)
    return joined


def sent(parts: list[Sent | Slice]) -> int:
    return sum(part.size for part in parts if isinstance(part, Sent))


def require_limits(parts: list[Sent | Slice]) -> None:
    assert len(parts) <= MAX_PARTS
    assert all(MIN_PART_SIZE <= part.size <= LARGEST_PART for part in parts[:-1])
    assert all(0 < part.size <= LARGEST_PART for part in parts[-1:])
    # S3 copies no ranges of smaller objects.
    assert all(part.size >= MIN_PART_SIZE for part in parts if isinstance(part, Slice))


@given(PIECES)
def test_every_plan_keeps_to_the_limits_and_makes_the_object_asked_for(pieces: list[Piece]) -> None:
    parts = plan(pieces)
    require_limits(parts)
    whole = [piece for piece in pieces if total_size([piece])]
    assert flat(parts) == flat([Sent(tuple(whole))])


@given(SIZES, OFFSETS)
def test_of_a_framed_file_fewer_than_ten_mebibytes_are_sent(size: int, offset: int) -> None:
    parts = plan([HEAD, Slice("raw/a", offset, offset + size), STOP])
    require_limits(parts)
    assert sent(parts) <= 2 * MIN_PART_SIZE
    if size >= 2 * MIN_PART_SIZE:
        assert sent(parts) == MIN_PART_SIZE + len(STOP)


@given(SIZES, OFFSETS)
def test_of_one_range_nothing_is_sent_unless_it_is_below_the_minimum(size: int, offset: int) -> None:
    parts = plan([Slice("raw/a", offset, offset + size, "etag")])
    require_limits(parts)
    assert sent(parts) == (0 if size >= MIN_PART_SIZE else size)


@given(SIZES)
def test_copies_of_one_range_differ_by_at_most_a_byte(size: int) -> None:
    sizes = [part.size for part in plan([Slice("raw/a", 0, size)])]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


@given(st.integers(0, MIN_PART_SIZE - 1), st.integers(0, 3))
def test_what_is_below_the_minimum_is_one_part(size: int, count: int) -> None:
    cuts = [size * number // (count + 1) for number in range(count + 2)]
    parts = plan([Slice("raw/a", *cut) for cut in itertools.pairwise(cuts)])
    assert len(parts) == (1 if size else 0)
    assert all(isinstance(part, Sent) for part in parts)


@pytest.mark.parametrize("size", [LARGEST_OBJECT - 12, LARGEST_OBJECT])
def test_the_largest_object_of_all_has_a_plan(size: int) -> None:
    parts = plan([HEAD, Slice("raw/a", 0, size), STOP])
    require_limits(parts)
    assert sent(parts) == MIN_PART_SIZE + 1
