"""Interrupted and damaged transfers: what is sent again, what is kept, and what is refused."""

from __future__ import annotations

import json
import os
import pty
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from share.multipart import part_size

from tests.client.conftest import DATA, SIZE, Client, write_large
from tests.client.proxy import Answer, Cut, FirstBytes, HeldUp, Proxy, Seen
from tests.client.sizes import MIB, PART, large_file
from tests.forks import forks
from tests.wire.server import WITHIN, Server, until


@pytest.mark.parametrize(("size", "expected"), [(1, 8), (80_000 * MIB, 8), (80_000 * MIB + 1, 9), (90_000 * MIB, 9)])
def test_no_file_has_more_than_ten_thousand_parts(size: int, expected: int) -> None:
    assert part_size(size) == expected * MIB


@pytest.fixture
def large(client: Client) -> Path:
    return write_large(client)


def interrupted_upload(client: Client, proxy: Proxy, *arguments: str) -> None:
    proxy.before = hold = HeldUp(passing=2)
    process = client.fork("up", "large.bin", *arguments, SHARE_PASSWORD="first")
    hold.wait(proxy, held=4)
    process.end()
    hold.release()
    proxy.reset()


def test_a_terminal_shows_how_far_an_upload_is(client: Client, proxy: Proxy) -> None:
    # Only four parts are sent at once, so most of this file is not sent.
    write_large(client, large_file(4 * PART))
    proxy.before = hold = HeldUp(passing=2)
    controller, terminal = pty.openpty()
    seen = ""
    with os.fdopen(controller, "rb", buffering=0) as screen, open(os.devnull, "wb") as nothing:
        process = forks("client").start(
            ["-m", "share", "up", "large.bin"],
            client.here,
            client.environment(COLUMNS="100", TERM="xterm"),
            stdout=nothing.fileno(),
            stderr=terminal,
        )
        os.close(terminal)

        def drawn() -> bool:
            nonlocal seen
            # The bar is drawn several times a second.
            seen += screen.read(65536).decode(errors="replace")
            done = re.findall(r"large\.bin.*?([\d.]+) MB of ([\d.]+) MB.*?[\d.]+ [kM]B/s", seen)
            return any(0 < float(some) < float(all_) for some, all_ in done)

        try:
            until(drawn)
        finally:
            process.kill()
            process.wait()
            hold.release()


@pytest.mark.parametrize(
    ("arguments", "password"), [(("--downloads", "5"), "first"), (("--password", "--downloads", "2"), "second")]
)
def test_an_upload_with_other_options_starts_over(
    client: Client, proxy: Proxy, large: Path, arguments: tuple[str, ...], password: str
) -> None:
    interrupted_upload(client, proxy, "--password", "--downloads", "2")
    sent = client.json("up", "large.bin", *arguments, SHARE_PASSWORD=password)
    assert proxy.part_bytes() == SIZE
    assert sent["max_downloads"] == int(arguments[-1])
    assert [seen.method for seen in proxy.seen][:2] == ["DELETE", "POST"]
    assert not [state for state in client.kept("unfinished") if b"first" in state.read_bytes()]


def test_an_upload_of_a_changed_file_starts_over(client: Client, proxy: Proxy, large: Path) -> None:
    interrupted_upload(client, proxy)
    large.write_bytes(DATA[::-1])
    client.json("up", "large.bin")
    assert proxy.part_bytes() == SIZE


def test_an_upload_that_the_server_has_forgotten_starts_over(client: Client, proxy: Proxy, large: Path) -> None:
    interrupted_upload(client, proxy)
    for seen in proxy.seen:
        assert seen.method != "DELETE"
    (state,) = client.kept("unfinished")
    remembered = json.loads(state.read_text())
    # Well-formed, but unknown to the server.
    state.write_text(json.dumps({**remembered, "key": "raw/00000000-0000-4000-8000-000000000000"}))
    client.json("up", "large.bin")
    assert proxy.part_bytes() == SIZE
    assert client.kept("unfinished") == []


@pytest.mark.parametrize("fault", ["503", "429", "cut"])
def test_a_part_that_fails_is_sent_again(client: Client, proxy: Proxy, large: Path, fault: str) -> None:
    lock = threading.Lock()
    failed: list[Seen] = []

    def fail_once(seen: Seen) -> Answer | None:
        with lock:
            if not seen.is_part or len(failed) == 2:
                return None
            failed.append(seen)
        if fault == "cut":
            raise Cut
        return int(fault), {"Retry-After": "1"}, b""

    proxy.before = fail_once
    sent = client.json("up", "large.bin")
    assert sent["file_size"] == SIZE
    assert len([seen for seen in proxy.seen if seen.is_part]) == 6 + 2


def test_a_part_that_is_refused_ends_the_upload(client: Client, proxy: Proxy, large: Path) -> None:
    problem = {"type": "about:blank", "title": "x", "status": 507, "detail": "There is no room for it."}
    proxy.before = lambda seen: (507, {}, json.dumps(problem).encode()) if seen.is_part else None
    ran = client.run("up", "large.bin")
    assert (ran.code, ran.err) == (9, "error: There is no room for it.\n")


def test_an_upload_whose_completion_gets_lost_is_completed(client: Client, proxy: Proxy, large: Path) -> None:
    lost: list[Seen] = []

    def lose(seen: Seen) -> None:
        if seen.target.partition("?")[0].endswith("/complete") and not lost:
            lost.append(seen)
            raise Cut

    proxy.before = lose
    assert client.json("up", "large.bin")["file_size"] == SIZE


