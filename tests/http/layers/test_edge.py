"""The outermost layer: which request heads it refuses, how long it waits for a body, and how it ends early answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions import upload
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.http.layers import edge
from shared.http.layers.edge import Edge
from shared.http.models import PROBLEM_TYPE
from shared.http.streams import BATCH_SIZE
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.tokens import Tokens

HOST = (b"host", b"share.test")
BODY = (b"content-length", b"9")


class Exchange:
    """One request. The client sends `chunks`; if these do not complete the body, it then stays silent or leaves."""

    def __init__(
        self,
        *headers: tuple[bytes, bytes],
        chunks: Iterable[bytes] = (),
        ends: bool = True,
        leaves: bool = False,
        **scope: Any,
    ) -> None:
        self.scope: Scope = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b""}
        self.scope |= {"headers": list(headers), **scope}
        pieces = list(chunks)
        self._messages: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": not ends or number < len(pieces)}
            for number, piece in enumerate(pieces, 1)
        ]
        if leaves:
            self._messages.append({"type": "http.disconnect"})
        # All events in order: "receive", or the message that was sent.
        self.log: list[Any] = []

    def run(self, app: ASGIApp) -> None:
        async def receive() -> Message:
            self.log.append("receive")
            if not self._messages:
                await asyncio.Event().wait()
            return self._messages.pop(0)

        async def send(message: Message) -> None:
            self.log.append(message)

        async def exchange() -> None:
            await app(self.scope, receive, send)

        asyncio.run(exchange())

    @property
    def sent(self) -> list[Message]:
        return [entry for entry in self.log if entry != "receive"]

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def left(self) -> int:
        """The number of chunks that were not received."""
        return len(self._messages)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading the body."""
    await PlainTextResponse("hello")(scope, receive, send)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)


HOSTS = [
    "share.test",
    "share.test:8080",
    "share.test.",
    "share",
    "a_b.example",
    "xn--e1afmkfd.example",
    "1.example",
    "127.0.0.1",
    "127.0.0.1:65535",
    "[::1]",
    "[::1]:65535",
    "[2001:DB8::80]",
    "[::ffff:192.0.2.1]:8080",
    ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 63]),
]
NO_HOSTS = {
    "characters": ["", " ", "a b", "a/b", "a@b", "a,b", "a?b", "a#b", "a%41", 'a"b', "a<b>", "ä", "a\tb", "a~b"],
    "port": ["a:b", "a:", "a:0", "a:65536", "a:123456", "[::1]:", "[::1]:99999", "a:80:80", "a:٣"],
    "name": [".", "..", ".a", "a..b", "a" * 64, ".".join(["a" * 63] * 4) + ":80", "a" * 2200],
    # Names whose last label makes browsers reject them.
    "IPv4": ["1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4.", "01.2.3.4", "1", "a.1", "a.0x1", "0x7f.1"],
    "IPv6": [
        "::1",
        "[::1",
        "[]",
        "[.]",
        "[:]",
        "[::::]",
        "[1.2.3.4]",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[12345::]",
    ],
}


@pytest.mark.parametrize(
    ("codings", "status"),
    [
        ([b"chunked"], 200),
        ([b" Chunked "], 200),
        ([b"gzip, chunked"], 501),
        ([b"gzip", b"chunked"], 501),
        ([b"x"], 501),
    ],
)
def test_bodies_that_are_encoded_in_transfer_are_refused(codings: list[bytes], status: int) -> None:
    """Otherwise, they would be stored without being decoded."""
    exchange = Exchange(HOST, *((b"transfer-encoding", coding) for coding in codings))
    exchange.run(Edge(hello))
    assert exchange.status == status


@pytest.mark.parametrize("host", HOSTS)
def test_a_valid_host_passes(host: str) -> None:
    exchange = Exchange((b"host", host.encode()))
    exchange.run(Edge(hello))
    assert exchange.status == 200


