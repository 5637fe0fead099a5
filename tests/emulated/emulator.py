"""The emulator as `make emulate` starts it, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.emulated.deployment import ROOT

START_WITHIN = 90.0  # seconds


@dataclass
class Emulator:
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def processes(self, text: str = "") -> list[int]:
        """Everything that it started and that still runs, or what has the text in its command line."""
        return [pid for pid in descendants(self.process.pid) if text in command_line(pid)]

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


def descendants(parent: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while the list is read.
        with contextlib.suppress(OSError):
            state, above = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(above), []).append(int(path.parent.name))
    found, waiting = [], [parent]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def alive(pids: list[int]) -> list[int]:
    """Those that still run; the end of a killed process may take the system a moment."""
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def emulating(folder: Path, artifact: Path, *arguments: str) -> Iterator[Emulator]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "local.emulate",
        "--port",
        str(port),
        "--artifact",
        str(artifact),
    ]
    log = folder / "log"
    # The shell that runs the tests may point boto3 anywhere.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SHARE_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    emulator = Emulator(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_for(emulator)
        yield emulator
    finally:
        started = emulator.processes()
        if process.poll() is None:
            emulator.stop(signal.SIGTERM)
        assert alive(started) == []


def wait_for(emulator: Emulator) -> None:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline and emulator.process.poll() is None:
        with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=emulator.url, timeout=60) as client:
            client.get("/health")
            return
        time.sleep(0.1)
    raise AssertionError(f"the emulator did not start:\n{emulator.log.read_text()}")
