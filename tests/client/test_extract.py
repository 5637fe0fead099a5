"""Extracting archives: all files appear in a new folder, and nothing elsewhere."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest
from share.archive import extracting
from share.faults import Exit, Fault
from share.names import Tree

from tests.client.conftest import DATA, Client
from tests.client.inprocess import FILE_ID, Share, answer, description
from tests.client.proxy import Answer, Proxy, Seen

TIME = (2026, 11, 28, 10, 0, 0)
SAFE = "harmless.txt"


def packed(*names: str, method: int = zipfile.ZIP_STORED, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name, TIME)
            # The constructor cuts names short, and changes separators.
            info.filename = name
            info.compress_type = method
            info.external_attr = mode << 16
            archive.writestr(info, b"" if name.endswith("/") else name.encode())
    return buffer.getvalue()


def extract(data: bytes, target: Path) -> list[str]:
    """The paths in the target afterwards. The folder around it must contain nothing else."""
    outer = target.parent
    outer.mkdir(exist_ok=True)
    (outer / "archive.zip").write_bytes(data)
    warnings: list[str] = []
    try:
        extracting.extract(outer / "archive.zip", target, warnings.append)
    finally:
        assert {path.name for path in outer.iterdir()} <= {"archive.zip", target.name}
    assert not [path for path in target.rglob("*") if path.is_symlink()]
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir())


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "a/../../evil", "..", "a/..", "..\\evil", "a\\..\\..\\evil", "a/..\\evil"),
        *("/etc/evil", "//host/evil", "\\evil", "\\\\host\\share\\evil", "C:\\evil", "C:evil", "c:/evil", "C:"),
    ],
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    outer = tmp_path / "outer"
    with pytest.raises(Fault, match="not safe to extract") as refused:
        extract(packed(SAFE, name), outer / "out")
    assert refused.value.code is Exit.REFUSED
    assert not (outer / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["outer"]


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (["./a", "b//c", ".hidden"], [".hidden", "a", "b/c"]),
        (["windows\\folder\\file.txt", "other"], ["other", "windows/folder/file.txt"]),
        (["CON", "aux.txt", "d/nul", "COM1.log"], ["_CON", "_COM1.log", "_aux.txt", "d/_nul"]),
        (["ab:c?.txt", "end. ", "dots...", " "], ["_", "ab_c_.txt", "dots", "end"]),
        (["evil\u202etxt.exe", "bell\x07", "line\nfeed"], ["bell_", "evil_txt.exe", "line_feed"]),
        (["A.txt", "a.txt", "a.TXT"], ["A.txt", "a (2).txt", "a (3).TXT"]),
        (["\u00e9", "e\u0301", "E\u0301"], ["E\u0301 (3)", "e\u0301 (2)", "\u00e9"]),
        (["same", "same", "same (2)"], ["same", "same (2)", "same (2) (2)"]),
        (["a", "a/b", "A/c", "a (2)/d"], ["a", "a (2)/b", "a (2)/c", "a (2) (2)/d"]),
        (["Docs/a", "docs/b"], ["Docs/a", "Docs/b"]),
        (["é" * 300, "x"], ["é" * 127, "x"]),
        (["👨\u200d👩\u200d👧.jpg", "報告.txt"], ["報告.txt", "👨\u200d👩\u200d👧.jpg"]),
    ],
    ids=lambda value: ascii(value)[:40],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_odd_names_become_harmless_and_stay_apart(tmp_path: Path, names: list[str], paths: list[str]) -> None:
    assert extract(packed(*names), tmp_path / "outer" / "out") == sorted(paths)


@pytest.mark.parametrize(
    ("raw", "name"), [("é報告.txt".encode(), "é報告.txt"), ("Grüße.txt".encode("cp437"), "Grüße.txt")]
)
def test_names_without_the_flag_of_their_encoding_can_be_read(tmp_path: Path, raw: bytes, name: str) -> None:
    # The first as macOS and Info-ZIP write it, the second as MS-DOS did.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("?" * len(raw), b"data")
    data = buffer.getvalue().replace(b"?" * len(raw), raw)
    assert extract(data, tmp_path / "outer" / "out") == [name]
    assert (tmp_path / "outer" / "out" / name).read_bytes() == b"data"


def test_a_folder_that_holds_all_else_is_left_out(tmp_path: Path) -> None:
    assert extract(packed("photos/", "photos/a", "photos/b/c"), tmp_path / "x" / "out") == ["a", "b/c"]
    assert extract(packed("photos/a", "b"), tmp_path / "y" / "out") == ["b", "photos/a"]
    assert extract(packed("a"), tmp_path / "z" / "out") == ["a"]


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_are_left_out(tmp_path: Path, mode: int) -> None:
    assert extract(packed("/etc/passwd"[1:], mode=mode | 0o777), tmp_path / "outer" / "out") == []
    assert not (tmp_path / "outer" / "out").exists() or not any((tmp_path / "outer" / "out").iterdir())


def with_changed(data: bytes, signature: bytes, offset: int, form: str, value: int) -> bytes:
    """The archive with one number changed, `offset` bytes after the last such signature begins."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.rindex(signature) + offset, value)
    return bytes(changed)


CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
GOOD = packed("a.txt", "b.txt", method=zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        GOOD[:-10],
        GOOD[len(GOOD) // 2 :],
        with_changed(GOOD, CENTRAL, 8, "<H", 0x801),
        with_changed(GOOD, CENTRAL, 10, "<H", 12),
        with_changed(GOOD, CENTRAL, 10, "<H", 99),
        with_changed(GOOD, CENTRAL, 16, "<I", 1),
        with_changed(GOOD, CENTRAL, 20, "<I", 1),
        with_changed(GOOD, CENTRAL, 24, "<I", 1),
        with_changed(GOOD, CENTRAL, 24, "<I", 1_000_000),
        with_changed(GOOD, CENTRAL, 24, "<I", 4_000_000_000),
        with_changed(GOOD, CENTRAL, 42, "<I", 1),
        with_changed(GOOD, CENTRAL, 42, "<I", 2**31),
        with_changed(GOOD, LOCAL, 26, "<H", 3),
        with_changed(GOOD, LOCAL, 30, "<B", 0x7A),
        with_changed(GOOD, END, 16, "<I", 2**31),
        with_changed(GOOD, END, 12, "<I", 2**31),
        packed("d/" * 300 + "x"),
        packed("d/" * 20_000 + "x"),
    ],
    ids=range(20),
)
def test_a_damaged_or_hostile_archive_leaves_nothing_behind(tmp_path: Path, data: bytes) -> None:
    outer = tmp_path / "outer"
    with pytest.raises(Fault) as refused:
        extract(data, outer / "out")
    assert refused.value.code is Exit.REFUSED
    assert [path.name for path in outer.iterdir()] == ["archive.zip"]


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    entry = io.BytesIO()
    with zipfile.ZipFile(entry, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1_000_000))
    # A million bytes, and two thousand names for them: each file is small, but their total is not.
    with zipfile.ZipFile(entry, "a") as archive:
        (info,) = archive.infolist()
        archive.filelist.extend([info] * 2000)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(Fault, match=r"become 2\.0 GB"):
        extract(entry.getvalue(), tmp_path / "outer" / "out")


def test_a_hundred_thousand_files_of_one_name_take_no_longer_than_others() -> None:
    tree = Tree()
    places = {tree.place(["same"], is_folder=False) for _ in range(100_000)}
    assert len(places) == 100_000


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "archive.zip").write_bytes(GOOD)
    with pytest.raises(Fault, match="already exists"):
        extracting.extract(tmp_path / "archive.zip", tmp_path / "out", print)
    assert list((tmp_path / "out").iterdir()) == []


