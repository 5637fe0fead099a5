"""Commands that run in forks of processes that have already imported their packages, which takes most of a start."""

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
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
# Variables that an interpreter reads when it starts. A fork takes notice of one.
_STARTUP = ("PYTHON", "LC_", "LANG")
_NOTICED = "PYTHONIOENCODING"

# Stands in for the interpreter: has its command run by a fork in its process group, and ends with it.
_STAND_IN = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    order = dict(group=os.getpgrp(), folder=os.getcwd(), environment=dict(os.environ), command=sys.argv[2:])
    socket.send_fds(server, [json.dumps(order).encode() + b"\\n"], [0, 1, 2])
    with server.makefile() as answers:
        answers.readline()
        os._exit(int(answers.readline() or 1) % 256)
"""


class Fork:
    """A command that runs in a fork, with the interface of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket, order: Mapping[str, object], streams: Sequence[int]) -> None:
        self.args = order["command"]
        self.returncode: int | None = None
        self._connection = connection
        self._received = b""
        socket.send_fds(connection, [json.dumps(order).encode() + b"\n"], streams)
        line = self._line(None)
        assert line is not None
        self.pid = int(line)

    def poll(self) -> int | None:
        return self._end(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._end(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(str(self.args), timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self, timeout: float | None) -> int | None:
        if self.returncode is None and (line := self._line(timeout)) is not None:
            self.returncode = int(line)
            self._connection.close()
        return self.returncode

    def _line(self, timeout: float | None) -> bytes | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._received:
            self._connection.settimeout(None if deadline is None else max(0, deadline - time.monotonic()))
            try:
                chunk = self._connection.recv(100)
            except (BlockingIOError, TimeoutError):
                return None
            assert chunk, "the fork server has ended"
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line


Process = subprocess.Popen[bytes] | Fork


class Forks:
    """A running fork server."""

    def __init__(self, address: str) -> None:
        self._address = address

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        stdout: int,
        stderr: int,
        stdin: int | None = None,
    ) -> Fork:
        """Run `python -m …` in a session of its own, with these descriptors as its standard streams."""
        order = {"group": None, "folder": str(folder), "environment": dict(environment), "command": list(command)}
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        with open(os.devnull, "rb") as nothing:
            return Fork(connection, order, [nothing.fileno() if stdin is None else stdin, stdout, stderr])

    def interpreter(self) -> Sequence[str]:
        """A command to use instead of an interpreter, for `-m` only."""
        return [sys.executable, "-I", "-S", "-c", _STAND_IN, self._address]


@contextlib.contextmanager
def forking(
    preparation: str,
    interpreter: Sequence[str] = (sys.executable,),
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Forks]:
    """Run a fork server in this folder, with the packages that a script beside this file imports."""
    script = FOLDER / f"{preparation}.py"
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(place) / "forks")
        listener.bind(address)
        listener.listen(100)
        command = [*interpreter, str(FOLDER / "server.py"), str(listener.fileno()), str(script)]
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]
        ):
            yield Forks(address)


@functools.cache
def forks(preparation: str) -> Forks:
    """A fork server for the life of this process."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(forking(preparation))


def can_fork(environment: Iterable[str]) -> bool:
    """Whether a fork takes notice of all these variables."""
    return not any(name.startswith(_STARTUP) and name != _NOTICED for name in environment)


def start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: int,
    *,
    preparation: str | None,
    before: Sequence[str] = (),
) -> Process:
    """Run `python -m …` with no input: as a fork, or without `preparation` by an interpreter that `before` starts."""
    if preparation is not None:
        return forks(preparation).start(command, folder, environment, stdout=output, stderr=output)
    return subprocess.Popen(
        [*before, sys.executable, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
