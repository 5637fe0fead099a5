"""Endless heads and trailers: both parsers refuse them at a limit, with constant memory and the same answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from local.protocols import MAX_UNFINISHED_BYTES, BoundedH11, BoundedHttpTools
from tests.wire.server import Server, everything, request

MIB = 1024 * 1024
HOST = b"Host: share.test\r\n"
CHUNKED = b"PUT /file/upload/a.txt HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("heads") / "data", "--http", request.param) as server:
        yield server


def send_without_end(connection: socket.socket, begin: bytes, more: bytes) -> None:
    """Send until the other side stops reading, 16 MiB at most."""
    with contextlib.suppress(OSError):
        connection.sendall(begin)
        for _ in range(16):
            connection.sendall(more * (MIB // len(more)))


# The start of a request, and what it repeats endlessly.
ENDLESS = {
    "headers": (b"GET / HTTP/1.1\r\n" + HOST, b"a:b\r\n"),
    "one value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: ", b"a"),
    "one name": (b"GET / HTTP/1.1\r\n" + HOST, b"a"),
    "the path": (b"GET /", b"a"),
    "the line of a chunk": (CHUNKED + b"1;a=", b"a"),
    "a trailer": (CHUNKED + b"1\r\na\r\n0\r\n", b"a:b\r\n"),
    "one value of a trailer": (CHUNKED + b"1\r\na\r\n0\r\nA: ", b"a"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_never_ends_is_refused_in_flat_memory(server: Server, begin: bytes, more: bytes) -> None:
    assert server.get("/health")[0] == 200
    before, stored = server.memory("VmRSS"), server.stored()
    with server.connect() as connection:
        send_without_end(connection, begin, more)
        answer = everything(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert json.loads(body)["status"] == 431
    assert server.memory("VmRSS") - before < 8 * MIB
    assert server.stored() == stored
    assert server.get("/health")[0] == 200


def test_a_large_head_is_taken_as_it_arrives_in_pieces(server: Server) -> None:
    head = request("GET", "/health", "Host: share.test", "Connection: close", "Cookie: " + "a" * 60_000)
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(head), 1000):
            connection.sendall(head[start : start + 1000])
        assert everything(connection).startswith(b"HTTP/1.1 200 ")


def test_a_head_that_is_too_large_and_ends_gets_the_same_answer(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(request("GET", "/health", "Host: share.test", "Cookie: " + "a" * 100_000))
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).startswith(b"HTTP/1.1 431 ")


class Written(asyncio.Transport):
    """A transport that collects what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.written = asyncio.Event()
        self.closed = False

    def write(self, data: Any) -> None:
        self.data += bytes(data)
        self.written.set()

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


Bounded = type[BoundedHttpTools] | type[BoundedH11]
parsers = pytest.mark.parametrize("parser", [BoundedHttpTools, BoundedH11])


def connected(parser: Bounded, app: ASGIApp) -> tuple[BoundedHttpTools | BoundedH11, Written]:
    config = uvicorn.Config(app, lifespan="off", log_config=None)
    config.load()
    protocol, transport = parser(config, ServerState(), {}, asyncio.get_running_loop()), Written()
    protocol.connection_made(transport)
    return protocol, transport


@parsers
def test_a_trailer_adds_nothing_to_the_headers(parser: Bounded) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def exchange() -> None:
        protocol, transport = connected(parser, app)
        protocol.data_received(CHUNKED + b"1\r\na\r\n0\r\nX-Password: secret\r\n\r\n")
        await transport.written.wait()

    asyncio.run(exchange())
    assert [name for name, _ in scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


def test_nothing_is_written_into_an_answer_that_has_begun() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def exchange() -> Written:
        protocol, transport = connected(BoundedHttpTools, app)
        protocol.data_received(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await transport.written.wait()
        assert transport.data.endswith(b"begun")
        for _ in range(3):
            protocol.data_received(b"GET /" + b"a" * MAX_UNFINISHED_BYTES)
        return transport

    transport = asyncio.run(exchange())
    assert transport.closed
    assert transport.data.endswith(b"begun")
