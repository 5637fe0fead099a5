"""What only a socket shows: interrupted bodies, early answers, many clients, large files and shutdown."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.wire.server import FORM_HEAD, FORM_TAIL, FORM_TYPE, WITHIN, Server, everything, request, until

MIB = 1024 * 1024
MAX_FILE_SIZE = 8 * MIB
HOST = "Host: share.test"
FORM = f"Content-Type: {FORM_TYPE}"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a parser; each test leaves the files of others alone."""
    data = tmp_path_factory.mktemp("wire") / "data"
    with Server(data, "--http", request.param, SHARE_MAX_FILE_SIZE=str(MAX_FILE_SIZE)) as server:
        yield server


def posted(*headers: str, body: bytes = b"") -> bytes:
    return request("POST", "/file/upload/", HOST, FORM, *headers, body=body)


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def close(connection: socket.socket) -> None:
    connection.close()


def stop_sending(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    everything(connection)


def spoil_the_next_chunk(connection: socket.socket) -> None:
    connection.sendall(b"3\r\nabcxx")
    everything(connection)


# How the upload announces its body, and how it is interrupted.
BROKEN: dict[str, tuple[str, Callable[[socket.socket], None]]] = {
    "length, client gone": (f"Content-Length: {MAX_FILE_SIZE}", close),
    "length, nothing more sent": (f"Content-Length: {MAX_FILE_SIZE}", stop_sending),
    "chunks, client gone": (CHUNKED, close),
    "chunks, nothing more sent": (CHUNKED, stop_sending),
    "chunks, one malformed": (CHUNKED, spoil_the_next_chunk),
}


@pytest.mark.parametrize(("framing", "break_off"), BROKEN.values(), ids=BROKEN.keys())
def test_an_upload_that_breaks_off_leaves_nothing(
    server: Server, framing: str, break_off: Callable[[socket.socket], None]
) -> None:
    before = server.stored()
    data = FORM_HEAD + bytes(3 * MIB)
    with server.connect() as connection:
        connection.sendall(posted(framing, body=chunk(data) if framing == CHUNKED else data))
        until(lambda: bool(server.staged()))
        break_off(connection)
    until(lambda: not server.staged())
    assert server.stored() == before


def test_an_upload_in_chunks_is_stored(server: Server) -> None:
    body = chunk(FORM_HEAD) + b"5;a=b\r\nhello\r\n" + chunk(FORM_TAIL) + b"0\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(posted(CHUNKED, "Connection: close", body=body))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b'"file_size":5' in answer


def test_a_boundary_may_fall_anywhere_between_segments(server: Server) -> None:
    body = FORM_HEAD + b"a--X-boundary\r\n--X-boundar" + FORM_TAIL
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(posted(f"Content-Length: {len(body)}", "Connection: close"))
        for byte in body:
            connection.sendall(bytes([byte]))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b'"file_size":26' in answer


UPGRADES = {
    "HTTP/2": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"],
    "two at once": ["Connection: upgrade", "Upgrade: h2c, TLS/1.2"],
    "two lines": ["Connection: keep-alive", "connection: Upgrade", "Upgrade: TLS/1.2", "Upgrade: h2c"],
}


@pytest.mark.parametrize("segments", ["together", "apart", "byte by byte"])
@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES.keys())
def test_a_request_that_asks_for_another_protocol_keeps_its_body(
    server: Server, headers: list[str], segments: str
) -> None:
    """Java's `HttpClient` and `curl --http2` ask with every request. httptools alone would lose the body."""
    body = b"GET /docs HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    put = request("PUT", "/asking.txt", HOST, *headers, f"Content-Length: {len(body)}")
    chunked = request("PUT", "/asking.txt", HOST, *headers, CHUNKED)
    last = request("GET", "/health", HOST, "Connection: close, Upgrade", "Upgrade: h2c")
    pieces = [put, body, chunked, chunk(body) + b"0\r\n\r\n", last]
    if segments == "together":
        pieces = [b"".join(pieces)]
    elif segments == "byte by byte":
        pieces = [bytes([byte]) for byte in b"".join(pieces)]
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        answers = everything(connection)
    assert answers.count(b"HTTP/1.1 201 ") == answers.count(f'"file_size":{len(body)},'.encode()) == 2
    assert answers.count(b"HTTP/1.1 ") == 3
    assert answers.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("target", ["share.test:443", "/file/upload/a.txt", "*"])
@pytest.mark.parametrize("headers", [[], UPGRADES["HTTP/2"]], ids=["plain", "asking"])
def test_a_tunnel_is_refused(server: Server, target: str, headers: list[str]) -> None:
    with server.connect() as connection:
        connection.sendall(request("CONNECT", target, HOST, *headers, "Connection: close"))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 4")
    assert server.get("/health")[0] == 200


