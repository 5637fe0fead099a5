"""Starts functions as forks of one process, which `fork_server.py` describes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.emulate import Platform
from local.processes import tethered

SERVER = Path(__file__).with_name("fork_server.py")

# Stands in for the interpreter: has its command run by a fork in its process group, and ends with it.
_COMMAND = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    run = os.getpgrp(), os.getcwd(), sys.argv[2:], dict(os.environ)
    socket.send_fds(server, [json.dumps(run).encode() + b"\\n"], [1, 2])
    server.recv(1)
"""


@contextlib.contextmanager
def forks(platform: Platform) -> Iterator[Sequence[str]]:
    """A command to use instead of the platform's interpreter, for functions that all have the same content."""
    code = next(iter(platform.functions.values())).code
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder) / "forks")
        listener.bind(address)
        listener.listen()
        process = subprocess.Popen(
            tethered([*platform.interpreter, str(SERVER), str(listener.fileno())]),
            cwd=code,
            env=platform.environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
        try:
            yield [sys.executable, "-I", "-S", "-c", _COMMAND, address]
        finally:
            process.kill()
            process.wait()
