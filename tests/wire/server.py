"""The server in a separate process, and helpers to send it raw bytes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.forks import can_fork, start
from tests.staged import staged

ROOT = Path(__file__).parent.parent.parent
WITHIN = 60.0  # seconds, long enough for a busy machine

BOUNDARY = b"X-boundary"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"
FORM_HEAD = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="file.bin"\r\n\r\n'
FORM_TAIL = b"\r\n--" + BOUNDARY + b"--\r\n"


def until(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds, and fail if that takes too long."""
    deadline = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.01)


def sizes(paths: Iterable[Path]) -> list[int]:
    """The sizes of files, in bytes. Some may be renamed meanwhile, as expiry entries of uploads are."""
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found.append(path.stat().st_size)
    return found


class Server:
    """`python -m local.serve` on the directory `data` while its context lasts.

    It is a fork, which starts faster, unless a command `before` starts it. `test_start.py` tests real starts.
    """

    def __init__(self, data: Path, *arguments: str, before: Sequence[str] = (), **environment: str) -> None:
        self.data = data
        self._log = data.with_suffix(".log")
        self._before = before
        self._arguments = ["-m", "local.serve", "--port", "0", *arguments]
        self._forks = not before and can_fork(environment)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
        self._environment = {**inherited, "SHARE_STORAGE": str(data), "SHARE_MIN_FREE_SPACE": "0", **environment}

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = start(
                self._arguments,
                ROOT,
                self._environment,
                log.fileno(),
                preparation="serve" if self._forks else None,
                before=self._before,
            )
        try:
            until(self._is_ready)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _is_ready(self) -> bool:
        log = self.log()
        assert self.process.poll() is None, log
        running = re.search(r"running on http://127\.0\.0\.1:([1-9][0-9]*)", log)
        if running is None:
            return False
        self.port = int(running[1])
        return self.listens() and self.get("/health")[0] == 200

    def log(self) -> str:
        """What the server has written to its log so far."""
        return self._log.read_text()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WITHIN)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)

    def get(self, path: str) -> tuple[int, bytes]:
        client = self.client()
        try:
            client.request("GET", path)
            response = client.getresponse()
            return response.status, response.read()
        finally:
            client.close()

    def upload(self, chunks: Iterable[bytes], size: int) -> dict[str, Any]:
        """Upload a file of this size. Returns the JSON answer."""
        headers = {"Content-Type": FORM_TYPE, "Content-Length": str(len(FORM_HEAD) + size + len(FORM_TAIL))}
        client = self.client()
        try:
            client.request("POST", "/file/upload/", (part for part in (FORM_HEAD, *chunks, FORM_TAIL)), headers)
            response = client.getresponse()
            assert response.status == 201
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            client.close()
        return answer

    def metadata(self, file_id: str) -> dict[str, Any]:
        status, body = self.get(f"/file/metadata/{file_id}")
        assert status == 200
        answer: dict[str, Any] = json.loads(body)
        return answer

    def staged(self) -> list[Path]:
        """The files that are being written."""
        return staged(self.data)

    def stored(self) -> set[Path]:
        return {path for folder in ("files", "metadata") for path in (self.data / folder).rglob("*") if path.is_file()}

    def memory(self, field: str) -> int:
        """`VmRSS`, the current memory of the process, or `VmHWM`, its peak; in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """A request with exactly these headers, as sent over the connection."""
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *headers, "", ""])
    return head.encode() + body


def everything(connection: socket.socket) -> bytes:
    """Everything until the other side closes; a reset also counts as the end."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received
