"""Problems that only a directory has: partial files, full disks, crashes, other processes, foreign files."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ShareError, StorageFull, StorageUnavailable
from shared.storage.contract import ABSENT, Changed, Matches, NotFound, Writer
from shared.storage.directory.data_directory import STAGING
from shared.storage.directory.spares import SPARES
from shared.storage.directory.store import DirectoryStore
from shared.storage.directory.writer import CHECK_SIZE, WRITEBACK_SIZE
from shared.storage.keys import record_key
from shared.storage.records import Records
from tests.staged import staged
from tests.storage.samples import FILE_ID, NOW, record

KEY = "metadata/ab/one.json"
OTHER = "metadata/ab/other.json"
ROOT = Path(__file__).parents[3]


def files(store: DirectoryStore) -> list[str]:
    """Everything in the directory except spare files."""
    paths = (path.relative_to(store.root) for path in store.root.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if path.parts[0] != SPARES)


@contextlib.contextmanager
def failing(function: str, number: int, applies: Callable[[Any], bool] = lambda _: True) -> Iterator[None]:
    """Let calls of a function of `os` fail with this error number if `applies` accepts their first argument."""
    working = getattr(os, function)

    def call(first: Any, *others: Any, **options: Any) -> Any:
        if applies(first):
            raise OSError(number, os.strerror(number))
        return working(first, *others, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, function, call)
        yield


def is_directory(file: int) -> bool:
    return stat.S_ISDIR(os.fstat(file).st_mode)


def fill(writer: Writer) -> None:
    writer.write(b"x")
    writer.commit(b"h")


# Location of files


def test_a_write_under_way_is_one_staged_file(directory: DirectoryStore) -> None:
    writer = directory.writer(KEY)
    writer.write(b"x")
    assert [path.read_bytes() for path in staged(directory.root)] == [b"x"]
    assert files(directory) == [f"{STAGING}/{path.name}" for path in staged(directory.root)]
    writer.commit()
    assert files(directory) == [KEY]


def test_nobody_else_may_read_what_is_stored(directory: DirectoryStore) -> None:
    etag = directory.put(KEY, b"one")
    directory.put(KEY, b"secret", Matches(etag))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in directory.root.rglob("*")}
    assert {modes[path] for path in modes if path.is_dir()} == {0o700}
    assert {modes[path] for path in modes if path.is_file()} == {0o600}


def test_what_was_stored_is_there_after_a_restart(directory: DirectoryStore) -> None:
    etag = directory.put(KEY, b"one")
    again = DirectoryStore(directory.root)
    assert again.read(KEY) == (b"one", etag)
    assert list(again.list("metadata/")) == [KEY]


def test_a_reader_is_not_disturbed_when_its_object_is_deleted(directory: DirectoryStore) -> None:
    directory.put(KEY, b"0123456789")
    reader = directory.open(KEY)
    assert reader.read(3) == b"012"
    directory.delete(KEY)
    assert reader.read(100) == b"3456789"
    reader.close()
    reader.close()


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux tells what it has in memory")
def test_what_was_just_written_is_ready(directory: DirectoryStore) -> None:
    directory.put(KEY, b"0123456789")
    with contextlib.closing(directory.open(KEY, 0, 9)) as reader:
        first = reader.read_ready(4)
        if first is None:
            pytest.skip("the file system cannot tell")
        assert bytes(first) == b"0123"
        assert bytes(reader.read_ready(100) or b"") == b"45678"
        assert reader.read_ready(100) is None


# Data that is only on the disk; a file system that cannot tell (preadv2(2)), such as network file systems; a kernel or
# sandbox without the call; a disk that fails.
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EIO])
def test_what_is_not_ready_is_read_all_the_same(directory: DirectoryStore, number: int) -> None:
    directory.put(KEY, b"0123456789")
    with contextlib.closing(directory.open(KEY)) as reader, failing("preadv", number):
        assert reader.read_ready(4) is None
        assert reader.read(4) == b"0123"


@pytest.mark.parametrize("key", ["", "../one", "/etc/passwd", "a//b", "a/", "a/./b", ".staging/x", "a/.hidden", "é"])
def test_no_key_leads_out_of_the_directory_or_into_its_own_files(directory: DirectoryStore, key: str) -> None:
    for use in (directory.read, directory.open, directory.delete, lambda key: directory.put(key, b"")):
        with pytest.raises(ValueError, match="not a key"):
            use(key)
    assert files(directory) == []


def test_strange_files_are_not_listed(directory: DirectoryStore) -> None:
    directory.put(KEY, b"{}")
    folder = directory.root / "metadata"
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "ab" / ".one.json.swp").write_bytes(b"x")
    (folder / "lost+found").mkdir()
    for place in (os.fsencode(folder), os.fsencode(folder / "ab")):
        with open(place + b"/caf\xe9.json", "wb"):
            pass
    assert list(directory.list("metadata/")) == [KEY]


def test_files_that_are_no_records_have_no_id(directory: DirectoryStore) -> None:
    records = Records(directory, lambda: NOW)
    records.create(record())
    folder = directory.root / record_key(FILE_ID)
    for name in (f"{FILE_ID}.json~", f"{FILE_ID}.json.bak", f"{FILE_ID}", "notes.txt"):
        (folder.parent / name).write_bytes(b"x")
    (folder.parent.parent / folder.name).write_bytes(b"x")
    assert list(records.ids()) == [FILE_ID]


def test_a_directory_that_cannot_be_used_is_reported_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable):
        DirectoryStore(tmp_path / "file")


def test_a_directory_that_went_away_fails_its_check(directory: DirectoryStore) -> None:
    directory.root.rename(directory.root.with_name("moved"))
    with pytest.raises(StorageUnavailable):
        directory.check()
    with pytest.raises(StorageUnavailable):
        directory.put(KEY, b"x")


def test_without_free_descriptors_the_check_fails(directory: DirectoryStore) -> None:
    """Nothing can be opened then, so health checks must not say that all is well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert directory.ready is not None
    # The lowest number that is free.
    file = os.dup(0)
    os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (file, hard))
    try:
        with pytest.raises(StorageUnavailable):
            directory.check()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    directory.check()


