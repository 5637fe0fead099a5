"""The same commands in every way of running, also when they are killed half-way and run again."""

from __future__ import annotations

import dataclasses
import json
import signal
import stat
import zipfile

import pytest

from tests.client.conftest import Client, write_large
from tests.client.proxy import FirstBytes, HeldUp
from tests.client.sizes import S3_PART as PART
from tests.client.sizes import large_file
from tests.client.ways import Way
from tests.wire.server import until

# Each way is started once, in one pytest process.

DATA = large_file(PART)
SIZE = len(DATA)
# For tests that do not stop in the middle.
TWO_PARTS = DATA[: PART + 12_345]


def test_the_commands_are_the_same(owner: Client, way: Way) -> None:
    large = write_large(owner, TWO_PARTS)
    (owner.here / "small.txt").write_bytes(b"small")
    ran = owner.run("up", "--each", "large.bin", "small.txt", "--json", "--expires", "2h")
    assert ran.code == 0, ran.err
    sent = [json.loads(line) for line in ran.out.splitlines()]
    assert [(each["original_name"], each["file_size"]) for each in sent] == [
        ("large.bin", len(TWO_PARTS)),
        ("small.txt", 5),
    ]
    assert way.bytes.part_bytes() == len(TWO_PARTS)

    for answer, data in zip(sent, (TWO_PARTS, b"small"), strict=True):
        metadata = owner.json("info", answer["download_page"], SHARE_TOKEN="")
        assert (metadata["file_id"], metadata["expires_at"]) == (answer["file_id"], answer["expires_at"])
        fetched = owner.json("down", answer["download_link"], "-o", "copy", "--force", SHARE_TOKEN="")
        # The server knows the SHA-256 of bytes that passed through it.
        assert fetched["verified"] is (answer is sent[1])
        assert (owner.here / "copy").read_bytes() == data
        assert owner.json("info", answer["file_id"])["download_count"] == 1
    assert way.bytes.downloaded_bytes() - len(TWO_PARTS) in (0, 5)
    (owner.here / "copy").unlink()
    assert sorted(owner.here.iterdir()) == [large, owner.here / "small.txt"]

    listed = [json.loads(line)["file_id"] for line in owner.run("ls", "--json").out.splitlines()]
    assert {answer["file_id"] for answer in sent} <= set(listed)
    assert owner.run("ls", SHARE_TOKEN="").code == (5 if way.token else 0)
    assert owner.run("rm", *(answer["file_id"] for answer in sent), SHARE_TOKEN="").code == 0
    assert owner.run("info", sent[0]["file_id"]).code == 3


def test_private_links_work_everywhere(owner: Client, way: Way) -> None:
    write_large(owner, TWO_PARTS)
    (owner.here / "small.txt").write_bytes(b"small")
    ran = owner.run("up", "--private", "--each", "large.bin", "small.txt", "--json", "--downloads", "1")
    assert ran.code == 0, ran.err
    for line, name, data in zip(ran.out.splitlines(), ("large.bin", "small.txt"), (TWO_PARTS, b"small"), strict=True):
        link = json.loads(line)["download_page"]
        assert owner.json("info", link, SHARE_TOKEN="")["original_name"] == name
        fetched = owner.json("down", link, "-o", "copy", "--force", SHARE_TOKEN="")
        assert (fetched["verified"], fetched["file_size"]) == (True, len(data))
        assert (owner.here / "copy").read_bytes() == data
    write_large(owner, DATA)
    way.bytes.reset()
    hold = way.bytes.before = HeldUp(passing=2)
    process = owner.fork("up", "--private", "large.bin", "--name", "again.bin")
    hold.wait(way.bytes, held=4)
    process.end()
    hold.release()
    way.bytes.reset()
    sent = owner.json("up", "--private", "large.bin", "--name", "again.bin")
    assert way.bytes.part_bytes() < SIZE - PART
    assert owner.run("down", sent["download_page"], "-o", "copy", "--force", SHARE_TOKEN="").code == 0
    assert (owner.here / "copy").read_bytes() == DATA


def test_inboxes_work_everywhere(owner: Client, way: Way) -> None:
    inbox = owner.json("inbox", "new")
    (owner.home / "sender").mkdir()
    sender = dataclasses.replace(owner, home=owner.home / "sender", server="", token="")
    write_large(sender, DATA)
    (sender.here / "folder").mkdir()
    (sender.here / "folder" / "small.txt").write_bytes(b"small")
    hold = way.bytes.before = HeldUp(passing=2)
    process = sender.fork("up", "large.bin", "--to", inbox["inbox_link"], "--from", "Ada")
    hold.wait(way.bytes, held=4)
    process.end()
    hold.release()
    way.bytes.reset()
    sent = [
        sender.json("up", *arguments, "--to", inbox["inbox_link"], "--from", "Ada", data=TWO_PARTS)
        for arguments in (["large.bin"], ["folder/small.txt"], ["folder"], ["-", "--name", "piped.bin"])
    ]
    assert way.bytes.part_bytes() < SIZE + len(TWO_PARTS) - PART
    got = owner.run("inbox", "get", inbox["inbox_id"], "-o", "there", "--json")
    assert got.code == 0, got.err
    assert {json.loads(line)["file_id"] for line in got.out.splitlines()} == {receipt["file_id"] for receipt in sent}
    for name, data in (("large.bin", DATA), ("small.txt", b"small"), ("piped.bin", TWO_PARTS)):
        assert (owner.here / "there" / name).read_bytes() == data
    assert zipfile.ZipFile(owner.here / "there" / "folder.zip").namelist() == ["folder/small.txt"]
    shown = owner.json("inbox", "show", inbox["inbox_id"], SHARE_TOKEN="")
    assert [(file["sender"], file["download_count"] > 0) for file in shown["files"]] == [("Ada", True)] * 4
    assert sender.run("rm", f"{way.address}/file/{sent[0]['file_id']}").code == 0
    assert owner.run("inbox", "close", inbox["inbox_id"], SHARE_TOKEN="").code == 0
    assert sender.run("up", "large.bin", "--to", inbox["inbox_link"]).code == 4


