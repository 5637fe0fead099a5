"""Transfers that break: what is sent twice, what is kept, and what is believed."""

from __future__ import annotations

import json
import re
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.conftest import Client
from tests.client.proxy import Answer, Cut, Proxy, Seen
from tests.wire.server import Server, until

MIB = 1024 * 1024
PART = 8 * MIB
SIZE = 5 * PART + 12_345
DATA = b"".join(number.to_bytes(8) for number in range(SIZE // 8 + 1))[:SIZE]


@pytest.fixture
def large(client: Client) -> Path:
    path = client.here / "large.bin"
    path.write_bytes(DATA)
    return path


class HeldUp:
    """Lets so many parts through, and holds the others until it is told."""

    def __init__(self, passing: int) -> None:
        self._slots = threading.Semaphore(passing)
        self._released = threading.Event()
        self.passed = 0
        self.held = 0

    def __call__(self, seen: Seen) -> None:
        if not seen.is_part:
            return
        if self._slots.acquire(blocking=False):
            self.passed += 1
            return
        self.held += 1
        self._released.wait(30)
        raise Cut

    def release(self) -> None:
        self._released.set()


def parts_there(proxy: Proxy) -> list[Seen]:
    return [seen for seen in proxy.seen if seen.is_part and seen.received]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_upload_that_was_killed_sends_only_what_is_missing(
    client: Client, proxy: Proxy, large: Path, end: signal.Signals
) -> None:
    proxy.before = hold = HeldUp(passing=3)
    process = client.start("up", "large.bin")
    until(lambda: hold.held >= 2 and len(parts_there(proxy)) == 3)
    (state,) = client.kept("unfinished")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    process.send_signal(end)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if end is signal.SIGINT else -end)
    if end is signal.SIGINT:
        assert "same command again to resume" in err.decode()
    hold.release()
    proxy.before = lambda _seen: None
    proxy.seen.clear()
    sent = client.json("up", "large.bin")
    there = 3 * PART
    assert proxy.part_bytes() in (SIZE - there, SIZE - 2 * PART - 12_345)
    assert sent["file_size"] == SIZE
    assert client.kept("unfinished") == []
    client.run("down", sent["file_id"], "-o", "copy.bin")
    assert (client.here / "copy.bin").read_bytes() == DATA


def interrupted_upload(client: Client, proxy: Proxy, *arguments: str) -> None:
    proxy.before = hold = HeldUp(passing=2)
    process = client.start("up", "large.bin", *arguments, SHARE_PASSWORD="first")
    until(lambda: hold.held >= 1 and len(parts_there(proxy)) == 2)
    process.kill()
    process.communicate()
    hold.release()
    proxy.before = lambda _seen: None
    proxy.seen.clear()


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
    # Of the right form, and known to nobody.
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


def test_an_upload_that_arrives_falsified_is_deleted_again(client: Client, proxy: Proxy) -> None:
    (client.here / "small.txt").write_bytes(b"right")

    def falsify(seen: Seen) -> None:
        # Without it the server cannot know.
        seen.headers.pop("repr-digest", None)

    proxy.before = falsify
    proxy.alter = lambda body: body.replace(b"right", b"wrong")
    ran = client.run("up", "small.txt")
    assert (ran.code, "other bytes" in ran.err) == (6, True)
    assert proxy.seen[-1].method == "DELETE"
    assert client.kept("uploads") == []


def test_an_upload_that_arrives_damaged_is_refused(client: Client, proxy: Proxy) -> None:
    (client.here / "small.txt").write_bytes(b"right")
    proxy.alter = lambda body: body.replace(b"right", b"wrong")
    assert client.run("up", "small.txt").code == 6


def upload(server: Server) -> str:
    link: str = server.upload([DATA], SIZE)["file_id"]
    return link


class FirstBytes:
    """Downloads stop after so many bytes: held until released, or cut at once."""

    def __init__(self, count: int, *, hold: bool) -> None:
        self._count = count
        self._hold = hold
        self.reached = threading.Event()
        self._released = threading.Event()

    def __call__(self, seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if not seen.is_download or self.reached.is_set():
            yield from chunks
            return
        left = self._count
        for chunk in chunks:
            yield chunk[:left]
            left -= min(left, len(chunk))
            if not left:
                break
        self.reached.set()
        if self._hold:
            self._released.wait(30)
        raise Cut

    def release(self) -> None:
        self._released.set()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("capped", [True, False])
def test_a_download_that_was_killed_fetches_only_what_is_missing(
    client: Client, proxy: Proxy, large: Path, end: signal.Signals, *, capped: bool
) -> None:
    sent = client.json("up", "large.bin", *(["--downloads", "1"] if capped else []))
    proxy.through = hold = FirstBytes(20 * MIB, hold=True)
    process = client.start("down", sent["file_id"], "-o", "copy.bin")
    part = client.here / "copy.bin.part"
    until(lambda: hold.reached.is_set() and part.exists() and part.stat().st_size > 19 * MIB)
    process.send_signal(end)
    _, err = process.communicate(timeout=30)
    if end is signal.SIGINT:
        assert (process.returncode, "same command again to resume" in err.decode()) == (130, True)
    hold.release()
    proxy.seen.clear()
    there = part.stat().st_size
    fetched = client.json("down", sent["file_id"], "-o", "copy.bin")
    assert fetched["resumed_at"] == there
    assert proxy.downloaded_bytes() == SIZE - there
    assert (client.here / "copy.bin").read_bytes() == DATA
    assert client.json("info", sent["file_id"])["download_count"] == 1
    assert sorted(path.name for path in client.here.iterdir()) == ["copy.bin", "large.bin"]


@pytest.mark.parametrize("output", ["copy.bin", "-"])
def test_a_download_that_breaks_goes_on_by_itself(client: Client, proxy: Proxy, server: Server, output: str) -> None:
    file_id = upload(server)
    proxy.through = FirstBytes(20 * MIB, hold=False)
    ran = client.run("down", file_id, "-o", output)
    assert ran.code == 0, ran.err
    assert (ran.out if output == "-" else (client.here / output).read_bytes()) == DATA
    ranges = [seen.headers.get("range") for seen in proxy.seen if seen.is_download]
    assert ranges[0] is None
    assert re.fullmatch(r"bytes=\d{8}-", str(ranges[1]))
    assert client.json("info", file_id)["download_count"] == 1


def test_a_download_that_changed_meanwhile_starts_over(client: Client, proxy: Proxy, server: Server) -> None:
    file_id = upload(server)
    proxy.through = FirstBytes(20 * MIB, hold=False)
    proxy.before = lambda seen: seen.headers.update({"if-range": '"another"'}) if "if-range" in seen.headers else None
    assert client.run("down", file_id, "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == DATA
    assert client.json("info", file_id)["download_count"] == 2


def test_a_range_that_cannot_be_had_starts_over(client: Client, proxy: Proxy, server: Server) -> None:
    file_id = upload(server)
    proxy.through = FirstBytes(20 * MIB, hold=False)
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
        elsewhere.through = FirstBytes(20 * MIB, hold=False)
        fetched = client.run("down", sent["file_id"], "-o", "copy.bin", SHARE_PASSWORD="secret")
        assert fetched.code == 0, fetched.err
        assert (client.here / "copy.bin").read_bytes() == DATA
        asked = [seen.headers for seen in proxy.seen if seen.is_download]
        given = [seen.headers for seen in elsewhere.seen]
    assert [headers["authorization"] for headers in asked] == ["Basic OnNlY3JldA=="] * 2
    assert not [headers for headers in given if "authorization" in headers or "x-password" in headers]
    # Each host is asked with the tag that it gave itself; ours gave none here.
    assert "if-range" not in asked[1]
    assert given[1]["if-range"] == f'"{stored}"'