# Disk errors

FAULTS = [
    (errno.ENOSPC, StorageFull),
    (errno.EDQUOT, StorageFull),
    (errno.EROFS, StorageUnavailable),
    (errno.EIO, StorageUnavailable),
]
EVERY_FAULT = pytest.mark.parametrize(("number", "error"), FAULTS, ids=[errno.errorcode[fault[0]] for fault in FAULTS])


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
@EVERY_FAULT
def test_a_put_that_fails_leaves_the_old_object_and_nothing_else(
    directory: DirectoryStore, function: str, number: int, error: type[ShareError]
) -> None:
    etag = directory.put(KEY, b"old")
    with failing(function, number), pytest.raises(error):
        directory.put(KEY, b"new", Matches(etag))
    assert directory.read(KEY) == (b"old", etag)
    assert files(directory) == [KEY]
    directory.put(KEY, b"new", Matches(etag))


@pytest.mark.parametrize("function", ["write", "pwrite", "fsync", "replace"])
@EVERY_FAULT
def test_a_writer_that_fails_and_is_aborted_leaves_nothing(
    directory: DirectoryStore, function: str, number: int, error: type[ShareError]
) -> None:
    # In a new folder, the first sync would be that of the folder above.
    directory.put(OTHER, b"other")
    writer = directory.writer(KEY, 1)
    with failing(function, number), pytest.raises(error):
        fill(writer)
    writer.abort()
    assert files(directory) == [OTHER]


def test_a_failure_to_remove_what_was_not_synced_does_not_hide_why(directory: DirectoryStore) -> None:
    directory.put(OTHER, b"other")
    writer = directory.writer(KEY, 1)
    with failing("fsync", errno.ENOSPC), failing("unlink", errno.EROFS), pytest.raises(StorageFull):
        fill(writer)
    writer.abort()


@pytest.mark.parametrize("write", [lambda store: store.put(KEY, b"hx"), lambda store: fill(store.writer(KEY, 1))])
def test_a_full_disk_that_shows_after_the_rename_does_not_pass_for_nothing_written(
    directory: DirectoryStore, write: Callable[[DirectoryStore], object]
) -> None:
    """On `StorageFull` for a new record, the caller removes the blob that belongs to it."""
    directory.put(OTHER, b"other")
    with failing("fsync", errno.ENOSPC, is_directory), pytest.raises(StorageUnavailable):
        write(directory)
    assert directory.read(KEY)[0] == b"hx"


def test_a_directory_that_somebody_tidied_away_is_made_again(directory: DirectoryStore) -> None:
    directory.put(KEY, b"old")
    directory.delete(KEY)
    (directory.root / KEY).parent.rmdir()
    directory.put(KEY, b"new")
    assert directory.read(KEY)[0] == b"new"