@pytest.mark.parametrize("options", [(), ("--downloads", "2")])
def test_an_upload_that_was_killed_before_its_answer_came_is_not_sent_again(
    client: Client, proxy: Proxy, server: Server, large: Path, options: tuple[str, ...]
) -> None:
    answered, release = threading.Event(), threading.Event()

    def hold(seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if seen.target.partition("?")[0].endswith("/complete"):
            answered.set()
            release.wait(WITHIN)
        yield from chunks

    before = server.stored()
    proxy.through = hold
    process = client.fork("up", "large.bin")
    assert answered.wait(WITHIN)
    process.end()
    release.set()
    proxy.reset()
    # With other options, it is a different upload.
    sent = client.json("up", "large.bin", *options)
    assert proxy.part_bytes() == (SIZE if options else 0)
    assert sent["max_downloads"] == (2 if options else None)
    assert sent["file_size"] == SIZE
    assert client.kept("unfinished") == []
    blobs = {path.stem for path in server.stored() - before if path.suffix == ".pickle"}
    assert sent["file_id"] in blobs
    assert len(blobs) == (2 if options else 1)


def test_an_upload_that_arrives_falsified_is_deleted_again(client: Client, proxy: Proxy) -> None:
    (client.here / "small.txt").write_bytes(b"right")

    def falsify(seen: Seen) -> None:
        # Otherwise, the server cannot notice it.
        seen.headers.pop("repr-digest", None)

    proxy.before = falsify
    proxy.alter = lambda body: body.replace(b"right", b"wrong")
    ran = client.run("up", "small.txt")
    assert (ran.code, "damaged in transit" in ran.err) == (6, True)
    assert proxy.seen[-1].method == "DELETE"
    assert client.kept("uploads") == []


def test_an_upload_that_arrives_damaged_is_refused(client: Client, proxy: Proxy) -> None:
    (client.here / "small.txt").write_bytes(b"right")
    proxy.alter = lambda body: body.replace(b"right", b"wrong")
    assert client.run("up", "small.txt").code == 6


def upload(server: Server) -> str:
    link: str = server.upload([DATA], SIZE)["file_id"]
    return link


@pytest.mark.parametrize("output", ["copy.bin", "-"])
def test_a_download_that_breaks_goes_on_by_itself(client: Client, proxy: Proxy, server: Server, output: str) -> None:
    file_id = upload(server)
    proxy.through = FirstBytes(5 * PART // 2, hold=False)
    ran = client.run("down", file_id, "-o", output)
    assert ran.code == 0, ran.err
    assert (ran.out if output == "-" else (client.here / output).read_bytes()) == DATA
    ranges = [seen.headers.get("range") for seen in proxy.seen if seen.is_download]
    assert ranges[0] is None
    assert re.fullmatch(r"bytes=[1-9]\d{6}-", str(ranges[1]))
    assert client.json("info", file_id)["download_count"] == 1


def test_a_download_that_changed_meanwhile_starts_over(client: Client, proxy: Proxy, server: Server) -> None:
    file_id = upload(server)
    proxy.through = FirstBytes(5 * PART // 2, hold=False)
    proxy.before = lambda seen: seen.headers.update({"if-range": '"another"'}) if "if-range" in seen.headers else None
    assert client.run("down", file_id, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == DATA
    assert client.json("info", file_id)["download_count"] == 2


def test_a_range_that_cannot_be_had_starts_over(client: Client, proxy: Proxy, server: Server) -> None:
    file_id = upload(server)
    proxy.through = FirstBytes(5 * PART // 2, hold=False)
    proxy.before = lambda seen: (416, {"Content-Range": "bytes */1"}, b"") if "range" in seen.headers else None
    assert client.run("down", file_id, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == DATA


@pytest.mark.parametrize("output", ["copy.bin", "-"])
def test_a_falsified_download_is_not_kept(client: Client, proxy: Proxy, server: Server, output: str) -> None:
    file_id = upload(server)

    def falsify(seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            yield bytes([chunk[0] ^ 1]) + chunk[1:] if number == 3 and seen.is_download else chunk

    proxy.through = falsify
    ran = client.run("down", file_id, "-o", output)
    assert ran.code == 6
    assert list(client.here.iterdir()) == []


def test_the_password_is_not_shown_to_where_a_redirect_leads(
    client: Client, proxy: Proxy, server: Server, tmp_path: Path
) -> None:
    (client.here / "large.bin").write_bytes(DATA)
    sent = client.json("up", "large.bin", "--password", SHARE_PASSWORD="secret")
    stored = upload(server)
    with Proxy(server.port) as elsewhere:
        location = f"{elsewhere.address}/file/download/{stored}?X-Amz-Signature=x"
        proxy.before = lambda seen: (307, {"Location": location}, b"") if seen.is_download else None
        elsewhere.through = FirstBytes(5 * PART // 2, hold=False)
        fetched = client.run("down", sent["file_id"], "-o", "copy.bin", SHARE_PASSWORD="secret")
        assert fetched.code == 0, fetched.err
        assert (client.here / "copy.bin").read_bytes() == DATA
        direct = [seen.headers for seen in proxy.seen if seen.is_download]
        forwarded = [seen.headers for seen in elsewhere.seen]
    assert [headers["authorization"] for headers in direct] == ["Basic OnNlY3JldA=="] * 2
    assert not [headers for headers in forwarded if "authorization" in headers or "x-password" in headers]
    # Each host gets the ETag that it sent itself; ours sent none here.
    assert "if-range" not in direct[1]
    assert forwarded[1]["if-range"] == f'"{stored}"'
