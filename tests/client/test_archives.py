"""Several files and folders as one link."""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest
from share.archive.collecting import Collector

from tests.client.conftest import DATA, SIZE, Client
from tests.client.inprocess import Share
from tests.client.proxy import HeldUp, Proxy, Seen
from tests.client.sizes import PART
from tests.wire.server import Server, until


def entries(client: Client, link: str) -> dict[str, bytes]:
    """Names and bytes of the archive's entries, in order."""
    ran = client.run("down", link, "-o", "-")
    assert ran.code == 0, ran.err
    with zipfile.ZipFile(io.BytesIO(ran.out)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def project(client: Client) -> Path:
    folder = client.here / "project"
    for name, data in {
        "readme.md": b"read me",
        ".hidden": b"hidden",
        "src/main.py": b"print()",
        "src/main.pyc": b"\0",
        "build/out/a.o": b"object",
        "empty.txt": b"",
        "ü/e\u0301 😀.txt": b"name",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "none").mkdir()
    return folder


def test_a_folder_becomes_one_archive_with_its_empty_files_and_folders(client: Client, project: Path) -> None:
    sent = client.json("up", "project/")
    assert (sent["original_name"], sent["content_type"], sent["verified"]) == ("project.zip", "application/zip", True)
    assert entries(client, sent["file_id"]) == {
        "project/.hidden": b"hidden",
        "project/empty.txt": b"",
        "project/readme.md": b"read me",
        "project/build/out/a.o": b"object",
        "project/none/": b"",
        "project/src/main.py": b"print()",
        "project/src/main.pyc": b"\0",
        "project/ü/e\u0301 😀.txt": b"name",
    }


def test_files_and_folders_become_one_archive_and_names_stay_apart(client: Client, project: Path) -> None:
    for name in ("a.txt", "x/a.txt", "x/project/b.txt"):
        (client.here / name).parent.mkdir(parents=True, exist_ok=True)
        (client.here / name).write_bytes(name.encode())
    sent = client.json("up", "a.txt", "x/a.txt", "x/project", "--name", "things")
    assert sent["original_name"] == "things.zip"
    assert entries(client, sent["file_id"]) == {
        "a.txt": b"a.txt",
        "a (2).txt": b"x/a.txt",
        "project/b.txt": b"x/project/b.txt",
    }
    both = client.json("up", "project", "x/project", "--exclude", "*.*")
    assert set(entries(client, both["file_id"])) == {
        "project/build/out/",
        "project/none/",
        "project/src/",
        "project/ü/",
        "project (2)/",
    }


def test_the_current_folder_has_a_name(client: Client) -> None:
    (client.here / "a.txt").write_bytes(b"a")
    sent = client.json("up", ".")
    assert sent["original_name"] == "here.zip"
    assert entries(client, sent["file_id"]) == {"here/a.txt": b"a"}


def test_each_makes_a_link_for_each(client: Client, project: Path) -> None:
    (client.here / "a.txt").write_bytes(b"a")
    ran = client.run("up", "--each", "a.txt", "project", "--json")
    assert ran.code == 0, ran.err
    assert [json.loads(line)["original_name"] for line in ran.out.splitlines()] == ["a.txt", "project.zip"]
    assert client.run("up", "--each", "a.txt", "project", "--name", "x").code == 2


def test_patterns_leave_out_files_and_whole_folders(client: Client, project: Path) -> None:
    arguments = ["--exclude", "*.pyc", "--exclude", "/build/", "--exclude", ".*", "--exclude", "!.keep"]
    (project / ".keep").write_bytes(b"")
    sent = client.json("up", "project", *arguments)
    assert set(entries(client, sent["file_id"])) == {
        "project/.keep",
        "project/empty.txt",
        "project/readme.md",
        "project/none/",
        "project/src/main.py",
        "project/ü/e\u0301 😀.txt",
    }


def test_links_in_folders_and_special_files_are_left_out(client: Client, project: Path) -> None:
    (client.here / "secret").write_bytes(b"secret")
    (project / "link").symlink_to("../secret")
    (project / "loop").symlink_to(".")
    os.mkfifo(project / "pipe")
    (client.here / "named").symlink_to("secret")
    ran = client.run("up", "project", "named", "--json", "--exclude", "src", "--exclude", "build")
    assert ran.code == 0, ran.err
    names = entries(client, json.loads(ran.out)["file_id"])
    assert names["named"] == b"secret"
    assert not {"project/link", "project/loop", "project/pipe"} & set(names)
    assert ran.err.count("warning: Skipped:") == 3
    assert client.run("up", "project/pipe", "named").code == 2


def test_what_is_missing_fails_the_archive_unless_it_is_to_be_skipped(client: Client, proxy: Proxy) -> None:
    (client.here / "a.txt").write_bytes(b"a")
    failed = client.run("up", "a.txt", "missing", "a.txt")
    assert (failed.code, failed.out) == (8, b"")
    assert failed.err.startswith("error: missing cannot be read: no such file or directory.")
    assert proxy.seen == []
    ran = client.run("up", "a.txt", "missing", "--skip-missing", "--json")
    assert (ran.code, ran.err) == (0, "warning: Skipped: missing cannot be read: no such file or directory.\n")
    assert entries(client, json.loads(ran.out)["file_id"]) == {"a.txt": b"a"}
    assert client.run("up", "missing", "none", "--skip-missing").code == 8


def test_standard_input_is_no_part_of_an_archive(client: Client) -> None:
    (client.here / "a.txt").write_bytes(b"a")
    assert client.run("up", "a.txt", "-", data=b"x").code == 2
    assert client.run("up", "--each", "a.txt", "-", data=b"x").code == 0


def write_large(client: Client) -> None:
    (client.here / "folder").mkdir()
    (client.here / "folder" / "a.bin").write_bytes(DATA)
    (client.here / "folder" / "b.txt").write_bytes(b"b")


def interrupt(client: Client, proxy: Proxy) -> int:
    """Kill an upload. Returns the number of part bytes that the server has."""
    proxy.before = hold = HeldUp(passing=2)
    process = client.fork("up", "folder")
    hold.wait(proxy, held=4)
    process.end()
    hold.release()
    sent = sum(seen.received for seen in proxy.parts_there())
    proxy.reset()
    return sent


def test_an_archive_that_was_interrupted_resumes(client: Client, proxy: Proxy) -> None:
    write_large(client)
    there = interrupt(client, proxy)
    assert there >= PART
    sent = client.json("up", "folder")
    assert proxy.part_bytes() == sent["file_size"] - there
    assert entries(client, sent["file_id"]) == {"folder/a.bin": DATA, "folder/b.txt": b"b"}


def test_an_archive_of_files_that_changed_is_not_resumed(client: Client, proxy: Proxy) -> None:
    write_large(client)
    path = client.here / "folder" / "a.bin"
    before = path.stat()
    interrupt(client, proxy)
    # One byte: size and time are unchanged, so only reading the file shows the difference.
    path.write_bytes(DATA[:-1] + b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    sent = client.json("up", "folder")
    assert proxy.part_bytes() == sent["file_size"]
    assert entries(client, sent["file_id"])["folder/a.bin"] == DATA[:-1] + b"x"


@pytest.mark.parametrize("change", ["shorter", "longer", "other", "gone"])
@pytest.mark.parametrize("direct", [True, False])
def test_a_file_that_changes_while_it_is_sent_fails_by_name_and_nothing_is_kept(
    client: Client, proxy: Proxy, server: Server, change: str, *, direct: bool
) -> None:
    write_large(client)
    # It is read only after parts have been sent.
    path = client.here / "folder" / "z.txt"
    path.write_bytes(b"z" * 100)
    (client.here / "folder" / "y.bin").write_bytes(DATA)
    before = server.stored()

    def meddle(seen: Seen) -> tuple[int, dict[str, str], bytes] | None:
        if seen.method == "POST":
            match change:
                case "shorter":
                    path.write_bytes(b"z" * 99)
                case "longer":
                    path.write_bytes(b"z" * 101)
                case "other":
                    path.write_bytes(b"z" * 99 + b"x")
                case "gone":
                    path.unlink()
            if not direct:
                return 405, {}, b""
        return None

    proxy.before = meddle
    ran = client.run("up", "folder")
    assert (ran.code, ran.out) == (8, b""), ran.err
    assert "folder/z.txt" in ran.err
    assert client.kept("unfinished") == []
    until(lambda: {path for path in server.stored() - before if path.suffix == ".pickle"} == set())
    proxy.reset()
    assert client.json("up", "folder")["file_size"] > SIZE


def test_the_files_that_differ_only_in_what_is_not_utf8_stay_apart(share: Share) -> None:
    Path("folder").mkdir()
    for name in (b"a\xe9", b"a\xff"):
        (Path("folder") / os.fsdecode(name)).write_bytes(name)
    collector = Collector([], skip_missing=False, warn=print)
    assert [entry.name for entry in collector.collect(["folder"])] == ["folder/a\ufffd", "folder/a\ufffd (2)"]


def test_a_tree_deeper_than_calls_can_be_nested_is_collected(share: Share) -> None:
    (Path("d/" * 150)).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        (entry,) = Collector([], skip_missing=False, warn=print).collect(["d"])
    finally:
        sys.setrecursionlimit(limit)
    assert entry.name == "d/" * 150
