"""The internal files of a data directory: recreated if they vanish, and with names that survive a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import StorageUnavailable
from shared.storage.contract import ABSENT, Changed, Matches, NotFound
from shared.storage.directory.data_directory import STAGING
from shared.storage.directory.spares import FILES, FOLDERS, SPARE_SIZE, SPARES
from shared.storage.directory.store import DirectoryStore

KEY = "metadata/ab/one.json"


def write(store: DirectoryStore, key: str, data: bytes) -> None:
    writer = store.writer(key)
    writer.write(data)
    writer.commit()


@pytest.mark.parametrize("names", [[STAGING], [SPARES], [STAGING, SPARES]])
def test_folders_of_its_own_are_made_anew_under_a_running_server(directory: DirectoryStore, names: list[str]) -> None:
    etag = directory.put(KEY, b"old")
    for name in names:
        shutil.rmtree(directory.root / name)
    directory.check()
    etag = directory.put(KEY, b"new", Matches(etag))
    with pytest.raises(Changed):
        directory.put(KEY, b"newer", Matches("other"))
    write(directory, "files/ab/two", b"two")
    assert directory.read(KEY) == (b"new", etag)
    assert directory.read("files/ab/two")[0] == b"two"
    directory.delete(KEY)
    assert {path.name for path in directory.root.iterdir() if path.name.startswith(".")} == {STAGING, SPARES}
    assert {path.name for path in (directory.root / SPARES).iterdir()} == {*FILES, *FOLDERS}


def test_records_that_replace_others_are_begun_in_many_folders(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, begun = os.replace, list[str]()

    def replace(source: str, *rest: Any, **options: Any) -> None:
        begun.append(os.path.relpath(os.path.dirname(source), directory.root / STAGING))
        rename(source, *rest, **options)

    monkeypatch.setattr(os, "replace", replace)
    etag = directory.put(KEY, b"first", ABSENT)
    write(directory, "files/ab/two", b"two")
    assert begun == [".", "."]
    for number in range(3 * 257):
        # Three in 10 ms.
        monkeypatch.setattr(time, "monotonic", lambda number=number: 1000.001 + number / 300)
        etag = directory.put(KEY, b"%d" % number, Matches(etag))
    together = [begun[start : start + 3] for start in range(2, len(begun), 3)]
    assert all(len(set(folders)) == 1 for folders in together)
    assert len({folders[0] for folders in together}) == 256
    assert together[0] == together[-1]


@pytest.mark.parametrize("plant", [Path.touch, lambda path: path.symlink_to("nowhere")], ids=["file", "link"])
def test_records_can_be_replaced_whatever_is_in_the_place_of_these_folders(
    directory: DirectoryStore, plant: Callable[[Path], None]
) -> None:
    """As if a sweep by another user had made them, so that this one cannot use them."""
    for number in range(256):
        plant(directory.root / STAGING / f"{number:02x}")
    etag = directory.put(KEY, b"old")
    directory.put(KEY, b"new", Matches(etag))
    assert directory.read(KEY)[0] == b"new"


def test_leftovers_are_removed_even_if_one_of_these_folders_cannot_be_read(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scan, staging = os.scandir, directory.root / STAGING
    for name in ("ab", "cd", "ef", "zz"):
        (staging / name).mkdir()
        (staging / name / "left").touch()

    def scandir(path: Any) -> Any:
        if path in (str(staging / "ab"), str(staging / "ef")):
            raise PermissionError(errno.EACCES, "not yours", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert directory.discard_unfinished(datetime.now(UTC) + timedelta(hours=1)) == 2
    assert {path.parent.name for path in staging.glob("*/left")} == {"ab", "ef"}
    assert caplog.text.count("not yours") == 2


def test_links_among_staged_files_are_not_followed(directory: DirectoryStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (directory.root / STAGING / "ab").symlink_to(elsewhere)
    assert directory.discard_unfinished(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert (elsewhere / "kept").exists()


def test_the_file_system_is_asked_to_place_these_folders_apart(directory: DirectoryStore) -> None:
    def lists_attribute(path: Path) -> bool:
        run = subprocess.run(["lsattr", "-d", path], capture_output=True, text=True, check=True)
        return "T" in run.stdout.split()[0]

    probe = directory.root.parent / "probe"
    probe.mkdir()
    try:
        subprocess.run(["chattr", "+T", probe], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no such attribute here: {error}")
    assert lists_attribute(probe)
    assert lists_attribute(directory.root / STAGING)
    shutil.rmtree(directory.root / STAGING)
    directory.check()
    assert lists_attribute(directory.root / STAGING)


def test_a_folder_that_was_moved_away_while_somebody_waited_for_its_lock_is_locked_anew(
    directory: DirectoryStore,
) -> None:
    directory.put(KEY, b"old")
    folder = directory.root / "metadata" / "ab"
    inside: list[str] = []
    kept = directory._directory

    def second() -> None:
        with kept.locked(["metadata", "ab"], make=True) as opened:
            inside.append("second")
            # It holds the same lock that others find.
            assert os.path.samestat(os.fstat(opened), folder.stat())

    waiting = threading.Thread(target=second)
    with kept.locked(["metadata", "ab"]):
        waiting.start()
        # The other must wait. Otherwise, it would finish long before this timeout.
        waiting.join(timeout=0.2)
        folder.rename(directory.root / "moved")
        inside.append("first")
    waiting.join(timeout=60)
    assert inside == ["first", "second"]
    assert list(folder.iterdir()) == []


def test_others_need_not_wait_for_the_sync_of_a_name(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = directory.put(KEY, b"one")
    fsync = os.fsync
    waited: list[bool] = []

    def sync(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            monkeypatch.undo()
            other = threading.Thread(target=lambda: directory.put(KEY, b"three", Matches(directory.read(KEY)[1])))
            other.start()
            other.join(timeout=60)
            waited.append(other.is_alive())
        fsync(file)

    monkeypatch.setattr(os, "fsync", sync)
    directory.put(KEY, b"two", Matches(etag))
    assert waited == [False]
    assert directory.read(KEY)[0] == b"three"


def test_a_put_compares_before_a_deletion_or_after_it(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = directory.put(KEY, b"old")
    outcomes: list[str] = []
    unlink = os.unlink

    def put() -> None:
        try:
            directory.put(KEY, b"new", Matches(etag))
        except NotFound:
            outcomes.append("not found")

    putting = threading.Thread(target=put)

    def slow_unlink(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        putting.start()
        # The put must wait. Otherwise, it would have compared long before this timeout.
        putting.join(timeout=0.2)
        unlink(*arguments, **options)

    monkeypatch.setattr(os, "unlink", slow_unlink)
    directory.delete(KEY)
    putting.join(timeout=60)
    assert outcomes == ["not found"]
    assert list(directory.list("metadata/")) == []


def test_a_put_with_an_etag_makes_no_folder(directory: DirectoryStore) -> None:
    with pytest.raises(NotFound):
        directory.put(KEY, b"new", Matches("0"))
    assert not (directory.root / "metadata").exists()


def test_what_a_crash_left_of_a_spare_file_is_replaced(directory: DirectoryStore) -> None:
    os.truncate(directory.root / SPARES / FILES[3], 100)
    DirectoryStore(directory.root)
    sizes = {(directory.root / SPARES / name).stat().st_size for name in FILES}
    assert sizes == {SPARE_SIZE}


def test_spares_are_listed_again_only_after_a_change(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    spares = directory.root / SPARES
    os.utime(spares, (0, 0))
    write(directory, KEY, b"one")
    with monkeypatch.context() as patch:
        patch.delattr(os, "listdir")
        write(directory, KEY, b"two")
    # Another process uses one.
    (spares / FILES[3]).unlink()
    write(directory, KEY, b"three")
    assert {path.name for path in spares.iterdir()} == {*FILES, *FOLDERS}


def test_the_name_of_the_directory_and_of_those_above_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    fsync = os.fsync

    def note(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            synced.update(str(path) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b") if _is(path, file))
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    DirectoryStore(tmp_path / "a" / "b" / "data")
    assert synced == {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")}


def _is(path: Path, file: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file))
    return False


@pytest.mark.parametrize("folder", ["metadata", "metadata/ab"])
def test_no_link_in_the_place_of_a_folder_is_followed(directory: DirectoryStore, tmp_path: Path, folder: str) -> None:
    directory.put(KEY, b"old")
    (directory.root / folder).rename(tmp_path / "outside")
    (directory.root / folder).symlink_to(tmp_path / "outside")
    before = {path: path.read_bytes() for path in (tmp_path / "outside").rglob("*") if path.is_file()}
    for use in (directory.read, directory.open, directory.stat):
        with pytest.raises(NotFound):
            use(KEY)
    assert list(directory.list("metadata/")) == []
    directory.delete(KEY)
    with pytest.raises(StorageUnavailable):
        directory.put(KEY, b"new")
    assert {path: path.read_bytes() for path in (tmp_path / "outside").rglob("*") if path.is_file()} == before


def test_a_link_in_the_place_of_an_object_counts_as_missing(directory: DirectoryStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"outside")
    link = directory.root / KEY
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(NotFound):
        directory.put(KEY, b"new", Matches("0"))
    directory.put(KEY, b"new", ABSENT)
    assert directory.read(KEY)[0] == b"new"
    assert outside.read_bytes() == b"outside"
