"""A disk without free blocks or inodes: deletions must work there, because they free space, and so must downloads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from shared.sharing import Shares
from shared.storage.directory.data_directory import STAGING
from shared.storage.directory.spares import FILES, FOLDERS, SPARES
from shared.storage.directory.store import DirectoryStore
from shared.sweeping import Sweep
from tests.api.client import DIGITS, DirectoryObjects, file_part, form, problem, text_part
from tests.clock import Clock
from tests.faults.faulty import SECRET, Faulty, over
from tests.interposed import InterposedStore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, as root alone may")

JSON = {"Content-Type": "application/json"}
HOUR = timedelta(hours=1)


class Disk:
    """A small file system, and another program on it that uses all free space."""

    def __init__(self, path: Path, lacking: str) -> None:
        self.path = path
        self._lacking = lacking
        self._taken = 0

    def fill(self) -> None:
        if self._lacking != "inodes":
            self._fill_blocks()
        if self._lacking != "blocks":
            self._fill_inodes()

    def empty(self) -> None:
        for taken in self.path.glob("taken*"):
            taken.unlink()

    def _fill_blocks(self) -> None:
        file = os.open(self.path / "taken", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with contextlib.suppress(OSError), contextlib.closing(os.fdopen(file, "wb", buffering=0)) as taken:
            while True:
                taken.write(bytes(4096))
        assert os.statvfs(self.path).f_bavail == 0

    def _fill_inodes(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                (self.path / f"taken-{self._taken}").touch(exist_ok=False)
                self._taken += 1
        assert os.statvfs(self.path).f_favail == 0


@pytest.fixture(params=["blocks", "inodes", "both"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk of 6 MB for the test to fill."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m,nr_inodes=1200", "tmpfs", str(mounted)]
    run = subprocess.run(command, capture_output=True, check=False)
    if run.returncode:
        pytest.skip(f"cannot mount here: {run.stderr.decode().strip()}")
    disk = Disk(mounted, request.param)
    yield disk
    subprocess.run(["umount", mounted], check=True)


@pytest.fixture
def faulty(disk: Disk, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    data = disk.path / "data"
    return over(InterposedStore(DirectoryStore(data)), Clock(), loop, DirectoryObjects(data), monkeypatch)


def spares(disk: Disk) -> set[str]:
    return {path.name for path in (disk.path / "data" / SPARES).iterdir()}


def test_files_can_be_deleted(faulty: Faulty, disk: Disk) -> None:
    files = [faulty.api.upload() for _ in range(10)]
    # None of the folders of their entries exists yet.
    faulty.clock.now += 5 * HOUR
    for file in files:
        disk.fill()
        owner = {"X-Delete-Token": file["delete_token"]}
        assert faulty.api.request("DELETE", f"/file/{file['file_id']}", owner).status_code == 204
        problem(faulty.api.download(file["file_id"]), 404)
    assert faulty.api.listing() == {}
    assert [*faulty.store.store.list("files/")] == []
    disk.empty()
    faulty.settle()
    assert faulty.kept() == set()


def test_files_can_be_downloaded_and_each_download_counts(faulty: Faulty, disk: Disk) -> None:
    file_id = faulty.api.upload()["file_id"]
    capped = faulty.api.post(form(text_part("max_downloads", b"3"), file_part(DIGITS))).json()["file_id"]
    for number in range(1, 41):
        disk.fill()
        assert faulty.api.download(file_id).content == DIGITS
        assert faulty.api.count(file_id) == number
        # A spare file does without a new folder of its own, so the spare folders are left for new names.
        assert {*FOLDERS} <= spares(disk)
    for _ in range(3):
        disk.fill()
        assert faulty.api.download(capped).content == DIGITS
    problem(faulty.api.download(capped), 410)
    disk.empty()
    faulty.clock.now += 26 * HOUR
    assert Sweep(faulty.shares()).run().failed == 0
    assert set(faulty.api.listing()) == {file_id}


def test_options_can_be_changed(faulty: Faulty, disk: Disk) -> None:
    upload = faulty.api.upload()
    owner = {"X-Delete-Token": upload["delete_token"], **JSON}
    disk.fill()
    answer = faulty.api.request("PATCH", f"/file/{upload['file_id']}", owner, b'{"expires_in": 60, "max_downloads": 2}')
    assert answer.status_code == 200
    assert answer.json()["max_downloads"] == 2


def test_the_sweep_removes_what_has_expired(faulty: Faulty, disk: Disk) -> None:
    for _ in range(40):
        assert faulty.api.post(form(text_part("expires_in", b"60"), file_part(DIGITS))).status_code == 201
    kept = faulty.api.upload()["file_id"]
    faulty.clock.now += 2 * HOUR
    disk.fill()
    swept = Sweep(faulty.shares()).run()
    assert (swept.removed, swept.failed) == (40, 0)
    assert set(faulty.api.listing()) == {kept}
    # The deletions made room for uploads.
    assert faulty.api.upload()["file_size"] == len(DIGITS)


def test_an_upload_is_refused_and_leaves_nothing(faulty: Faulty, disk: Disk) -> None:
    faulty.api.upload()
    before = faulty.api.objects.keys()
    disk.fill()
    for answer in (
        faulty.api.post(form(file_part(DIGITS))),
        faulty.api.request("PUT", "/file/upload/a.bin", content=DIGITS),
    ):
        members = problem(answer, 507)
        assert (members["title"], members["detail"]) == (
            "Storage full",
            "Not enough space for this file. Try again later.",
        )
    assert faulty.api.objects.keys() == before
    assert faulty.api.request("GET", "/health").status_code == 200
    disk.empty()
    assert faulty.api.upload()["file_size"] == len(DIGITS)


def test_spares_are_made_anew_when_there_is_room(faulty: Faulty, disk: Disk) -> None:
    complete = {*FILES, *FOLDERS}
    assert spares(disk) == complete
    file_id = faulty.api.upload()["file_id"]
    for name in (*FILES[:10], *FOLDERS):
        path = disk.path / "data" / SPARES / name
        path.unlink() if name in FILES else path.rmdir()
    disk.fill()
    assert faulty.api.download(file_id).status_code == 200
    problem(faulty.api.post(form(file_part(DIGITS))), 507)
    disk.empty()
    faulty.api.upload()
    assert spares(disk) == complete


def test_a_server_starts_on_a_full_disk(faulty: Faulty, disk: Disk) -> None:
    file_id = faulty.api.upload()["file_id"]
    disk.fill()
    shares = Shares(DirectoryStore(disk.path / "data"), max_file_size=10**8, clock=faulty.clock, secret=SECRET)
    shares.delete(file_id)
    assert faulty.api.listing() == {}


def test_a_few_spares_are_enough_for_many_at_once(faulty: Faulty, disk: Disk) -> None:
    """With several stores, because open file locks treat each like a separate process."""
    file_ids = [faulty.api.upload()["file_id"] for _ in range(3 * len(FILES))]
    stores = [DirectoryStore(disk.path / "data") for _ in range(3)]
    disk.fill()

    def count(number: int) -> None:
        shares = faulty.shares(stores[number % len(stores)])
        shares.count(shares.find(file_ids[number]))

    with ThreadPoolExecutor(len(file_ids)) as pool:
        list(pool.map(count, range(len(file_ids))))
    assert {faulty.api.count(file_id) for file_id in file_ids} == {1}


def test_the_folder_of_staged_files_is_made_anew_even_then(faulty: Faulty, disk: Disk) -> None:
    upload = faulty.api.upload()
    subprocess.run(["rm", "-r", disk.path / "data" / STAGING], check=True)
    disk.fill()
    assert faulty.api.download(upload["file_id"]).content == DIGITS
    owner = {"X-Delete-Token": upload["delete_token"]}
    assert faulty.api.request("DELETE", f"/file/{upload['file_id']}", owner).status_code == 204
