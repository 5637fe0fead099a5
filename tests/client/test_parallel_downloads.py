"""Large downloads over several connections: what is requested, written, counted and kept."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from share import download

from shared.settings import LAMBDA_MAX_INLINE
from tests.client.conftest import DATA, Client
from tests.client.proxy import Answer, Cut, Proxy, Seen
from tests.client.sizes import PART
from tests.wire.server import WITHIN, Server, until

PIECE = PART
LARGE = (DATA * 3)[: 29 * PIECE // 2 + 1]
PARALLEL = 4


@pytest.fixture(scope="module")
def file_id(server: Server) -> str:
    return str(server.upload([LARGE], len(LARGE))["file_id"])


@pytest.fixture
def count_before(server: Server, file_id: str) -> int:
    return int(server.metadata(file_id)["download_count"])


def ranges(proxy: Proxy) -> list[tuple[int, int]]:
    """The first and last byte of each download's range, in the order of the bytes."""
    sent = [
        re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", "bytes=0-"))
        for seen in proxy.seen
        if seen.is_download
    ]
    return sorted((int(sent[1]), int(sent[2] or len(LARGE) - 1)) for sent in sent if sent)


def place(seen: Seen) -> int:
    """Where in the file a request begins."""
    return int(re.findall(r"\d+", seen.headers.get("range", "0"))[0])


def test_pieces_come_over_several_connections_and_count_once(
    client: Client, proxy: Proxy, server: Server, file_id: str, count_before: int
) -> None:
    together = threading.Barrier(PARALLEL, timeout=WITHIN)
    waited = threading.Semaphore(PARALLEL)

    def meet(seen: Seen) -> None:
        # These go on only once all of them have been sent.
        if seen.is_download and place(seen) > 0 and waited.acquire(blocking=False):
            together.wait()

    proxy.before = meet
    got = client.json("down", file_id, "-o", "copy.bin")
    assert got["verified"]
    assert (client.here / "copy.bin").read_bytes() == LARGE
    first, *pieces = ranges(proxy)
    # It is cut once it has brought as much as a piece.
    assert first == (0, len(LARGE) - 1)
    assert pieces == [(start, min(start + PIECE, len(LARGE)) - 1) for start in range(PIECE, len(LARGE), PIECE)]
    assert {seen.headers.get("if-match") for seen in proxy.seen if place(seen) > 0} == {f'"{file_id}"'}
    assert server.metadata(file_id)["download_count"] == count_before + 1


