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

from tests.wire.server import ROOT

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

    def run(
        self, arguments: Sequence[str], folder: Path, environment: dict[str, str], data: bytes, within: float
    ) -> Result:
        """The status, as of `subprocess`, and both outputs of a run in a folder; it must end within so many seconds."""
        ours, theirs = socket.socketpair()
        (stdin, feed), (read_out, stdout), (read_err, stderr) = os.pipe(), os.pipe(), os.pipe()
        descriptors = [theirs.detach(), stdin, stdout, stderr]
        socket.send_fds(self._control, [b"+"], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        ours.settimeout(within)
        with ThreadPoolExecutor(3) as pool, ours, ours.makefile("rw") as channel:
            pool.submit(_write, feed, data)
            out, err = pool.submit(_read, read_out), pool.submit(_read, read_err)
            print(json.dumps([arguments, str(folder), environment]), file=channel, flush=True)
            process_id = int(channel.readline())
            try:
                status = int(channel.readline())
            except BaseException:
                os.kill(process_id, signal.SIGKILL)
                raise
            return os.waitstatus_to_exitcode(status), out.result(), err.result()


def _write(pipe: int, data: bytes) -> None:
    # Most commands do not read their input.
    with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as file:
        file.write(data)


def _read(pipe: int) -> bytes:
    with open(pipe, "rb") as file:
        return file.read()
