"""Slow clients, many clients, clients that leave early or send too much: other clients notice nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import select
import shutil
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.sweeping import Sweep
from tests.wire.server import FORM_HEAD, FORM_TAIL, FORM_TYPE, WITHIN, Server, everything, request, until

MIB = 1024 * 1024
HOST = "Host: share.test"
FORM = f"Content-Type: {FORM_TYPE}"
TOKEN = "a-token-that-nobody-may-see"

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("clients") / "data", "--http", request.param) as server:
        yield server


def handles(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def share(server: Server, data: bytes, query: str = "") -> str:
    with contextlib.closing(server.client()) as client:
        client.request("PUT", f"/file/upload/a.bin{query}", data)
        response = client.getresponse()
        assert response.status == 201
        file_id: str = json.loads(response.read())["file_id"]
        return file_id


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def test_what_follows_the_announced_length_is_not_carried_out(server: Server) -> None:
    # RFC 9112 §6.3: only the length says where a message ends. What follows is the client's next request, and here it
    # is invalid, because it begins in the middle of a form.
    before = server.stored()
    body = FORM_HEAD + b"hello" + FORM_TAIL
    with server.connect() as connection:
        connection.sendall(request("POST", "/file/upload/", HOST, FORM, "Content-Length: 5", body=body))
        answers = everything(connection)
    assert statuses(answers)[0] == 400
    assert 201 not in statuses(answers)
    assert server.stored() == before


def test_the_body_of_a_get_is_no_second_request(server: Server) -> None:
    file_id = share(server, b"0123456789")
    smuggled = request("GET", f"/file/download/{file_id}", HOST)
    length = f"Content-Length: {len(smuggled)}"
    with server.connect() as connection:
        connection.sendall(request("GET", f"/file/download/{file_id}", HOST, length, body=smuggled))
        connection.sendall(request("GET", f"/file/metadata/{file_id}", HOST, "Connection: close"))
        answers = everything(connection)
    assert statuses(answers) in ([200], [200, 200])
    assert answers.count(b"0123456789") == 1
    assert server.metadata(file_id)["download_count"] == 1


def test_requests_sent_in_one_go_are_answered_in_their_order(server: Server) -> None:
    ids = [share(server, str(number).encode()) for number in range(5)]
    paths = [f"/file/metadata/{ids[number % 5]}" for number in range(99)]
    with server.connect() as connection:
        connection.sendall(b"".join(request("GET", path, HOST) for path in paths))
        connection.sendall(request("GET", "/health", HOST, "Connection: close"))
        answers = everything(connection)
    assert statuses(answers) == [200] * 100
    assert re.findall(rb'"download_link":"[^"]*/([0-9a-f-]{36})"', answers) == [ids[n % 5].encode() for n in range(99)]


def test_fifty_clients_that_dribble_delay_nobody(server: Server) -> None:
    head = request("POST", "/file/upload/", HOST, FORM, "Content-Length: 100000")
    with contextlib.ExitStack() as stack:
        dribbling = [stack.enter_context(server.connect()) for _ in range(100)]
        for connection in dribbling[:50]:
            connection.sendall(head[:40])
        for connection in dribbling[50:]:
            connection.sendall(head + FORM_HEAD)
        for _ in range(5):
            for connection in dribbling:
                connection.sendall(b"a")
            file_id = share(server, bytes(MIB))
            assert len(server.get(f"/file/download/{file_id}")[1]) == MIB
            # None of them has ended yet: they get an answer after their last byte, or after 30 s of silence.
            assert select.select(dribbling, [], [], 0)[0] == []
    until(lambda: not server.staged())


def test_interrupted_uploads_leave_nothing_and_a_running_one_is_not_swept(server: Server) -> None:
    before = server.stored()
    head = request("POST", "/file/upload/", HOST, FORM, f"Content-Length: {8 * MIB}")
    with server.connect() as running:
        running.sendall(head + FORM_HEAD + bytes(2 * MIB))
        until(lambda: len(server.staged()) == 1)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(server.connect()).sendall(head + FORM_HEAD + bytes(2 * MIB))
            until(lambda: len(server.staged()) == 21)
        until(lambda: len(server.staged()) == 1)
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        Sweep(Shares(DirectoryStore(server.data), max_file_size=1, clock=lambda: tomorrow)).run()
        assert len(server.staged()) == 1
        running.sendall(bytes(8 * MIB - len(FORM_HEAD) - 2 * MIB - len(FORM_TAIL)) + FORM_TAIL)
        assert running.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert len(server.stored() - before) == 2


def test_a_client_that_leaves_has_downloaded_once_and_frees_what_it_held(server: Server) -> None:
    file_id = share(server, bytes(50 * MIB))
    before = handles(server)
    for _ in range(5):
        with server.connect() as connection:
            connection.sendall(request("GET", f"/file/download/{file_id}", HOST))
            assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")
    until(lambda: handles(server) <= before)
    assert server.metadata(file_id)["download_count"] == 5


def test_the_last_download_goes_on_though_the_cap_is_reached(server: Server) -> None:
    size = 20 * MIB
    file_id = share(server, bytes(size), "?max_downloads=1")
    with contextlib.closing(server.client()) as client:
        client.request("GET", f"/file/download/{file_id}")
        response = client.getresponse()
        begun = len(response.read(MIB))
        assert server.get(f"/file/download/{file_id}")[0] == 410
        # The file is removed a day later, but an open file stays readable.
        later = datetime.now(UTC) + timedelta(days=2)
        Sweep(Shares(DirectoryStore(server.data), max_file_size=1, clock=lambda: later)).run()
        assert server.get(f"/file/metadata/{file_id}")[0] == 404
        assert begun + len(response.read()) == size


def test_many_slow_uploads_and_downloads_take_little_memory(server: Server) -> None:
    size = 24 * MIB
    file_id = server.upload(itertools.repeat(bytes(MIB), size // MIB), size)["file_id"]
    idle = server.memory("VmRSS")
    upload = request("POST", "/file/upload/", HOST, FORM, f"Content-Length: {100 * MIB}")
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            # These clients do not read what the server sends.
            stack.enter_context(server.connect()).sendall(request("GET", f"/file/download/{file_id}", HOST))
        uploading = [stack.enter_context(server.connect()) for _ in range(5)]
        for connection in uploading:
            connection.sendall(upload + FORM_HEAD + bytes(3 * MIB))
        until(lambda: len(server.staged()) == 5)
        until(lambda: server.metadata(file_id)["download_count"] == 200)
        # A download can hold two chunks of 512 KiB, and what its socket has not accepted; the whole file would be 24
        # MiB.
        assert server.memory("VmRSS") - idle < 5 * 3 * MIB + 200 * 3 * MIB
    until(lambda: not server.staged())


def test_failing_uploads_use_up_no_handles(server: Server) -> None:
    malformed = FORM_HEAD + bytes(MIB) + b"\r\n--" + b"X-boundary" + b"\r\nno header\r\n\r\n"
    before = handles(server)

    def fail(_number: int) -> int:
        with contextlib.closing(server.client()) as client:
            client.request("POST", "/file/upload/", malformed, {"Content-Type": FORM_TYPE})
            return client.getresponse().status

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(fail, range(100))) == {400}
    until(lambda: handles(server) <= before)
    assert server.staged() == []


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit")
def test_out_of_handles_the_server_says_so_and_recovers(tmp_path: Path) -> None:
    with Server(tmp_path / "data", before=("prlimit", "--nofile=64:64")) as server:
        idle = handles(server)
        head = request("PUT", "/file/upload/a.bin", HOST, f"Content-Length: {8 * MIB}")
        answers = b""
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(server.connect()) for _ in range(60)]
            for connection in held:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(head + bytes(2 * MIB))
            # Clients that get an answer learn that storage failed, and not their request.
            for connection in select.select(held, [], [], WITHIN)[0]:
                with contextlib.suppress(ConnectionError):
                    answers += connection.recv(65536)
            assert set(statuses(answers)) <= {503}
        until(lambda: not server.staged() and handles(server) <= idle)
        file_id = share(server, b"hello")
        assert server.get(f"/file/download/{file_id}") == (200, b"hello")


STRANGE = "\x1b[31mX\nINFO fake \u2028é😀"


def test_a_log_line_is_one_line_and_holds_no_secret(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data, SHARE_API_TOKEN=TOKEN) as server, contextlib.closing(server.client()) as client:
        name = urllib.parse.quote(STRANGE)
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Password": "also-secret"}
        client.request("PUT", f"/file/upload/{name}", b"hello", headers)
        response = client.getresponse()
        assert response.status == 201
        upload = json.loads(response.read())
        server.get(f"/file/download/{name}?token={TOKEN}&password=also-secret")
        client.request("DELETE", f"/file/{upload['file_id']}?token={upload['delete_token']}", headers={})
        assert client.getresponse().status == 204
        # The access log is written when the answer goes out.
        until(lambda: "DELETE /file/" in data.with_suffix(".log").read_text())
        log = data.with_suffix(".log").read_bytes()
    assert log.count(b" GET ") == log.count(b" GET - 404 ") == 1
    assert re.search(rb"[^\n\x20-\x7e]", log) is None
    assert b"\nINFO fake" not in log
    assert not any(secret in log for secret in (TOKEN.encode(), b"also-secret", upload["delete_token"].encode()))


def test_a_name_that_the_log_cannot_write_is_no_fault(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    data = tmp_path / "data"
    with Server(data, **ascii_only) as server, contextlib.closing(server.client()) as client:
        client.request("PUT", f"/file/upload/{urllib.parse.quote('é😀')}%ED%A0%80", b"hello")
        response = client.getresponse()
        assert response.status == 201
        upload = json.loads(response.read())
        assert upload["original_name"].startswith("é😀")
        # A damaged record is logged, whatever its contents.
        record = data / "metadata" / upload["file_id"][:2] / f"{upload['file_id']}.json"
        record.write_text(json.dumps({"state": "é😀\ud800"}))
        assert server.get(f"/file/metadata/{upload['file_id']}")[0] == 500
        assert server.get("/file/metadata/") == (200, b"{}")
    assert "UnicodeEncodeError" not in data.with_suffix(".log").read_text()
