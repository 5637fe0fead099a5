"""The emulator in a separate process, as `make emulate` starts it, or with all that starts in forks."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.emulated.deployment import ROOT
from tests.forks import Process, start
from tests.servers import S3Server
from tests.wire.server import WITHIN, until


@dataclass
class Emulator:
    process: Process
    log: Path
    url: str = ""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=WITHIN)

    def processes(self, text: str = "") -> list[int]:
        """All its running descendants whose command line contains the text."""
        return [pid for pid in descendants(self.process.pid) if text in command_line(pid)]

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(WITHIN)

    def serves(self) -> bool:
        log = self.log.read_text()
        assert self.process.poll() is None, f"the emulator did not start:\n{log}"
        address = re.search(r" on (http://\S+)$", log, re.MULTILINE)
        if address is None or "Ctrl+C" not in log:
            return False
        self.url = address[1]
        with contextlib.suppress(httpx.TransportError), self.client() as client:
            client.get("/health")
            return True
        return False


def descendants(parent: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        # A process can end while the list is read.
        with contextlib.suppress(OSError):
            state, above = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(above), []).append(int(path.parent.name))
    processes, waiting = [], [parent]
    while waiting:
        below = children.get(waiting.pop(), [])
        processes += below
        waiting += below
    return processes


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def alive(pids: list[int]) -> list[int]:
    """The processes that still run, after waiting until killed ones have ended."""
    deadline = time.monotonic() + WITHIN
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def emulating(
    folder: Path, artifact: Path, *arguments: str, forking: bool = True, services: S3Server | None = None
) -> Iterator[Emulator]:
    """Run the emulator until the block ends. Without `services`, it starts moto itself, which takes longer."""
    module = "tests.emulated.emulate" if forking else "local.emulate"
    command = ["-m", module, "--port", "0", "--artifact", str(artifact), *arguments]
    log = folder / "log"
    # The environment could point boto3 elsewhere.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SHARE_"))}
    if services is not None:
        environment |= services.environment()
    with log.open("wb") as output:
        preparation = "emulate" if forking else None
        emulator = Emulator(start(command, ROOT, environment, output.fileno(), preparation=preparation), log)
    try:
        until(emulator.serves)
        yield emulator
    finally:
        started = emulator.processes()
        if emulator.process.poll() is None:
            emulator.stop(signal.SIGTERM)
        assert alive(started) == []
