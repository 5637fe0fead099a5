"""Runs the command `share` in forks of one process, which `fork_server.py` describes."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.wire.server import ROOT, WITHIN

Result = tuple[int, bytes, bytes]


@functools.cache
def forks() -> Forks:
    """Those of this process, which last as long as it does."""
    return Forks()


class Forks:
    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.client.fork_server", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT / "client")},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        # It ends once the socket is closed. What was registered last runs first.
        atexit.register(process.wait)
        atexit.register(self._control.close)

    def start(self, arguments: Sequence[str], folder: Path, environment: dict[str, str], data: bytes = b"") -> Run:
        """Run the command in a folder, with this input."""
        channel, theirs = socket.socketpair()
        (stdin, feed), (read_out, stdout), (read_err, stderr) = os.pipe(), os.pipe(), os.pipe()
        descriptors = [theirs.detach(), stdin, stdout, stderr]
        socket.send_fds(self._control, [b"+"], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return Run(channel, [arguments, str(folder), environment], data, feed, read_out, read_err)


class Run:
    """A run of the command, to be waited for or ended."""

    def __init__(self, channel: socket.socket, order: object, data: bytes, feed: int, out: int, err: int) -> None:
        self._pool = ThreadPoolExecutor(3)
        self._pool.submit(_write, feed, data)
        self._out, self._err = self._pool.submit(_read, out), self._pool.submit(_read, err)
        self._socket, self._channel = channel, channel.makefile("rw")
        channel.settimeout(WITHIN)
        print(json.dumps(order), file=self._channel, flush=True)
        self._process_id = int(self._channel.readline())

    def end(self, how: signal.Signals = signal.SIGKILL) -> Result:
        os.kill(self._process_id, how)
        return self.result()

    def result(self, within: float = WITHIN) -> Result:
        """The status, as of `subprocess`, and both outputs; the run must end within so many seconds."""
        self._socket.settimeout(within)
        with self._pool, self._socket, self._channel:
            try:
                status = int(self._channel.readline())
            except BaseException:
                os.kill(self._process_id, signal.SIGKILL)
                raise
            return os.waitstatus_to_exitcode(status), self._out.result(), self._err.result()


def _write(pipe: int, data: bytes) -> None:
    # Most commands do not read their input.
    with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as file:
        file.write(data)


def _read(pipe: int) -> bytes:
    with open(pipe, "rb") as file:
        return file.read()
