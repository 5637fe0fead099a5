"""What others have put where a download is to be saved: it is never followed, changed or replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.inprocess import FILE_ID, Share, answer, description
from tests.client.proxy import Answer, Proxy, Seen

DATA = b"0123456789"


@pytest.fixture(autouse=True)
def file(hostile: Proxy) -> None:
    said = description(hostile.address, file_size=len(DATA), sha256=None, original_name="copy")
    hostile.before = lambda seen: answer(DATA) if seen.is_download else answer(said)


def state(share: Share) -> str:
    return json.dumps({"link": f"{share.server}/file/download/{FILE_ID}", "size": len(DATA), "etags": {}})


def link(path: str) -> None:
    Path(path).symlink_to("victim")


def dangling(path: str) -> None:
    Path(path).symlink_to("nowhere")


def hard_link(path: str) -> None:
    os.link("victim", path)


def fifo(path: str) -> None:
    os.mkfifo(path)


def notes(path: str) -> None:
    Path(path).write_bytes(b"my notes")


def other_state(path: str) -> None:
    Path(path).write_text('{"link": "http://127.0.0.1/another", "size": 10, "etags": {}}')


@pytest.mark.parametrize("plant", [link, dangling, hard_link, fifo, notes, other_state])
@pytest.mark.parametrize("place", ["copy", "copy.part", "copy.part.json"])
def test_what_is_in_the_way_stays_as_it_is(
    share: Share, hostile: Proxy, place: str, plant: Callable[[str], None]
) -> None:
    Path("victim").write_bytes(b"mine")
    plant(place)
    before = {path.name: path.lstat().st_ino for path in Path().iterdir()}
    ended = share.run("down", FILE_ID)
    assert ended.code == 8
    assert ended.err.startswith(f"error: {place} ")
    assert {path.name: path.lstat().st_ino for path in Path().iterdir()} == before
    assert Path("victim").read_bytes() == b"mine"
    assert not [seen for seen in hostile.seen if seen.is_download]


@pytest.mark.parametrize("plant", [link, dangling, hard_link, fifo, notes, other_state])
@pytest.mark.parametrize("place", ["copy.part", "copy.part.json"])
def test_with_force_it_is_replaced_and_not_followed(share: Share, place: str, plant: Callable[[str], None]) -> None:
    Path("victim").write_bytes(b"mine")
    plant(place)
    ended = share.run("down", FILE_ID, "--force")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in Path().iterdir()) == ["copy", "victim"]
    assert (Path("copy").read_bytes(), Path("victim").read_bytes()) == (DATA, b"mine")


@pytest.mark.parametrize("plant", [link, hard_link, fifo])
def test_a_download_is_resumed_from_a_file_of_ours_only(share: Share, plant: Callable[[str], None]) -> None:
    Path("victim").write_bytes(b"mine")
    plant("copy.part")
    Path("copy.part.json").write_text(state(share))
    assert share.run("down", FILE_ID).code == 8
    assert Path("victim").read_bytes() == b"mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["copy.part", "copy.part.json"])
def test_a_download_is_not_resumed_from_what_another_user_has_written(share: Share, place: str) -> None:
    Path("copy.part").write_bytes(b"evil")
    Path("copy.part.json").write_text(state(share))
    os.chown(place, 12345, 12345)
    ended = share.run("down", FILE_ID)
    assert (ended.code, Path("copy.part").read_bytes()) == (8, b"evil")


def test_a_part_that_is_longer_than_the_file_is_no_beginning_of_it(share: Share) -> None:
    Path("copy.part").write_bytes(DATA * 2)
    Path("copy.part.json").write_text(state(share))
    assert share.run("down", FILE_ID).code == 0
    assert Path("copy").read_bytes() == DATA


@pytest.mark.parametrize("kept", ["[" * 100_000, "[]", "{}", '{"etags": 5}', "\ud800"])
def test_a_state_that_cannot_be_read_is_in_the_way(share: Share, kept: str) -> None:
    Path("copy.part.json").write_bytes(kept.encode(errors="surrogatepass"))
    assert share.run("down", FILE_ID).code == 8


def test_force_replaces_no_device(share: Share) -> None:
    os.mkfifo("pipe")
    ended = share.run("down", FILE_ID, "-o", "pipe", "--force")
    assert (ended.code, Path("pipe").is_fifo()) == (8, True)


def test_where_there_are_no_hard_links_nothing_is_replaced_either(
    share: Share, hostile: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert share.run("down", FILE_ID).code == 0
    assert [path.name for path in Path().iterdir()] == ["copy"]
    Path("copy").unlink()
    answers = hostile.before

    def meanwhile(seen: Seen) -> Answer | None:
        if seen.is_download:
            notes("copy")
        return answers(seen)

    hostile.before = meanwhile
    assert share.run("down", FILE_ID).code == 8
    assert Path("copy").read_bytes() == b"my notes"