@pytest.mark.parametrize("host", [host for hosts in NO_HOSTS.values() for host in hosts])
def test_an_invalid_host_is_refused(host: str) -> None:
    exchange = Exchange((b"host", host.encode()))
    exchange.run(Edge(hello))
    assert exchange.status == 400
    assert exchange.headers[b"content-type"] == PROBLEM_TYPE.encode()


@pytest.mark.parametrize(
    "headers", [[], [HOST, HOST], [HOST, (b"host", b"evil.example")]], ids=["none", "twice", "two"]
)
def test_there_must_be_exactly_one_host(headers: list[tuple[bytes, bytes]]) -> None:
    exchange = Exchange(*headers)
    exchange.run(Edge(hello))
    assert exchange.status == 400


# HAProxy's checks use HTTP/1.0 by default, and only HTTP/1.1 requires Host (RFC 9112 §3.2).
@pytest.mark.parametrize(
    ("version", "path", "root_path", "status"),
    [
        ("1.0", "/health", "", 200),
        ("1.0", "/health/", "", 200),
        ("1.0", "/share/health", "/share", 200),
        ("1.0", "/share/health", "", 400),
        ("1.0", "/file/metadata/", "", 400),
        ("1.1", "/health", "", 400),
        ("2", "/health", "", 400),
    ],
)
def test_only_a_health_check_in_http_1_0_needs_no_host(version: str, path: str, root_path: str, status: int) -> None:
    exchange = Exchange(http_version=version, path=path, root_path=root_path)
    exchange.run(Edge(hello))
    assert exchange.status == status


def test_a_health_check_in_http_1_0_may_not_have_a_wrong_host() -> None:
    exchange = Exchange((b"host", b"[.]"), http_version="1.0", path="/health")
    exchange.run(Edge(hello))
    assert exchange.status == 400


LARGE_HEADS: dict[str, tuple[dict[str, Any], int]] = {
    "many headers": ({"headers": [HOST, *[(b"x", b"y")] * edge.MAX_HEADERS]}, 431),
    "long header": ({"headers": [HOST, (b"x", b"y" * edge.MAX_HEADER_BYTES)]}, 431),
    "long path": ({"headers": [HOST], "raw_path": b"/" * (edge.MAX_TARGET_BYTES + 1)}, 414),
    "long query": ({"headers": [HOST], "query_string": b"q" * edge.MAX_TARGET_BYTES}, 414),
}


@pytest.mark.parametrize(("scope", "status"), LARGE_HEADS.values(), ids=LARGE_HEADS.keys())
def test_a_head_that_is_too_large_is_refused(scope: dict[str, Any], status: int) -> None:
    exchange = Exchange(**scope)
    exchange.run(Edge(hello))
    assert exchange.status == status


def test_a_body_of_two_lengths_is_refused_and_the_connection_closed() -> None:
    exchange = Exchange(HOST, BODY, (b"transfer-encoding", b"chunked"), chunks=[b"123456789"])
    exchange.run(Edge(echo))
    assert exchange.status == 400
    assert exchange.headers[b"connection"] == b"close"


def test_a_head_may_be_as_large_as_the_limits() -> None:
    filling = [(b"x%03d" % number, b"y") for number in range(edge.MAX_HEADERS - 2)]
    rest = edge.MAX_HEADER_BYTES - sum(len(name) + len(value) for name, value in [HOST, *filling])
    exchange = Exchange(HOST, *filling, (b"z", b"y" * (rest - 1)), raw_path=b"/" * edge.MAX_TARGET_BYTES)
    exchange.run(Edge(hello))
    assert exchange.status == 200


def test_what_is_no_request_passes_untouched() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    Exchange(type="lifespan").run(Edge(app))
    assert [scope["type"] for scope in seen] == ["lifespan"]


def test_a_body_arrives_as_it_was_sent() -> None:
    exchange = Exchange(HOST, BODY, chunks=[b"one", b"two", b"", b"six"])
    exchange.run(Edge(echo))
    assert b"".join(message.get("body", b"") for message in exchange.sent) == b"onetwosix"
    assert b"connection" not in exchange.headers