def test_times_come_back(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(GOOD)
    extracting.extract(tmp_path / "archive.zip", tmp_path / "out", print)
    # Without the extra field, the time is the packer's local time, in an unknown zone.
    assert time.localtime((tmp_path / "out" / "a.txt").stat().st_mtime)[:6] == TIME


def test_a_folder_goes_up_and_comes_down(client: Client) -> None:
    folder = client.here / "photos"
    (folder / "none").mkdir(parents=True)
    (folder / "large.bin").write_bytes(DATA)
    (folder / "e\u0301.txt").write_bytes(b"name")
    os.utime(folder / "large.bin", (1_000_000_000, 1_000_000_000))
    sent = client.json("up", "photos")
    (client.here / "elsewhere").mkdir()
    ran = client.run("down", sent["file_id"], "--extract", "-o", "elsewhere")
    assert (ran.code, ran.out) == (0, b"elsewhere/photos\n"), ran.err
    assert "2 files extracted" in ran.err
    copy = client.here / "elsewhere" / "photos"
    assert (copy / "none").is_dir()
    assert {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()} == {
        "large.bin": DATA,
        "e\u0301.txt": b"name",
    }
    assert (copy / "large.bin").stat().st_mtime == 1_000_000_000
    assert [path.name for path in (client.here / "elsewhere").iterdir()] == ["photos"]
    # An existing folder is noticed before anything is downloaded or counted.
    for place in (["-o", "elsewhere"], []):
        again = client.run("down", sent["file_id"], "--extract", *place)
        assert (again.code, "already exists" in again.err) == (8, True)
    assert client.json("info", sent["file_id"])["download_count"] == 1
    assert client.run("down", sent["file_id"], "-x", "-o", "-").code == 2


def test_an_archive_that_cannot_be_extracted_stays_where_it_is(share: Share, hostile: Proxy) -> None:
    data = packed("../evil")
    said = description(share.server, original_name="bad.zip", file_size=len(data), sha256=None)

    def serve(seen: Seen) -> Answer:
        return answer(data) if seen.is_download else answer(said)

    hostile.before = serve
    for downloads in (1, 1):
        ended = share.run("down", FILE_ID, "--extract")
        assert ended.code == 9
        assert ended.err.endswith("it has a file named ../evil. The archive is in bad.part.\n")
        # It is not downloaded a second time.
        assert len([seen for seen in hostile.seen if seen.is_download]) == downloads
    assert sorted(path.name for path in Path().iterdir()) == ["bad.part", "bad.part.json"]


def test_ls_shows_what_is_in_an_archive_without_counting(client: Client) -> None:
    folder = client.here / "photos"
    (folder / "none").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"abc")
    os.utime(folder / "a.txt", (1_000_000_000, 1_000_000_000))
    sent = client.json("up", "photos", "--password", SHARE_PASSWORD="secret")
    ran = client.run("ls", sent["download_page"], SHARE_PASSWORD="secret")
    assert ran.code == 0, ran.err
    rows = [row.split("\t") for row in ran.out.decode().splitlines()]
    assert [(row[0], row[2]) for row in rows] == [("3", "photos/a.txt"), ("0", "photos/none/")]
    assert rows[0][1].startswith("2001-09-09T01:46:40")
    lines = client.run("ls", sent["file_id"], "--json", SHARE_PASSWORD="secret").out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["photos/a.txt", "photos/none/"]
    assert client.run("ls", sent["file_id"], SHARE_PASSWORD="wrong").code == 5
    assert client.json("info", sent["file_id"])["download_count"] == 0
    plain = client.json("up", "-", data=b"no zip")
    assert client.run("ls", plain["file_id"]).code == 9


@pytest.mark.parametrize("listed", [{}, [5], [{"name": 5, "size": 1}], [{"name": "a", "size": -1}], [{"size": 1}]])
def test_a_wrong_list_of_entries_ends_the_command(share: Share, hostile: Proxy, listed: object) -> None:
    said = description(share.server)
    hostile.before = lambda seen: answer(listed if "entries" in seen.target else said)
    ended = share.run("ls", FILE_ID)
    assert (ended.code, ended.out) == (9, b"")


def test_names_in_an_archive_do_nothing_to_a_terminal(share: Share, hostile: Proxy) -> None:
    said = description(share.server)
    entries = [{"name": "a\x1b]0;x\x07\n\u202eb", "size": 1, "modified": "\x1b[2J"}]
    hostile.before = lambda seen: answer(entries if "entries" in seen.target else said)
    for option in ((), ("--json",)):
        out = share.run("ls", FILE_ID, *option).out.decode()
        assert not {"\x1b", "\x07", "\u202e"} & set(out)
