"""wrk as the client for small requests: it needs only about 10 µs for each, so it does not slow fast servers down."""

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
NUMBER = "@" * 8  # replaced by a new number in each request
TIMEOUT = 60  # seconds
SETTLE = 0.1
IDLE = 0.01  # of processor time during that


@dataclass(frozen=True)
class Run:
    """The results of a run, and the server's processor time per request in µs."""

    requests: int
    seconds: float
    bytes: int
    processor: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def run(server: Server, requests: Sequence[bytes], seconds: int, connections: int, first: int = 0) -> Run:
    """Send requests for this many seconds, numbered from `first`. Raises `WrongAnswer` if one fails."""
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
    """Wait until the server has finished the requests that wrk abandoned at the end."""
    before, now = -1.0, processor_time(server.process.pid).total
    deadline = time.monotonic() + TIMEOUT
    while now - before > IDLE and time.monotonic() < deadline:
        time.sleep(SETTLE)
        before, now = now, processor_time(server.process.pid).total
