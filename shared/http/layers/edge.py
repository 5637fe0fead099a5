"""The layer around the application: checks the head of every request, and enforces time limits for its body."""

from __future__ import annotations

import asyncio
import functools
import re
import socket
from collections.abc import Collection, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.endpoint import path_of
from shared.http.layers.cors import Cors
from shared.http.problems import Problem

RECEIVE_TIMEOUT = 30.0  # seconds
MAX_HEADERS = 256
MAX_HEADER_BYTES = 64 * 1024
MAX_TARGET_BYTES = 8 * 1024
DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_TIMEOUT = 2.0  # seconds

_JSON = (b"application/json", b"application/problem+json")

MAX_HOST_BYTES = 255
MAX_PORT = 65535

# host [":" port] (RFC 9110 §7.2, RFC 3986 §3.2.2). Names are those that resolvers accept: labels of at most 63 letters,
# digits, hyphens and underscores, with an optional dot at the end.
_HOST = re.compile(
    r"(?:(?P<name>(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
# Programs treat a name whose last label is a number as an IPv4 address (WHATWG URL, "ends in a number checker").
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?", re.ASCII)


class Edge:
    """Refuses requests with an invalid head, disconnects silent clients, and ends early answers cleanly.

    `origins` are other sites whose pages can use the API.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self._app = Cors(app, origins) if origins else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = _Exchange(headers, receive, send)
        answer = _refusal(scope, headers) or self._app
        await answer(scope, exchange.receive, exchange.send)


def _refusal(scope: Scope, headers: Mapping[bytes, bytes]) -> Problem | None:
    lines: Sequence[tuple[bytes, bytes]] = scope["headers"]
    if len(lines) > MAX_HEADERS or sum([len(name) + len(value) for name, value in lines]) > MAX_HEADER_BYTES:
        return Problem(431, "The request's headers are too large.")
    # RFC 9112 §6.1: another server could treat a part of the body as the next request on this connection.
    if b"transfer-encoding" in headers and b"content-length" in headers:
        return Problem(400, "A request must not have both Content-Length and Transfer-Encoding.")
    # RFC 9112 §6.1. Otherwise, the bytes would be stored as they were encoded.
    if b"transfer-encoding" in headers and _codings(lines) != [b"chunked"]:
        return Problem(501, "The only supported Transfer-Encoding is chunked.")
    target: bytes = (scope.get("raw_path") or b"") + scope["query_string"]
    if len(target) > MAX_TARGET_BYTES:
        return Problem(414, "The request's address is too long.")
    # RFC 3986 §2. Servers refuse this too, and the code that reads queries relies on it.
    if not target.isascii():
        return Problem(400, "The request's address must be ASCII.")
    host = headers.get(b"host")
    if host is None and _needs_no_host(scope):
        return None
    # RFC 9112 §3.2. Not every server refuses these itself, and links are built from this header.
    repeated = len(headers) < len(lines) and sum(name == b"host" for name, _ in lines) > 1
    if host is None or repeated or len(host) > MAX_HOST_BYTES or not _is_host(host.decode("latin-1")):
        return Problem(400, "The request must have exactly one valid Host header.")
    return None


def _codings(lines: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [value.strip().lower() for name, value in lines if name == b"transfer-encoding"]


def _needs_no_host(scope: Scope) -> bool:
    """Whether this is a health check by HTTP/1.0, which has no Host (HAProxy sends it); its answer contains no link."""
    return scope.get("http_version") == "1.0" and path_of(scope).rstrip("/") == "/health"


# A server has few names, and many requests for each.
@functools.lru_cache(maxsize=64)
def _is_host(text: str) -> bool:
    """Whether this can be the host of a link: a DNS name or an IP address, with an optional port."""
    match = _HOST.fullmatch(text)
    if match is None:
        return False
    name, ipv6, port = match.group("name", "ipv6", "port")
    if port is not None and not 1 <= int(port) <= MAX_PORT:
        return False
    if ipv6 is not None:
        return _is_address(socket.AF_INET6, ipv6)
    return _ENDS_IN_NUMBER.fullmatch(name) is None or _is_address(socket.AF_INET, name)


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except OSError:
        return False
    return True


def _needs_no_store(message: Message) -> bool:
    """Whether this starts a JSON answer: its counts change, but caches could keep it (RFC 9111 §4.2.2).

    Stored files that happen to be JSON have their own Cache-Control.
    """
    headers = dict(message.get("headers", ()))
    return headers.get(b"content-type", b"").startswith(_JSON) and b"cache-control" not in headers


class _Exchange:
    """One request and its answer."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._received = False
        self._complete = b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0"
        # The client does not send its body before it is told to continue.
        self._holds_back = headers.get(b"expect", b"").lower() == b"100-continue"
        self._early = False

    async def receive(self) -> Message:
        """The next message. Raises `HTTPException` 408 if no more of an unfinished body arrives for 30 s."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(RECEIVE_TIMEOUT):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, f"Nothing was received for {RECEIVE_TIMEOUT:.0f} seconds.") from error
        self._received = True
        self._complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _needs_no_store(message):
            message = {**message, "headers": [*message["headers"], (b"cache-control", b"no-store")]}
        if message["type"] == "http.response.start" and not self._complete:
            # The rest of the body is useless, and so is this connection.
            self._early = True
            message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (self._early and last):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        if self._received or not self._holds_back:
            await self._drain()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self) -> None:
        """Read more of the body before closing: data that arrives after that would reset the connection."""
        left = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                while left > 0 and not self._complete:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        except TimeoutError:
            return
