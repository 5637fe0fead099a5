"""The traced store: a subsegment for each call, which says what kind of thing it was about and no more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.storage import traced
from shared.storage.contract import ABSENT, AlreadyExists, NotFound
from shared.storage.directory.store import DirectoryStore
from shared.storage.traced import TracedStore


class Recorder:
    """Of the X-Ray recorder what is used: names and annotations of subsegments, as they end."""

    def __init__(self, *, initialising: bool = False) -> None:
        self.ended: list[str] = []
        self._open: list[str] = []
        self._initialising = initialising

    def begin_subsegment(self, name: str) -> Recorder | None:
        self._open.append(name)
        return None if self._initialising else self

    def put_annotation(self, name: str, value: str) -> None:
        self._open[-1] += f" {name}={value}"

    def end_subsegment(self) -> None:
        self.ended.append(self._open.pop())


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def store(tmp_path: Path, recorder: Recorder) -> TracedStore:
    return TracedStore(DirectoryStore(tmp_path / "data"), recorder)


def test_small_objects(store: TracedStore, recorder: Recorder) -> None:
    etag = store.put("metadata/ab/abc.json", b"{}")
    assert store.read("metadata/ab/abc.json") == (b"{}", etag)
    assert list(store.read_many(iter(["metadata/ab/abc.json", "metadata/ab/none.json"]))) == [
        ("metadata/ab/abc.json", b"{}")
    ]
    assert list(store.read_many([])) == []
    store.delete("metadata/ab/abc.json")
    store.check()
    assert store.discard_unfinished(datetime.now(UTC)) == 0
    expected = ["put metadata", "read metadata", "read_many metadata", "delete metadata", "check", "discard_unfinished"]
    assert recorder.ended == expected


def test_large_objects(store: TracedStore, recorder: Recorder) -> None:
    writer = store.writer("files/ab/abc.pickle", reserve=1)
    writer.write(b"bc")
    writer.commit(b"a")
    reader = store.open("files/ab/abc.pickle", 1, 3)
    assert (reader.object_size, reader.read(9)) == (3, b"bc")
    reader.close()
    store.writer("files/ab/abc.pickle").abort()
    assert recorder.ended == [
        "writer files",
        "Writer.write files",
        "Writer.commit files",
        "open files",
        "Reader.read files",
        "writer files",
        "Writer.abort files",
    ]


def test_a_listing_is_traced_page_by_page(
    store: TracedStore, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced, "PAGE", 2)
    keys = [f"metadata/ab/{n}.json" for n in range(3)]
    for key in keys:
        store.put(key, b"")
    recorder.ended.clear()
    assert next(store.list("metadata/", keys[0])) == keys[1]
    assert recorder.ended == ["list metadata"]
    assert list(store.list("metadata/")) == keys
    assert recorder.ended == ["list metadata"] * 3


@pytest.mark.parametrize("initialising", [False, True])
def test_an_error_is_named_by_its_class(tmp_path: Path, initialising: bool) -> None:
    recorder = Recorder(initialising=initialising)
    store = TracedStore(DirectoryStore(tmp_path / "data"), recorder)
    with pytest.raises(NotFound):
        store.read("secret")
    store.put("secret", b"", ABSENT)
    with pytest.raises(AlreadyExists):
        store.put("secret", b"", ABSENT)
    first, last = ("", "") if initialising else (" error=NotFound", " error=AlreadyExists")
    assert recorder.ended == [f"read secret{first}", "put secret", f"put secret{last}"]
