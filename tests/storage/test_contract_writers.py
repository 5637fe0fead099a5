"""The guarantees of `shared.storage.contract` for objects of unknown length, on every store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.storage.contract import NotFound, ObjectStore
from shared.storage.s3 import writer as s3
from tests.storage.backends import Backend
from tests.storage.samples import MIB, drain, pattern, write

KEY = "files/ab/one.pickle"


@pytest.mark.parametrize("head", [b"", b"hello world"], ids=["no head", "head"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_an_object_of_unknown_length_is_its_head_and_what_was_written(
    store: ObjectStore, head: bytes, size: int
) -> None:
    write(store, KEY, pattern(size), head, chunk_size=33_333)
    assert store.read(KEY)[0] == head + pattern(size)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("more", [0, 1])
def test_every_byte_is_in_its_place_where_parts_meet(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, parts: int, more: int, part_size: int
) -> None:
    monkeypatch.setattr(s3, "PART_SIZE", part_size)
    head = b"hello world"
    data = pattern(parts * part_size + more - len(head))
    write(store, KEY, data, head, chunk_size=part_size // 5)
    assert store.read(KEY)[0] == head + data


def test_an_object_of_many_parts_is_streamed_back_whole_or_by_range(backend: Backend) -> None:
    head = b"hello world"
    whole = head + pattern(40 * MIB + 3)
    write(backend.store, KEY, whole[len(head) :], head, chunk_size=3 * MIB + 1)
    assert backend.unfinished() == []
    reader = backend.store.open(KEY)
    assert reader.object_size == len(whole)
    assert drain(reader) == whole
    across = slice(s3.PART_SIZE - 5, s3.PART_SIZE + 5)
    assert drain(backend.store.open(KEY, across.start, across.stop)) == whole[across]


@pytest.fixture(params=["nothing", "a little", "a part"])
def size(request: pytest.FixtureRequest, part_size: int) -> int:
    """Enough for a simple put, and enough to have sent parts already."""
    return {"nothing": 0, "a little": 10}.get(request.param, part_size + 1)


def test_nobody_sees_an_object_before_it_is_committed(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, size: int, part_size: int
) -> None:
    monkeypatch.setattr(s3, "PART_SIZE", part_size)
    writer = store.writer(KEY, 1)
    writer.write(bytes(size))
    with pytest.raises(NotFound):
        store.read(KEY)
    assert list(store.list("files/")) == []
    writer.commit(b"x")
    assert store.read(KEY)[0] == b"x" + bytes(size)
    assert list(store.list("files/")) == [KEY]


def test_an_aborted_write_leaves_nothing_behind(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, size: int, part_size: int
) -> None:
    monkeypatch.setattr(s3, "PART_SIZE", part_size)
    writer = backend.store.writer(KEY)
    writer.write(bytes(size))
    writer.abort()
    writer.abort()
    assert backend.unfinished() == []
    with pytest.raises(NotFound):
        backend.store.read(KEY)


def test_a_part_on_its_way_is_what_an_abort_has_to_remove(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, part_size: int
) -> None:
    monkeypatch.setattr(s3, "PART_SIZE", part_size)
    writer = backend.store.writer(KEY)
    writer.write(bytes(2 * part_size + 1))
    assert len(backend.unfinished()) == 1
    writer.abort()
    assert backend.unfinished() == []


def test_what_dead_writers_left_is_removed_by_its_age(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, part_size: int
) -> None:
    monkeypatch.setattr(s3, "PART_SIZE", part_size)
    for key in ("files/ab/one.pickle", "files/ab/two.pickle"):
        backend.store.writer(key).write(bytes(2 * part_size + 1))
    write(backend.store, "files/ab/three.pickle", b"finished")
    assert len(backend.unfinished()) == 2
    now = datetime.now(UTC)
    assert backend.store.discard_unfinished(now - timedelta(minutes=5)) == 0
    assert len(backend.unfinished()) == 2
    assert backend.store.discard_unfinished(now + timedelta(minutes=5)) == 2
    assert backend.unfinished() == []
    assert list(backend.store.list("files/")) == ["files/ab/three.pickle"]


@pytest.mark.parametrize("head", [b"", b"hello", b"hello world!"], ids=len)
def test_a_head_that_does_not_fill_its_place_is_refused(backend: Backend, head: bytes) -> None:
    writer = backend.store.writer(KEY, 11)
    writer.write(b"x")
    with pytest.raises(ValueError, match="head"):
        writer.commit(head)
    writer.abort()
    assert backend.unfinished() == []
    with pytest.raises(NotFound):
        backend.store.read(KEY)