def test_pieces_are_written_in_order_whichever_comes_first(client: Client, proxy: Proxy, file_id: str) -> None:
    later = threading.Event()

    def second_first(seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if seen.is_download and place(seen) == PIECE:
            assert later.wait(WITHIN)
        yield from chunks
        if seen.is_download and place(seen) == 2 * PIECE:
            later.set()

    proxy.through = second_first
    ran = client.run("down", file_id, "-o", "-")
    assert (ran.code, ran.out == LARGE) == (0, True), ran.err


def test_a_piece_that_breaks_goes_on_where_it_broke(
    client: Client, proxy: Proxy, server: Server, file_id: str, count_before: int
) -> None:
    broken: list[Seen] = []

    def break_one(seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            yield chunk
            if number == 8 and place(seen) == 3 * PIECE and not broken:
                broken.append(seen)
                raise Cut

    proxy.through = break_one
    assert client.run("down", file_id, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == LARGE
    resumed = [(start, end) for start, end in ranges(proxy) if start % PIECE]
    assert [end for _, end in resumed] == [4 * PIECE - 1]
    assert 3 * PIECE < resumed[0][0] <= 3 * PIECE + broken[0].sent
    assert server.metadata(file_id)["download_count"] == count_before + 1


def test_a_busy_server_gets_time(client: Client, proxy: Proxy, file_id: str) -> None:
    lock = threading.Lock()
    refused: list[Seen] = []

    def refuse_once(seen: Seen) -> Answer | None:
        with lock:
            if not seen.is_download or place(seen) == 0 or refused:
                return None
            refused.append(seen)
        return 503, {"Retry-After": "1"}, b""

    proxy.before = refuse_once
    assert client.run("down", file_id, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == LARGE


@pytest.mark.parametrize("answer", ["whole", "412", "416"])
def test_a_file_that_was_replaced_starts_over(client: Client, proxy: Proxy, file_id: str, answer: str) -> None:
    def replaced(seen: Seen) -> Answer | None:
        if place(seen) < 3 * PIECE:
            return None
        if answer == "416":
            return 416, {"Content-Range": "bytes */1"}, b""
        if answer == "whole":
            seen.headers.pop("range")
        elif "if-match" in seen.headers:
            seen.headers["if-match"] = '"another"'
        else:
            seen.headers["if-range"] = '"another"'
        return None

    proxy.before = replaced
    assert client.run("down", file_id, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == LARGE


@pytest.mark.parametrize("private", [False, True])
def test_a_one_time_link_comes_in_pieces_too(client: Client, proxy: Proxy, private: bool) -> None:
    (client.here / "large.bin").write_bytes(LARGE)
    sent = client.json("up", "large.bin", "--downloads", "1", *(["--private"] if private else []))
    assert client.run("down", sent["download_page"], "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == LARGE
    assert len(ranges(proxy)) > 10


def test_a_file_with_a_limit_is_not_split_without_its_tag(client: Client, proxy: Proxy) -> None:
    """The server would count each piece."""
    (client.here / "large.bin").write_bytes(LARGE)
    sent = client.json("up", "large.bin", "--downloads", "1")
    elsewhere = f"{proxy.address}/file/download/{sent['file_id']}?X-Amz-Signature=x"
    # The redirect has no ETag.
    proxy.before = lambda seen: None if seen.is_signed or not seen.is_download else (307, {"Location": elsewhere}, b"")
    with Proxy(int(proxy.address.rpartition(":")[2])) as front:
        link = f"{front.address}/file/download/{sent['file_id']}"
        assert client.run("down", link, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == LARGE
    assert [seen.headers.get("range") for seen in proxy.seen if seen.is_signed] == [None]


@pytest.mark.parametrize("private", [False, True])
def test_a_download_that_was_killed_resumes_after_what_was_written(
    client: Client, proxy: Proxy, server: Server, file_id: str, private: bool
) -> None:
    link = file_id
    if private:
        (client.here / "large.bin").write_bytes(LARGE)
        link = client.json("up", "large.bin", "--private")["download_page"]
        proxy.reset()
    name = link.partition("#")[0].rpartition("/")[2]
    count = server.metadata(name)["download_count"]
    held: list[Seen] = []
    release = threading.Event()

    def hold(seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if seen.is_download and place(seen) >= 6 * PIECE:
            held.append(seen)
            release.wait(WITHIN)
            raise Cut
        yield from chunks

    proxy.through = hold
    process = client.fork("down", link, "-o", "copy.bin")
    part = client.here / "copy.bin.part"
    # A file buffers what is written to it.
    until(lambda: len(held) == PARALLEL and part.stat().st_size > 5 * PIECE)
    process.end()
    release.set()
    proxy.reset()
    resumed = client.json("down", link, "-o", "copy.bin")
    assert (client.here / "copy.bin").read_bytes() == LARGE
    assert resumed["resumed_at"] > 4 * PIECE
    assert min(start for start, _ in ranges(proxy)) >= resumed["resumed_at"]
    assert server.metadata(name)["download_count"] == count + 1
    assert sorted(path.name for path in client.here.iterdir() if "part" in path.name) == []


def test_a_piece_that_is_refused_ends_the_download(client: Client, proxy: Proxy, file_id: str) -> None:
    problem = {"type": "about:blank", "title": "x", "status": 410, "detail": "It has expired."}
    proxy.before = lambda seen: (410, {}, json.dumps(problem).encode()) if place(seen) >= 3 * PIECE else None
    ran = client.run("down", file_id, "-o", "copy.bin")
    assert (ran.code, "It has expired." in ran.err) == (4, True)
    assert not (client.here / "copy.bin").exists()


@pytest.mark.parametrize("private", [False, True])
def test_a_piece_that_is_falsified_leaves_nothing(client: Client, proxy: Proxy, file_id: str, private: bool) -> None:
    link = file_id
    if private:
        (client.here / "large.bin").write_bytes(LARGE)
        link = client.json("up", "large.bin", "--private")["download_page"]
        (client.here / "large.bin").unlink()

    def falsify(seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            wrong = number == 3 and seen.is_download and place(seen) == 5 * PIECE
            yield bytes([chunk[0] ^ 1]) + chunk[1:] if wrong else chunk

    proxy.through = falsify
    assert client.run("down", link, "-o", "copy.bin").code == 6
    assert list(client.here.iterdir()) == []


def test_more_bytes_than_a_piece_has_are_refused(client: Client, proxy: Proxy, file_id: str, tmp_path: Path) -> None:
    def too_many(seen: Seen) -> Answer | None:
        start = place(seen)
        if not seen.is_download or start != 2 * PIECE:
            return None
        content_range = f"bytes {start}-{start + PIECE - 1}/{len(LARGE)}"
        return 206, {"Content-Range": content_range, "ETag": f'"{file_id}"'}, LARGE[start : start + PIECE + 1]

    proxy.before = too_many
    ran = client.run("down", file_id, "-o", "copy.bin")
    assert (ran.code, "more bytes" in ran.err) == (6, True)
    assert list(client.here.iterdir()) == []


def test_pieces_are_too_large_for_lambda_to_send_them_itself() -> None:
    assert download.PIECE > LAMBDA_MAX_INLINE


def test_a_file_with_a_password_is_requested_once(client: Client, proxy: Proxy) -> None:
    sent = client.json("up", "-", "--password", "--name", "large.bin", data=LARGE, SHARE_PASSWORD="secret")
    proxy.reset()
    assert client.run("down", sent["file_id"], "-o", "copy.bin", SHARE_PASSWORD="secret").code == 0
    assert (client.here / "copy.bin").read_bytes() == LARGE
    assert len([seen for seen in proxy.seen if seen.is_download]) == 1


def test_a_server_that_announces_no_ranges_sends_the_file_at_once(client: Client, proxy: Proxy, file_id: str) -> None:
    """Otherwise, a one-time download would be lost: what was sent once is not sent again."""
    proxy.before = lambda seen: (200, {"ETag": f'"{file_id}"'}, LARGE) if seen.is_download else None
    assert client.run("down", file_id, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == LARGE
    assert len([seen for seen in proxy.seen if seen.is_download]) == 1
