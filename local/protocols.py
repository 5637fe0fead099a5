"""uvicorn's HTTP protocols, with a limit on the size of unfinished heads and trailers, and an orderly stop.

httptools itself keeps an endless head or trailer in memory, and loses the body of a request that asks for another
protocol. h11 answers 400 in plain text at its own limit. An application cannot prevent that, so plain `uvicorn` is safe
only with `--http h11`, behind a proxy, or with `--http local.protocols:BoundedHttpTools`.

At the end of the graceful time limit, uvicorn cancels the requests that are in progress. It logs a traceback for each,
and stops the application without waiting until they have discarded their uploads. So we disconnect clients before that.

Of several workers, the first to wake up would accept most connections that arrive together. So each lets others accept.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import httptools
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared.http.layers.edge import DRAIN_TIMEOUT, MAX_HEADER_BYTES
from shared.http.problems import Problem

if TYPE_CHECKING:
    from uvicorn.server import Protocols

log = logging.getLogger("local.protocols")

# More than any head that the application accepts, including the separators.
MAX_UNFINISHED_BYTES = 2 * MAX_HEADER_BYTES
# Seconds between the end of all connections and the time limit: enough to discard uploads, also on S3.
CLEANUP_TIME = 5
# In seconds, long enough for another worker to wake up. Linux makes it 0.1 ms.
PAUSE = 0.00005
# Seconds for which a worker remembers how many connections it had, and how many pauses it can make in that time. More
# connections than these divide themselves, because no worker can accept them all at once.
PERIOD = 1.0
MAX_PAUSES = 32


class Balance:
    """Pauses after accepting a connection, if a worker has more of them than at any other time in this second.

    So those that arrive together are divided among the workers, while those that come and go hardly wait. It works with
    uvloop, which accepts one connection at a time.
    """

    def __init__(self, pause: Callable[[], object] = lambda: time.sleep(PAUSE)) -> None:
        self._pause = pause
        self._most = self._pauses = 0
        self._since = float("-inf")

    def accepted(self, connections: int, now: float) -> None:
        """Call this after each connection, with how many there are now and the time in seconds."""
        if now - self._since > PERIOD:
            self._most, self._pauses, self._since = connections, 0, now
        elif connections > self._most and self._pauses < MAX_PAUSES:
            self._most = connections
            self._pauses += 1
            self._pause()


class BoundedHttpTools(HttpToolsProtocol):
    """Counts the bytes since a head was complete, a piece of a body arrived, or a body ended.

    The segment in which that happens is not counted, so memory is limited to one segment more.
    """

    balance = Balance()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unfinished = 0
        self._in_body = False
        self._refused = False
        self._answering: RequestResponseCycle | None = None
        self._received = self._again = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _balance(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unfinished += len(data)
        self._again = data
        while self._again:
            self._received, self._again = self._again, b""
            super().data_received(self._received)
        self._received = b""
        if self._unfinished > MAX_UNFINISHED_BYTES and not self.transport.is_closing():
            self._refused = True
            # Earlier requests on this connection must be answered first.
            waits = self.pipeline or (not self._in_body and self.cycle is not None and not self.cycle.response_complete)
            _refuse(self, answer=not waits)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_body = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailer fields are not headers (RFC 9110 §6.5.1); h11 drops them, too.
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._is_read_again:
            super().on_headers_complete()
            self._unfinished = 0
            self._in_body = True

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._unfinished = 0

    def on_message_complete(self) -> None:
        if not self._is_read_again:
            super().on_message_complete()
            self._unfinished = 0
            self._in_body = False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # uvicorn does this only for the last request that was received.
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    @property
    def _is_read_again(self) -> bool:
        """Whether a request asks for another protocol that we do not speak, such as HTTP/2 in Java's `HttpClient`.

        httptools takes all that follows such a head for the other protocol, so the body would be lost. A server can
        ignore what is asked for (RFC 9110 §7.8), so the request is read a second time, as if it did not ask.
        """
        # CONNECT changes the protocol without asking (RFC 9110 §9.3.6), so reading it again would not help.
        asks = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        return asks and not self._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        if not self._is_read_again:
            super()._unsupported_upgrade_warning()
            return
        # httptools tells at which byte it stopped.
        stop: int = sys.exception().args[0]  # type: ignore[union-attr]
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                value = b",".join(option for option in value.split(b",") if option.strip().lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(b"%s: %s" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        # As in uvicorn's other parsers.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._again = b"\r\n".join([*lines, b"", b""]) + self._received[stop:]

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        super().shutdown()
        _limit_time(self)


class BoundedH11(H11Protocol):
    """Sets h11's own limit to the same value, and gives the same answer."""

    balance = Balance()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = h11.Connection(h11.SERVER, MAX_UNFINISHED_BYTES)
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _balance(self)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        error = sys.exception()
        if not isinstance(error, h11.RemoteProtocolError) or error.error_status_hint != _STATUS:
            super().send_400_response(msg)
            return
        self._refused = True
        _refuse(self, answer=True)

    def shutdown(self) -> None:
        super().shutdown()
        _limit_time(self)


def disconnect(connections: set[Protocols]) -> None:
    """Close all connections of a server that stops. Their requests end as they do when clients leave."""
    if connections:
        log.warning("Connections closed to stop the server: %d", len(connections))
    while connections:
        # Not `close`, which waits until the client has read everything that was written.
        connections.pop().transport.abort()


def _balance(protocol: BoundedHttpTools | BoundedH11) -> None:
    if protocol.config.workers > 1:
        protocol.balance.accepted(len(protocol.connections), protocol.loop.time())


def _limit_time(protocol: BoundedHttpTools | BoundedH11) -> None:
    limit = protocol.config.timeout_graceful_shutdown
    if limit is not None:
        # Each connection does this, and the first to be called closes them all.
        protocol.loop.call_later(max(0, limit - CLEANUP_TIME), disconnect, protocol.connections)


_STATUS = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def _refuse(protocol: BoundedHttpTools | BoundedH11, *, answer: bool) -> None:
    """Close a connection, with an answer if no earlier request is still to be answered."""
    protocol.logger.warning("A request's head or trailer is too large.")
    cycle = protocol.cycle
    if cycle is not None and not cycle.response_complete:
        answer = answer and not cycle.response_started
        # The application is waiting for a body.
        cycle.disconnected = True
        cycle.message_event.set()
    if not answer:
        protocol.transport.close()
        return
    protocol.transport.write(_too_large())
    # Not at once: if data still arrived, the connection would be reset and the answer lost.
    protocol.loop.call_later(DRAIN_TIMEOUT, protocol.transport.close)


def _too_large() -> bytes:
    problem = Problem(_STATUS, "The request's headers are too large.")
    lines = [b"%s: %s" % header for header in (*problem.raw_headers, (b"connection", b"close"))]
    return b"\r\n".join([b"HTTP/1.1 %d %s" % (_STATUS, _STATUS.phrase.encode()), *lines, b"", bytes(problem.body)])
