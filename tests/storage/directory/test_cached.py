"""Reading from memory on an event loop: the same results as from the disk, and a refusal if data is not in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from shared.storage.contract import NotFound, ObjectStore, WouldWait
from shared.storage.directory.cached import can_read_cached
from shared.storage.directory.data_directory import STAGING
from shared.storage.directory.store import DirectoryStore

T = TypeVar("T")

KEY = "files/ab/one.pickle"
DATA = bytes(range(256)) * 64


@pytest.fixture
def ready(directory: DirectoryStore) -> ObjectStore:
    directory.put(KEY, DATA)
    if directory.ready is None:
        pytest.skip("no file can be read here without waiting")
    return directory.ready


def in_memory(store: DirectoryStore, read: Callable[[], T]) -> T:
    """What can be read at once, after it was read. The kernel can forget a path or a page at any time."""
    for _ in range(20):
        store.read(KEY)
        with contextlib.suppress(WouldWait):
            return read()
    raise AssertionError("never in memory")


def test_it_reads_as_the_store_itself(directory: DirectoryStore, ready: ObjectStore) -> None:
    def three_times() -> tuple[int, bytes, bytes, bytes]:
        with contextlib.closing(ready.open(KEY, 5, 300)) as reader:
            return reader.object_size, reader.read(200), reader.read(200), reader.read(200)

    assert in_memory(directory, lambda: ready.read(KEY)) == directory.read(KEY)
    assert in_memory(directory, lambda: list(ready.read_many([KEY]))) == [(KEY, DATA)]
    assert in_memory(directory, three_times) == (len(DATA), DATA[5:205], DATA[205:300], b"")


def test_whether_it_answers_is_checked_by_itself_only_if_all_is_well(
    directory: DirectoryStore, ready: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory(directory, ready.check)
    with monkeypatch.context() as patch:
        # As on a disk that became read-only after an error.
        patch.setattr(os, "access", lambda *_arguments, **_options: False)
        with pytest.raises(WouldWait):
            ready.check()
    (directory.root / STAGING).rename(directory.root / "moved")
    with pytest.raises(WouldWait):
        ready.check()
    # It could lead to a file system that waits for a network.
    (directory.root / STAGING).symlink_to("moved")
    with pytest.raises(WouldWait):
        ready.check()
    (directory.root / STAGING).unlink()
    directory.check()
    in_memory(directory, ready.check)


def test_what_is_no_file_is_not_there(directory: DirectoryStore, ready: ObjectStore) -> None:
    folder = directory.root / "files" / "ab"
    (folder / "link.pickle").symlink_to(folder / "one.pickle")
    (directory.root / "files" / "cd").symlink_to(folder)
    os.mkfifo(folder / "fifo.pickle")
    (folder / "folder.pickle").mkdir()
    for name in ("ab/none", "ab/link", "cd/one", "ab/fifo", "ab/folder", "ef/none"):
        for store, errors in ((directory, NotFound), (ready, (NotFound, WouldWait))):
            with pytest.raises(errors):
                store.read(f"files/{name}.pickle")
            with pytest.raises(errors):
                store.open(f"files/{name}.pickle")


def test_the_path_of_the_directory_can_have_links(directory: DirectoryStore, ready: ObjectStore) -> None:
    """The links below it still lead nowhere."""
    link = directory.root.with_name("link")
    link.symlink_to(directory.root)
    (directory.root / "files" / "cd").symlink_to(directory.root / "files" / "ab")
    store = DirectoryStore(link)
    linked = store.ready
    assert linked is not None
    assert in_memory(store, lambda: linked.read(KEY)) == directory.read(KEY)
    with pytest.raises((NotFound, WouldWait)):
        linked.read("files/cd/one.pickle")


@pytest.mark.parametrize("bytes_in_memory", [None, 10])
def test_what_is_on_the_disk_alone_is_refused(
    directory: DirectoryStore, ready: ObjectStore, monkeypatch: pytest.MonkeyPatch, bytes_in_memory: int | None
) -> None:
    def preadv(_file: int, buffers: list[bytearray], start: int, flags: int) -> int:
        """Answers as the kernel does if only this many bytes are in memory (preadv2(2))."""
        assert flags == os.RWF_NOWAIT
        if bytes_in_memory is None:
            raise BlockingIOError
        buffers[0][:bytes_in_memory] = DATA[start : start + bytes_in_memory]
        return bytes_in_memory

    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(WouldWait):
        ready.read(KEY)
    assert directory.read(KEY)[0] == DATA


def test_an_empty_object_is_left_to_the_store(directory: DirectoryStore, ready: ObjectStore) -> None:
    directory.put(KEY, b"")
    with pytest.raises(WouldWait):
        ready.read(KEY)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no file system here that is surely not local")
def test_only_local_file_systems_are_trusted() -> None:
    assert not can_read_cached("/proc", ["version"])
    assert not can_read_cached("/none", ["version"])