AWKWARD_NAMES = [
    "two  words.txt",
    "100%.txt",
    "%41%2F.txt",
    "why?.txt",
    "a#b&c=d.txt",
    "1+1.txt",
    "ü e\u0301.txt",
    "😀.txt",
    ".hidden",
    "-rf",
    "'quoted\".txt",
]


def test_awkward_names_arrive_as_they_are(owner: Client, way: Way) -> None:
    for name in AWKWARD_NAMES:
        (owner.here / name).write_bytes(name.encode())
    ran = owner.run("up", "--each", "--json", "--", *AWKWARD_NAMES)
    assert ran.code == 0, ran.err
    sent = [json.loads(line) for line in ran.out.splitlines()]
    assert [file["original_name"] for file in sent] == AWKWARD_NAMES
    fetched = owner.run("down", sent[2]["download_link"], "-o", "-")
    assert fetched.out == AWKWARD_NAMES[2].encode()


@pytest.mark.parametrize(
    ("way", "end"),
    [
        ("directory", signal.SIGKILL),
        ("directory", signal.SIGINT),
        ("bucket", signal.SIGKILL),
        ("emulated", signal.SIGKILL),
    ],
    indirect=["way"],
)
def test_an_upload_that_was_killed_sends_only_what_is_missing(owner: Client, way: Way, end: signal.Signals) -> None:
    write_large(owner, DATA)
    way.bytes.before = hold = HeldUp(passing=3)
    process = owner.fork("up", "large.bin")
    hold.wait(way.bytes, held=3)
    (state,) = owner.kept("unfinished")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    code, _, err = process.end(end)
    assert code == (130 if end is signal.SIGINT else -end)
    if end is signal.SIGINT:
        assert "same command again to resume" in err.decode()
    there = sum(seen.received for seen in way.bytes.parts_there())
    assert there >= 2 * PART
    hold.release()
    way.bytes.reset()
    sent = owner.json("up", "large.bin")
    assert way.bytes.part_bytes() == SIZE - there
    assert sent["file_size"] == SIZE
    assert owner.kept("unfinished") == []
    owner.run("down", sent["file_id"], "-o", "copy.bin")
    assert (owner.here / "copy.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("way", "end", "capped"),
    [
        ("directory", signal.SIGKILL, True),
        ("directory", signal.SIGINT, False),
        ("bucket", signal.SIGKILL, True),
        ("bucket", signal.SIGINT, False),
        ("emulated", signal.SIGKILL, True),
    ],
    indirect=["way"],
)
def test_a_download_that_was_killed_fetches_only_what_is_missing(
    owner: Client, way: Way, end: signal.Signals, *, capped: bool
) -> None:
    write_large(owner, DATA)
    sent = owner.json("up", "large.bin", *(["--downloads", "1"] if capped else []))
    way.bytes.through = hold = FirstBytes(5 * PART // 2, hold=True)
    process = owner.fork("down", sent["file_id"], "-o", "copy.bin")
    part = owner.here / "copy.bin.part"
    until(lambda: hold.reached.is_set() and part.exists() and part.stat().st_size > 2 * PART)
    code, _, err = process.end(end)
    if end is signal.SIGINT:
        assert (code, "same command again to resume" in err.decode()) == (130, True)
    hold.release()
    way.bytes.reset()
    there = part.stat().st_size
    fetched = owner.json("down", sent["file_id"], "-o", "copy.bin")
    assert fetched["resumed_at"] == there
    assert way.bytes.downloaded_bytes() == SIZE - there
    assert (owner.here / "copy.bin").read_bytes() == DATA
    assert owner.json("info", sent["file_id"])["download_count"] == 1
    assert sorted(path.name for path in owner.here.iterdir()) == ["copy.bin", "large.bin"]


def test_a_large_download_comes_in_pieces_from_storage_and_counts_once(owner: Client, way: Way) -> None:
    large = DATA + DATA[: PART + 1]
    (owner.here / "large.bin").write_bytes(large)
    sent = owner.json("up", "large.bin", "--downloads", "1")
    way.bytes.reset()
    ran = owner.run("down", sent["file_id"], "-o", "copy.bin")
    assert ran.code == 0, ran.err
    assert (owner.here / "copy.bin").read_bytes() == large
    ranges = {seen.headers.get("range") for seen in way.bytes.seen if seen.is_download}
    starts = range(PART, len(large) - PART, PART)
    assert {f"bytes={start}-{start + PART - 1}" for start in starts} <= ranges
    assert owner.json("info", sent["file_id"])["download_count"] == 1
