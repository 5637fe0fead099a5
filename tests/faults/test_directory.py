"""A data directory in trouble: full, read-only, forbidden, missing, or with foreign files in it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.storage.directory.store import DirectoryStore
from shared.sweeping import Sweep
from tests.api.client import DIGITS, DirectoryObjects, blob_key, file_part, form, problem, record_key
from tests.clock import Clock
from tests.faults.faulty import Faulty, over
from tests.interposed import InterposedStore
from tests.wire.server import Server, until

MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, as root alone may")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    run = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], capture_output=True, check=False)
    if run.returncode:
        pytest.skip(f"cannot mount here: {run.stderr.decode().strip()}")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


@pytest.fixture
def on_small(small: Path, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    data = small / "data"
    return over(InterposedStore(DirectoryStore(data)), Clock(), loop, DirectoryObjects(data), monkeypatch)


@ROOT_ONLY
def test_a_full_disk_is_no_fault_of_the_client(on_small: Faulty) -> None:
    api = on_small.api
    before = api.objects.keys()
    for size in (MIB - 1000, 2 * MIB, 6 * MIB):
        assert problem(api.post(form(file_part(bytes(size)))), 507)["title"] == "Storage full"
        assert problem(api.request("PUT", "/file/upload/a.bin", content=bytes(size)), 507)["title"] == "Storage full"
        assert api.objects.keys() == before
    upload = api.upload()
    assert api.download(upload["file_id"]).content == DIGITS
    assert api.count(upload["file_id"]) == 1


@ROOT_ONLY
def test_a_disk_that_can_only_be_read_still_shows_what_there_is(on_small: Faulty, small: Path) -> None:
    api = on_small.api
    upload = api.upload()
    owner = {"X-Delete-Token": upload["delete_token"]}
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    try:
        problem(api.post(form(file_part(DIGITS))), 503)
        problem(api.download(upload["file_id"]), 503)
        problem(api.request("DELETE", f"/file/{upload['file_id']}", owner), 503)
        problem(api.request("GET", "/health"), 503)
        assert api.count(upload["file_id"]) == 0
        assert api.download(upload["file_id"], "HEAD").status_code == 200
        assert api.download(upload["file_id"], range="bytes=2-3").content == DIGITS[2:4]
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    assert api.download(upload["file_id"]).content == DIGITS


def test_a_directory_that_is_gone_is_a_fault_of_storage_until_it_is_back(faulty: Faulty, data_directory: Path) -> None:
    api = faulty.api
    upload = api.upload()
    os.rename(data_directory, data_directory.with_name("elsewhere"))
    problem(api.post(form(file_part(DIGITS))), 503)
    problem(api.request("GET", "/health"), 503)
    assert api.download(upload["file_id"]).status_code in (404, 503)
    os.rename(data_directory.with_name("elsewhere"), data_directory)
    assert api.download(upload["file_id"]).content == DIGITS
    assert set(api.listing()) == {upload["file_id"]}


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that every user can access."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="becomes another user, as root may")
def test_a_directory_of_somebody_else_is_a_fault_of_storage(open_to_all: Path) -> None:
    data = open_to_all / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    readable = subprocess.run([*nobody, "ls", Path(__file__).parent], capture_output=True, check=False)
    if readable.returncode:
        pytest.skip("nobody else can read the source")
    with Server(data, before=nobody, PYTHONDONTWRITEBYTECODE="1") as server:
        upload = server.upload([DIGITS], len(DIGITS))
        path = f"/file/download/{upload['file_id']}"
        for folder in data.iterdir():
            folder.chmod(0)
        # Storage was healthy when the server started, and is checked once a second.
        until(lambda: server.get("/health")[0] != 200)
        for asked in (path, "/file/metadata/", "/health"):
            status, body = server.get(asked)
            assert status == 503
            assert json.loads(body)["title"] == "Storage unavailable"
            # The answer reveals neither the path nor the system's message.
            assert b"denied" not in body
            assert str(data).encode() not in body
        for folder in data.iterdir():
            folder.chmod(0o700)
        assert server.get(path) == (200, DIGITS)


# Foreign files


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def to_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def to_other_file(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


PUT_THERE: list[Callable[[Path], None]] = [
    to_fifo,
    to_directory,
    to_loop,
    to_nowhere,
    to_device,
    to_other_file,
    cut,
    emptied,
    zeroed,
]


@pytest.mark.parametrize("spoil", PUT_THERE)
@pytest.mark.parametrize("key", [record_key, blob_key])
def test_what_is_no_file_of_ours_spoils_one_file_only(
    faulty: Faulty, data_directory: Path, spoil: Callable[[Path], None], key: Callable[[str], str]
) -> None:
    api = faulty.api
    spoilt, whole = api.upload()["file_id"], api.upload()
    spoil(data_directory / key(spoilt))
    answer = api.download(spoilt)
    assert answer.status_code in (404, 500, 503)
    problem(answer, answer.status_code)
    assert b"root:" not in answer.content
    assert api.request("GET", f"/file/metadata/{spoilt}").status_code in (200, 404, 500, 503)
    assert whole["file_id"] in api.listing()
    assert api.download(whole["file_id"]).content == DIGITS
    assert api.request("GET", "/health").status_code == 200
    Sweep(faulty.shares()).run()
    assert api.upload()["file_size"] == 10


def test_a_link_in_the_place_of_a_record_is_never_followed(faulty: Faulty, data_directory: Path) -> None:
    api = faulty.api
    upload = api.upload()
    outside = data_directory.with_name("outside")
    record = data_directory / record_key(upload["file_id"])
    record.rename(outside)
    record.symlink_to(outside)
    before = outside.read_bytes()
    problem(api.download(upload["file_id"]), 404)
    owner = {"X-Delete-Token": upload["delete_token"]}
    problem(api.request("DELETE", f"/file/{upload['file_id']}", owner), 404)
    assert api.listing() == {}
    faulty.settle()
    assert outside.read_bytes() == before


@pytest.mark.parametrize("folder", ["metadata", "files", "metadata/{}", "files/{}"])
def test_a_link_in_the_place_of_a_folder_is_never_followed(faulty: Faulty, data_directory: Path, folder: str) -> None:
    api = faulty.api
    upload = api.upload()
    owner = {"X-Delete-Token": upload["delete_token"]}
    linked = data_directory / folder.format(upload["file_id"][:2])
    outside = data_directory.with_name("outside")
    linked.rename(outside)
    linked.symlink_to(outside)
    before = contents(outside)
    assert api.download(upload["file_id"]).status_code in (404, 500)
    assert api.request("PATCH", f"/file/{upload['file_id']}", owner | JSON, b'{"max_downloads": 5}').status_code in (
        200,
        404,
    )
    if folder.startswith("metadata"):
        assert api.listing() == {}
    assert api.request("DELETE", f"/file/{upload['file_id']}", owner).status_code in (204, 404)
    Sweep(faulty.shares()).run()
    assert contents(outside) == before
    if "{}" not in folder:
        problem(api.post(form(file_part(DIGITS))), 503)
        assert contents(outside) == before
    linked.unlink()
    outside.rename(linked)
    assert api.upload()["file_size"] == 10


def test_the_data_directory_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").symlink_to("elsewhere")
    store = DirectoryStore(tmp_path / "data")
    etag = store.put("metadata/ab/one.json", b"one")
    assert store.read("metadata/ab/one.json") == (b"one", etag)
    assert list(store.list("metadata/")) == ["metadata/ab/one.json"]
    assert (tmp_path / "elsewhere" / "metadata" / "ab" / "one.json").is_file()


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_junk_anywhere_is_left_alone(faulty: Faulty, data_directory: Path) -> None:
    api = faulty.api
    upload = api.upload()
    stray = str(uuid.uuid4())
    for folder in (
        "",
        "files",
        "files/zz",
        "metadata",
        "metadata/zz",
        "expiries",
        "expiries/2030-01-01T00",
        "raw",
        "counts",
    ):
        (data_directory / folder).mkdir(exist_ok=True)
        for name in (".DS_Store", "x.json~", "Thumbs.db", "é", f"{stray}.pickle.bak", f"{stray}.json.tmp"):
            (data_directory / folder / name).write_bytes(b"junk")
        os.mkfifo(data_directory / folder / "fifo")
        (data_directory / folder / "link").symlink_to("/etc")
        (data_directory / folder / os.fsdecode(b"\xff\xfe")).write_bytes(b"junk")
    assert set(api.listing()) == {upload["file_id"]}
    faulty.settle()
    assert api.download(upload["file_id"]).content == DIGITS
    assert Path("/etc/passwd").exists()
