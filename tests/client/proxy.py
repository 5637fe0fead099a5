"""A proxy between the client and the real server, which counts bytes, and can hold, cut and falsify transfers."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.wire.server import WITHIN, until

CHUNK = 64 * 1024

Answer = tuple[int, dict[str, str], bytes]


@dataclasses.dataclass(slots=True)
class Seen:
    """A request, the size of its body, and the status and body size of the server's answer."""

    method: str
    target: str
    headers: dict[str, str]
    received: int = 0
    status: int = 0
    sent: int = 0

    @property
    def is_part(self) -> bool:
        return self.method == "PUT" and (self.target.startswith("/file/s3/") or self.is_signed)

    @property
    def is_download(self) -> bool:
        return self.method == "GET" and (self.target.startswith("/file/download/") or self.is_signed)

    @property
    def is_signed(self) -> bool:
        """Whether a client sent it to S3; the server signs its own requests in a header."""
        return "X-Amz-Signature=" in self.target

    @property
    def part_number(self) -> int:
        number = re.search(r"/([0-9]+)\?|\bpartNumber=([0-9]+)", self.target)
        assert number is not None
        return int(number[1] or number[2])


class Cut(Exception):
    """Raised by a hook: the connection breaks here."""


class Reset(Cut):
    """A cut that the client sees as a reset of the connection (RST), not as an early end (FIN)."""


class Proxy:
    """A proxy for the server at `port`.

    `before` can answer itself, `alter` can change what goes up, and `through` sees what comes down. With `tls`, the
    proxy speaks HTTPS.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.before: Callable[[Seen], Answer | None]
        self.through: Callable[[Seen, Iterator[bytes]], Iterator[bytes]]
        self.alter: Callable[[bytes], bytes]
        self.reset()
        self._port = port
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except Reset:
                    self.close_connection = True
                    # A linger time of zero makes closing a reset. It must come before the server's own shutdown.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.rfile.close()
                    self.connection.close()
                except (Cut, ConnectionError, ssl.SSLError):
                    self.close_connection = True

            def do_GET(self) -> None:
                proxy._handle(self)

            do_HEAD = do_OPTIONS = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A connection that a test holds must not delay the proxy's shutdown.
        self._server.block_on_close = False
        self._is_secure = tls is not None
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.address = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reset(self) -> None:
        """Restore the initial state."""
        self.seen.clear()
        self.before = lambda _seen: None
        self.through = lambda _seen, chunks: chunks
        self.alter = lambda body: body

    def parts_there(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.is_part and seen.status == HTTPStatus.OK]

    def part_bytes(self) -> int:
        return sum(seen.received for seen in self.seen if seen.is_part)

    def downloaded_bytes(self) -> int:
        return sum(seen.sent for seen in self.seen if seen.is_download)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        seen = Seen(handler.command, handler.path, {name.lower(): value for name, value in handler.headers.items()})
        self.seen.append(seen)
        answer = self.before(seen)
        body = self.alter(self._body(handler, seen))
        if answer is None:
            self._forward(handler, seen, body)
            return
        status, headers, content = answer
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _body(self, handler: BaseHTTPRequestHandler, seen: Seen) -> bytes:
        body = bytearray()
        if seen.headers.get("transfer-encoding") == "chunked":
            while size := int(handler.rfile.readline(), 16):
                body += handler.rfile.read(size)
                handler.rfile.readline()
            handler.rfile.readline()
        else:
            left = int(seen.headers.get("content-length", 0))
            while left > 0 and (data := handler.rfile.read(min(left, CHUNK))):
                body += data
                left -= len(data)
            if left:
                raise Cut
        seen.received = len(body)
        return bytes(body)

    def _forward(self, handler: BaseHTTPRequestHandler, seen: Seen, body: bytes) -> None:
        hops = ("transfer-encoding", "content-length", "connection")
        headers = {name: value for name, value in seen.headers.items() if name not in hops}
        if self._is_secure:
            headers["x-forwarded-proto"] = "https"
        upstream = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WITHIN)
        with contextlib.closing(upstream):
            upstream.request(seen.method, seen.target, body, {**headers, "connection": "close"})
            response = upstream.getresponse()
            seen.status = response.status
            handler.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("connection", "date", "server"):
                    handler.send_header(name, value)
            handler.end_headers()
            chunks = iter(lambda: response.read(CHUNK), b"")
            for chunk in self.through(seen, chunks):
                handler.wfile.write(chunk)
                seen.sent += len(chunk)


class HeldUp:
    """Lets the first parts of an upload pass, up to this number, and holds the others until it is released."""

    def __init__(self, passing: int) -> None:
        self._passing = passing
        self._held: list[Seen] = []
        self._released = threading.Event()

    def __call__(self, seen: Seen) -> None:
        if not seen.is_part or seen.part_number <= self._passing:
            return
        self._held.append(seen)
        self._released.wait(WITHIN)
        raise Cut

    @property
    def held(self) -> int:
        return len(self._held)

    def wait(self, proxy: Proxy, held: int) -> None:
        """Wait until the first parts are stored and `held` others are held.

        If the client sends no more at once, nothing is under way that could arrive later.
        """
        until(lambda: self.held == held and len(proxy.parts_there()) == self._passing)

    def release(self) -> None:
        self._released.set()


class FirstBytes:
    """The first download stops after this many bytes: it is held until released, or cut at once."""

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
            self._released.wait(WITHIN)
        raise Cut

    def release(self) -> None:
        self._released.set()
