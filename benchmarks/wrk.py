"""wrk as the client for small requests: it takes some 10 µs for each, so that fast servers are not held up by it."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import WrongAnswer
from benchmarks.machine import processor_time
from benchmarks.peers import HOST, Server

SCRIPT = Path(__file__).with_name("requests.lua")
NUMBER = "@" * 8  # in a request, becomes another number each time
TIMEOUT = 60  # seconds
SETTLE = 0.1
IDLE = 0.01  # of processor time in that


@dataclass(frozen=True)
class Run:
    """What a server answered, and the processor time that it took for that, in µs for each request."""

    requests: int
    seconds: float
    bytes: int
    processor: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def run(server: Server, requests: Sequence[bytes], seconds: int, connections: int, first: int = 0) -> Run:
    """Send requests for so many seconds, numbered from `first` on. Raises `WrongAnswer` if one fails."""
    with tempfile.NamedTemporaryFile() as file:
        for request in requests:
            file.write(b"%d\n" % len(request) + request)
        file.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT}s", f"--script={SCRIPT}"]
        command = ["wrk", *options, f"http://{HOST}:{server.port}", "--", file.name, str(first)]
        before = processor_time(server.process.pid).total
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        taken = processor_time(server.process.pid).total - before
    _settle(server)
    answered, microseconds, received, refused, broken = map(int, output.rstrip().rpartition("\n")[2].split())
    if refused or broken or not answered:
        raise WrongAnswer(f"of {answered} requests {refused} were refused and {broken} broke")
    return Run(answered, microseconds / 1e6, received, taken / answered * 1e6)


def _settle(server: Server) -> None:
    """Wait until a server is through with the requests that wrk has left behind."""
    before, now = -1.0, processor_time(server.process.pid).total
    deadline = time.monotonic() + TIMEOUT
    while now - before > IDLE and time.monotonic() < deadline:
        time.sleep(SETTLE)
        before, now = now, processor_time(server.process.pid).total
