"""Composing files in a directory: how bytes are copied, and what remains after a failure."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.contract import Changed, NotFound, Piece, Slice
from shared.storage.directory import writer
from shared.storage.directory.store import DirectoryStore
from tests.staged import staged
from tests.storage.samples import drain, pattern

RAW = "raw/one"
BLOB = "files/on/one.pickle"
DATA = pattern(300_000)
PIECES: list[Piece] = [b"head", Slice(RAW, 1, len(DATA)), b"."]
COMPOSED = b"head" + DATA[1:] + b"."


@pytest.fixture
def store(directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    """A store with one object, whose copy checks the free space several times."""
    monkeypatch.setattr(writer, "COPY_SIZE", 100_000)
    directory.put(RAW, DATA)
    return directory


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, None])
def test_where_the_system_copies_no_ranges_they_are_read_and_written(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(refusal, "cannot copy")

    if refusal is None:
        monkeypatch.delattr(os, "copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    store.compose(BLOB, PIECES)
    assert drain(store.open(BLOB)) == COMPOSED


def test_a_system_that_copies_less_than_asked_for_is_asked_again(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = os.copy_file_range

    def little(source: int, target: int, count: int, offset_src: int) -> int:
        return copy(source, target, min(count, 7_001), offset_src=offset_src)

    monkeypatch.setattr(os, "copy_file_range", little)
    store.compose(BLOB, PIECES)
    assert drain(store.open(BLOB)) == COMPOSED


@pytest.mark.parametrize(
    ("fault", "raised"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageUnavailable)]
)
def test_a_copy_that_fails_leaves_the_old_object_and_nothing_else(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, fault: int, raised: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(fault, "failed")

    store.put(BLOB, b"old")
    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(raised):
        store.compose(BLOB, PIECES)
    assert store.read(BLOB)[0] == b"old"
    assert staged(store.root) == []


def test_a_source_cut_off_while_it_is_copied_is_noticed(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_, **__: 0)
    with pytest.raises(Changed):
        store.compose(BLOB, PIECES)
    assert staged(store.root) == []


def test_nothing_is_put_together_in_the_space_that_is_to_stay_free(store: DirectoryStore) -> None:
    full = DirectoryStore(store.root, min_free_space=1 << 62)
    with pytest.raises(StorageFull):
        full.compose(BLOB, PIECES)
    with pytest.raises(StorageFull):
        full.multipart.writer(RAW, "1", 1, 10**9)
    with pytest.raises(NotFound):
        store.stat(BLOB)
    assert staged(store.root) == []


def test_parts_are_for_the_owner_only(store: DirectoryStore) -> None:
    writer = store.multipart.writer(RAW, "1", 12, 10**9)
    writer.write(b"one")
    writer.commit()
    store.compose(BLOB, PIECES)
    part = store.root / "raw" / "one.parts" / "12"
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert stat.S_IMODE(part.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.root / BLOB).stat().st_mode) == 0o600


def test_what_is_put_together_is_synced_before_it_gets_its_name(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.compose(BLOB, [])
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(file: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def replaced(source: str, target: str, **place: int) -> None:
        steps.append("rename")
        replace(source, target, **place)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    store.compose(BLOB, PIECES)
    assert steps == ["file", "rename", "directory"]


def test_two_concurrent_finishes_get_the_same_parts(store: DirectoryStore) -> None:
    upload_id = store.multipart.start(RAW)
    parts = [store.multipart.writer(RAW, upload_id, number, 10**9).commit() for number in (1, 2)]

    def finish_first(_size: int) -> None:
        store.multipart.finish(RAW, upload_id, parts[1:])

    finished = store.multipart.finish(RAW, upload_id, parts[:1], finish_first)
    assert [piece.etag for piece in finished] == [parts[1].etag]


def test_a_part_may_come_while_its_upload_is_forgotten(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = store.multipart.start(RAW)
    for number in (1, 2):
        store.multipart.writer(RAW, upload_id, number, 10**9).commit()
    late = store.multipart.writer(RAW, upload_id, 3, 10**9)
    rmdir = os.rmdir

    def remove(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(os, "rmdir", rmdir)
        late.commit()
        rmdir(*arguments, **options)

    monkeypatch.setattr(os, "rmdir", remove)
    store.multipart.abort(RAW, upload_id)
    # The part's sender checks whether the upload still exists, and removes the folder again.
    assert [part.number for part in store.multipart.list(RAW, upload_id)] == [3]
    store.multipart.abort(RAW, upload_id)
    assert store.multipart.list(RAW, upload_id) == []
    assert staged(store.root) == []


def test_a_part_is_stored_even_if_others_abort_while_its_folder_is_made(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = store.multipart.start(RAW)
    other = DirectoryStore(store.root)
    folder = store.root / f"{RAW}.parts"
    store.multipart.writer(RAW, upload_id, 1, 10**9).commit()
    # This store remembers that the folder is there.
    other.multipart.abort(RAW, upload_id)
    fsync, aborts = os.fsync, 0

    def sync(file: int) -> None:
        nonlocal aborts
        fsync(file)
        if aborts < 3 and stat.S_ISDIR(os.fstat(file).st_mode) and folder.exists():
            aborts += 1
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fsync)
                other.multipart.abort(RAW, upload_id)

    monkeypatch.setattr(os, "fsync", sync)
    store.multipart.writer(RAW, upload_id, 2, 10**9).commit()
    assert aborts == 3
    assert [part.number for part in store.multipart.list(RAW, upload_id)] == [2]


def test_an_upload_that_is_aborted_while_it_is_finished_is_gone(store: DirectoryStore) -> None:
    upload_id = store.multipart.start(RAW)
    part = store.multipart.writer(RAW, upload_id, 1, 10**9).commit()
    with pytest.raises(NotFound):
        store.multipart.finish(RAW, upload_id, [part], lambda _size: store.multipart.abort(RAW, upload_id))
    assert not (store.root / f"{RAW}.parts").exists()


def test_a_fault_while_an_upload_is_finished_does_not_mean_that_it_is_missing(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = store.multipart.start(RAW)
    part = store.multipart.writer(RAW, upload_id, 1, 10**9).commit()

    def replace(*_arguments: Any, **_options: Any) -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "the staged file vanished")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(StorageUnavailable):
            store.multipart.finish(RAW, upload_id, [part])
    assert [piece.size for piece in store.multipart.finish(RAW, upload_id, [part])] == [part.size]


def test_an_upload_may_be_forgotten_twice_at_once(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = store.multipart.start(RAW)
    for number in (1, 2):
        store.multipart.writer(RAW, upload_id, number, 10**9).commit()
    unlink = os.unlink

    def remove(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(os, "unlink", unlink)
        store.multipart.abort(RAW, upload_id)
        unlink(*arguments, **options)

    monkeypatch.setattr(os, "unlink", remove)
    store.multipart.abort(RAW, upload_id)
    assert not (store.root / f"{RAW}.parts").exists()
    assert staged(store.root) == []


def test_parts_that_a_crash_left_half_forgotten_are_discarded(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = store.multipart.start(RAW)
    store.multipart.writer(RAW, upload_id, 1, 10**9).commit()
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(os, "unlink", lambda *_, **__: _end())
        store.multipart.abort(RAW, upload_id)
    assert len(staged(store.root)) == 1
    assert store.multipart.list(RAW, upload_id) == []
    assert store.discard_unfinished(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.discard_unfinished(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert staged(store.root) == []


def _end() -> NoReturn:
    raise KeyboardInterrupt