@pytest.mark.parametrize("length", [BODY, (b"transfer-encoding", b"chunked")], ids=["length", "chunked"])
def test_a_client_that_falls_silent_is_given_up(length: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "RECEIVE_TIMEOUT", 0.01)
    exchange = Exchange(HOST, length, chunks=[b"one"], ends=False)
    with pytest.raises(HTTPException) as refusal:
        exchange.run(Edge(echo))
    assert refusal.value.status_code == 408
    assert exchange.sent == []


def test_an_upload_that_falls_silent_is_answered_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "RECEIVE_TIMEOUT", 0.01)
    monkeypatch.setattr(edge, "DRAIN_TIMEOUT", 0.01)
    shares = Shares(DirectoryStore(tmp_path), max_file_size=BATCH_SIZE * 9)
    app = build_app(upload.router, service=Service(Settings(), Tokens(), shares))
    form = b'--X\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    headers = [
        HOST,
        (b"content-type", b"multipart/form-data; boundary=X"),
        (b"content-length", b"%d" % (BATCH_SIZE * 9)),
    ]
    exchange = Exchange(*headers, chunks=[form, bytes(BATCH_SIZE), bytes(BATCH_SIZE)], ends=False, path="/file/upload/")
    exchange.run(app)
    assert exchange.status == 408
    assert exchange.headers[b"content-type"] == PROBLEM_TYPE.encode()
    assert exchange.headers[b"connection"] == b"close"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != ".spares"] == []


def test_silence_after_the_whole_body_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "RECEIVE_TIMEOUT", 0.0)

    async def watch(scope: Scope, receive: Receive, send: Send) -> None:
        # During a long download, an application waits here to learn that its client has gone.
        watching = asyncio.ensure_future(receive())
        await asyncio.wait([watching], timeout=0.02)
        assert not watching.done()
        watching.cancel()
        await hello(scope, receive, send)

    exchange = Exchange(HOST, method="GET")
    exchange.run(Edge(watch))
    assert exchange.status == 200


def test_an_early_answer_closes_the_connection_once_the_body_is_drained() -> None:
    exchange = Exchange(HOST, BODY, chunks=[b"one", b"two", b"six"])
    exchange.run(Edge(hello))
    assert exchange.headers[b"connection"] == b"close"
    assert exchange.left == 0
    start, body, *drained, end = exchange.log
    assert (start["type"], body["body"], body["more_body"]) == ("http.response.start", b"hello", True)
    assert drained == ["receive"] * 3
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_refused_head_is_answered_early_too() -> None:
    exchange = Exchange(BODY, chunks=[b"one", b"two"])
    exchange.run(Edge(hello))
    assert exchange.status == 400
    assert exchange.headers[b"connection"] == b"close"
    assert exchange.left == 0


def test_draining_ends_after_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "DRAIN_BYTES", 5)
    exchange = Exchange(HOST, BODY, chunks=[b"one"] * 9)
    exchange.run(Edge(hello))
    assert exchange.left == 7
    assert exchange.sent[-1]["more_body"] is False


def test_draining_ends_after_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "DRAIN_TIMEOUT", 0.01)
    exchange = Exchange(HOST, BODY, chunks=[b"one"], ends=False)
    exchange.run(Edge(hello))
    assert exchange.log.count("receive") == 2
    assert exchange.sent[-1]["more_body"] is False


def test_draining_ends_when_the_client_leaves() -> None:
    exchange = Exchange(HOST, BODY, leaves=True)
    exchange.run(Edge(hello))
    assert exchange.log.count("receive") == 1
    assert exchange.sent[-1]["more_body"] is False


def test_a_client_that_waits_for_leave_to_send_is_not_waited_for() -> None:
    exchange = Exchange(HOST, BODY, (b"expect", b"100-Continue"), chunks=[b"one"], ends=False)
    exchange.run(Edge(hello))
    assert "receive" not in exchange.log
    assert exchange.headers[b"connection"] == b"close"


def test_a_request_without_a_body_keeps_its_connection() -> None:
    exchange = Exchange(HOST, method="GET")
    exchange.run(Edge(hello))
    assert b"connection" not in exchange.headers
    assert "receive" not in exchange.log