def test_short_writes_are_continued(directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    directory.put(KEY, b"0123456789")
    writer = directory.writer("files/ab/two")
    writer.write(b"0123456789")
    writer.commit()
    assert directory.read(KEY)[0] == directory.read("files/ab/two")[0] == b"0123456789"


def test_what_can_replace_an_object_is_synced_before_its_name_and_all_before_the_answer(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.put(KEY, b"old")
    directory.put("files/ab/one", b"one")
    steps: list[str] = []
    synced, replaced = os.fsync, os.replace

    def fsync(file: int) -> None:
        steps.append("sync directory" if is_directory(file) else "sync file")
        synced(file)

    def replace(source: str, target: str, **place: int) -> None:
        steps.append("rename")
        replaced(source, target, **place)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    directory.put(KEY, b"new")
    assert steps == ["sync file", "rename", "sync directory"]
    steps.clear()
    # One commit of a journal makes both durable.
    writer = directory.writer("files/ab/two")
    writer.write(b"two")
    writer.commit()
    assert steps == ["rename", "sync file", "sync directory"]
    steps.clear()
    # An empty file has no bytes to sync.
    directory.put(KEY, b"")
    assert steps == ["rename", "sync directory"]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot be told to begin")
def test_the_disk_is_given_a_large_file_while_it_is_written(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, the fsync at the end would have to write all of it."""
    ranges: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _file, start, size, _advice: ranges.append((start, start + size)))
    writer = directory.writer(KEY, 11)
    batch = bytes(WRITEBACK_SIZE // 4)
    for _ in range(22):
        writer.write(batch)
    writer.abort()
    assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
    assert ranges[-1][1] == 11 + 20 * len(batch)


def test_a_process_that_dies_before_the_rename_leaves_the_old_object(directory: DirectoryStore) -> None:
    directory.put(KEY, b"old")
    crash = (
        "import os, pathlib, sys; from shared.storage.directory.store import DirectoryStore\n"
        "os.replace = lambda *_, **__: os._exit(7)\n"
        f"DirectoryStore(pathlib.Path(sys.argv[1])).put({KEY!r}, b'new')"
    )
    run = subprocess.run([sys.executable, "-c", crash, str(directory.root)], cwd=ROOT, check=False, timeout=60)
    assert run.returncode == 7
    assert [path.read_bytes() for path in staged(directory.root)] == [b"new"]
    assert directory.read(KEY)[0] == b"old"
    assert list(directory.list("metadata/")) == [KEY]
    directory.put(KEY, b"newer")


# Free space


def test_a_large_object_needs_the_free_space_and_a_small_one_does_not(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "data", min_free_space=1 << 62)
    with pytest.raises(StorageFull):
        store.writer("files/ab/two")
    store.put(KEY, b"one")
    assert store.read(KEY)[0] == b"one"
    store.delete(KEY)
    assert files(store) == []


def test_a_writer_stops_when_space_runs_out_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path / "data", min_free_space=1)
    writer = store.writer("files/ab/two")
    writer.write(bytes(CHECK_SIZE))
    full = os.statvfs_result((4096, 4096, 1000, 0, 0, 1000, 1000, 1000, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(StorageFull):
        writer.write(b"y")
    writer.abort()
    assert files(store) == []


# Concurrent access


def test_a_put_that_has_compared_does_not_bring_a_deleted_object_back(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = directory.put(KEY, b"old")
    deletion = threading.Thread(target=directory.delete, args=[KEY])
    replaced = os.replace

    def replace(source: str, target: str, **place: int) -> None:
        deletion.start()
        # The delete must wait. Otherwise, it would finish long before this timeout.
        deletion.join(timeout=0.2)
        replaced(source, target, **place)

    monkeypatch.setattr(os, "replace", replace)
    directory.put(KEY, b"new", Matches(etag))
    deletion.join(timeout=60)
    with pytest.raises(NotFound):
        directory.read(KEY)


def test_two_stores_on_one_directory_keep_each_others_conditions(directory: DirectoryStore) -> None:
    other = DirectoryStore(directory.root)
    etag = directory.put(KEY, b"one", ABSENT)
    other.put(KEY, b"two", Matches(etag))
    with pytest.raises(Changed):
        directory.put(KEY, b"three", Matches(etag))


COUNTING = """
import datetime, pathlib, sys
from msgspec import structs
from shared.storage.directory.store import (DirectoryStore)
from shared.storage.records import (Records)

records = Records(DirectoryStore(pathlib.Path(sys.argv[1])), lambda: datetime.datetime.now(datetime.UTC))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(50):
    records.update(sys.argv[2], lambda old: structs.replace(old, download_count=old.download_count + 1))
"""


def test_two_processes_lose_no_count(directory: DirectoryStore) -> None:
    records = Records(directory, lambda: NOW)
    records.create(record())
    command = [sys.executable, "-c", COUNTING, str(directory.root), FILE_ID]
    with contextlib.ExitStack() as stack:
        counting = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(2)
        ]
        for process in counting:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        # Both have started. They begin when their input ends.
        for process in counting:
            assert process.stdin is not None
            process.stdin.close()
    assert [process.returncode for process in counting] == [0, 0]
    assert records.get(FILE_ID).record.download_count == 100
