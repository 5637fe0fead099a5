"""Clients that use little processor time, so they can run on the same machine: one event loop, and curl for large
files."""

from __future__ import annotations

import contextlib
import http.client
import re
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.harness import WrongAnswer

HOST = "127.0.0.1"
TIMEOUT = 60.0
BOUNDARY = "benchmark-boundary"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)

Check = Callable[[int, bytes], bool]
"""Whether an answer with this status and body counts. Raises if the run cannot continue after it."""


@dataclass
class Load:
    """The results of a run of requests: its duration, and the duration of each request, in seconds."""

    seconds: float = 0.0
    good: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Successful answers per second."""
        return self.good / self.seconds


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self.socket = socket.create_connection((HOST, port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.expected: int | None = None
        self.began = 0.0

    def send(self, request: bytes) -> None:
        self.received.clear()
        self.expected = None
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes, bool] | None:
        """Read a complete answer: its status, its body, and whether the server closes. Status 0 if it closes before
        that."""
        try:
            data = self.socket.recv(262_144)
        except ConnectionResetError:
            data = b""
        if not data:
            return 0, b"", True
        self.received += data
        if self.expected is None:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return None
            length = _LENGTH.search(self.received, 0, end)
            if length is None:
                raise WrongAnswer("an answer has no Content-Length")
            self.expected = end + 4 + int(length[1])
        if len(self.received) < self.expected:
            return None
        head = self.received.index(b"\r\n\r\n") + 4
        closes = _CLOSE.search(self.received, 0, head) is not None
        return int(self.received[9:12]), bytes(self.received[head:]), closes


def load(port: int, requests: Iterable[bytes], connections: int, check: Check) -> Load:
    """Send all requests and check every answer. Each connection sends its next request after the last answer."""
    result = Load()
    remaining: Iterator[bytes] = iter(requests)
    with _closing_selector() as selector:
        began = time.perf_counter()
        running = sum(_begin(selector, _Connection(port), remaining) for _ in range(connections))
        while running:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise WrongAnswer(f"no answer within {TIMEOUT:.0f} s")
            for key, _ in ready:
                connection: _Connection = key.data
                answer = connection.receive()
                if answer is None:
                    continue
                result.latencies.append(time.perf_counter() - connection.began)
                status, body, closes = answer
                result.good += check(status, body)
                selector.unregister(connection.socket)
                if closes:
                    connection.socket.close()
                    connection = _Connection(port)
                running -= not _begin(selector, connection, remaining)
        result.seconds = time.perf_counter() - began
    return result


@contextlib.contextmanager
def _closing_selector() -> Iterator[selectors.BaseSelector]:
    """A selector that closes the sockets of failed connection attempts."""
    with selectors.DefaultSelector() as selector:
        try:
            yield selector
        finally:
            for key in list(selector.get_map().values()):
                key.data.socket.close()


def _begin(selector: selectors.BaseSelector, connection: _Connection, remaining: Iterator[bytes]) -> bool:
    request = next(remaining, None)
    if request is None:
        connection.socket.close()
        return False
    connection.send(request)
    selector.register(connection.socket, selectors.EVENT_READ, connection)
    return True


def ask(port: int, request: bytes, wanted: Sequence[int] = (200,)) -> tuple[str, bytes]:
    """The head and the body of the answer to one request."""
    with socket.create_connection((HOST, port), TIMEOUT) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    if answer.status not in wanted:
        raise WrongAnswer(f"status {answer.status}: {body[:200]!r}")
    return str(answer.msg), body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def send(method: str, path: str, body: bytes, content_type: str = "application/octet-stream") -> bytes:
    """A request with a body."""
    head = f"Host: {HOST}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{method} {path} HTTP/1.1\r\n{head}".encode() + body


def post_file(path: str, data: bytes, name: str = "file.bin", field_name: str = "file", extra: str = "") -> bytes:
    """A form with one file. `extra` has encoded fields that precede the file."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field_name}"; filename="{name}"\r\n\r\n'
    body = (extra + part).encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    return send("POST", path, body, f"multipart/form-data; boundary={BOUNDARY}")


def form_field(name: str, value: str) -> str:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


def expecting(wanted: int, body: bytes | None = None) -> Check:
    """A check that accepts only this status, and only this body if there is one."""

    def check(status: int, received: bytes) -> bool:
        if status != wanted:
            raise WrongAnswer(f"status {status} instead of {wanted}: {received[:200]!r}")
        if body is not None and received != body:
            raise WrongAnswer(f"{len(received)} wrong bytes instead of {len(body)}")
        return True

    return check


def curl(
    url: str, *arguments: str, sent: bytes = b"", wanted: Sequence[int] = (200, 201, 204)
) -> tuple[float, int, bytes]:
    """Run curl. Returns its duration in seconds, the number of bytes downloaded, and its output."""
    # No "Expect": some servers answer it, others let curl wait a second.
    command = ["curl", "-sS", "-H", "Expect:", "-w", "\n%{http_code} %{time_total} %{size_download}", *arguments, url]
    done = subprocess.run(command, input=sent, capture_output=True, check=True)
    body, _, written = done.stdout.rpartition(b"\n")
    status, seconds, size = written.split()
    if int(status) not in wanted:
        raise WrongAnswer(f"status {int(status)} from {url}: {body[:200]!r}")
    return float(seconds), int(size), body