def test_clients_that_leave_between_pipelined_requests_leave_no_error(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--http", "httptools") as server:
        file_id = server.upload([bytes(500_000)], 500_000)["file_id"]
        for _ in range(10):
            with server.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(request("GET", f"/file/download/{file_id}", HOST) * 20)
                assert connection.recv(1)
    # A server that has ended has let all requests end.
    log = server.log()
    assert "Finished server process" in log
    assert "Traceback" not in log


def test_a_client_that_asks_is_told_to_go_on(server: Server) -> None:
    body = FORM_HEAD + b"hello" + FORM_TAIL
    with server.connect() as connection:
        connection.sendall(posted(f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert everything(connection).startswith(b"HTTP/1.1 201 ")


def test_a_client_that_asks_to_send_too_much_is_refused_at_once(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(posted("Content-Length: 1000000000000", "Expect: 100-continue"))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert f'"limit":{MAX_FILE_SIZE}'.encode() in answer


@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_a_client_that_asks_with_a_wrong_token_is_refused_at_once(tmp_path: Path, parser: str) -> None:
    body = FORM_HEAD + b"hello" + FORM_TAIL
    with Server(tmp_path / "data", "--http", parser, SHARE_API_TOKEN="right") as server, server.connect() as connection:
        ask = [f"Content-Length: {len(body)}", "Expect: 100-continue", "Authorization: Bearer wrong"]
        connection.sendall(posted(*ask))
        assert everything(connection).startswith(b"HTTP/1.1 401 ")


def test_a_refusal_reaches_a_client_that_is_still_sending(server: Server) -> None:
    body = FORM_HEAD + bytes(12 * MIB) + FORM_TAIL
    with server.connect() as connection:
        connection.sendall(posted(f"Content-Length: {len(body)}", body=body))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert server.staged() == []


HOSTS = {"none": [], "two": [HOST, HOST], "two names": [HOST, "Host: evil.example"], "no name": ["Host: a b"]}


@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS.keys())
def test_a_request_without_exactly_one_valid_host_is_refused(server: Server, hosts: list[str]) -> None:
    with server.connect() as connection:
        connection.sendall(request("GET", "/file/metadata/", *hosts, "Connection: close"))
        assert everything(connection).startswith(b"HTTP/1.1 400 ")


LENGTHS = [["-5"], ["+5"], ["0x5"], ["5 5"], ["5, 6"], ["5", "6"], ["1" + "0" * 30]]


@pytest.mark.parametrize("lengths", LENGTHS, ids=" and ".join)
def test_a_length_that_is_none_is_refused(server: Server, lengths: list[str]) -> None:
    before = server.stored()
    with server.connect() as connection:
        connection.sendall(posted(*(f"Content-Length: {each}" for each in lengths), body=FORM_HEAD + FORM_TAIL))
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).startswith(b"HTTP/1.1 400 ")
    assert server.stored() == before


def test_the_server_does_not_say_what_it_is(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(request("GET", "/health", HOST, "Connection: close"))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nserver:" not in answer.lower()


def test_downloads_at_once_in_two_processes_are_counted_exactly(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--workers", "2") as server:
        file_id = server.upload([b"hello"], 5)["file_id"]
        with ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(server.get, [f"/file/download/{file_id}"] * 200))
        assert answers == [(200, b"hello")] * 200
        assert server.metadata(file_id)["download_count"] == 200


def test_a_large_file_takes_little_memory_in_either_direction(tmp_path: Path) -> None:
    size = 128 * MIB
    with Server(tmp_path / "data") as server:
        idle = server.memory("VmRSS")
        file_id = server.upload(itertools.repeat(bytes(MIB), size // MIB), size)["file_id"]
        assert server.memory("VmHWM") - idle < 64 * MIB
        with contextlib.closing(server.client()) as client:
            client.request("GET", f"/file/download/{file_id}")
            response = client.getresponse()
            assert sum(map(len, iter(lambda: response.read(MIB), b""))) == size
        assert server.memory("VmHWM") - idle < 64 * MIB


def test_a_download_that_runs_is_finished_before_the_server_stops(tmp_path: Path) -> None:
    size = 32 * MIB
    with Server(tmp_path / "data") as server, contextlib.closing(server.client()) as client:
        file_id = server.upload(itertools.repeat(bytes(MIB), size // MIB), size)["file_id"]
        client.request("GET", f"/file/download/{file_id}")
        response = client.getresponse()
        begun = len(response.read(MIB))
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not server.listens())
        assert begun + len(response.read()) == size
        assert server.process.wait(WITHIN) in (0, -signal.SIGTERM)


def test_a_new_file_was_not_modified_later_than_the_answer(server: Server) -> None:  # RFC 9110 §8.8.2.1
    # The server caches its Date for a second.
    for _ in range(5):
        file_id = server.upload([b"data"], 4)["file_id"]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WITHIN)) as connection:
            connection.request("HEAD", f"/file/download/{file_id}")
            headers = connection.getresponse().headers
        assert parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(headers["Date"])
