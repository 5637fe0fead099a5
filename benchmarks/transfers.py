"""P2 and P3: how soon a range begins, and how much memory large files need."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import peers
from benchmarks.client import curl
from benchmarks.harness import Goal, Result, Setup, WrongAnswer, interleave
from benchmarks.machine import memory as occupied
from benchmarks.peers import Server

MIB = 1024 * 1024
SIZE = 1024 * MIB
FAR_SIZE = 10 * 1024 * MIB
CHUNK = bytes(range(256)) * 4096
EARLY = 1000  # bytes that show where a range begins


def make_file(path: Path, size: int) -> str:
    """Fill a file with bytes that do not repeat. Returns their SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(0, size, len(CHUNK)):
            chunk = (number.to_bytes(8, "big") + CHUNK)[: min(len(CHUNK), size - number)]
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def sha256(path: Path, start: int = 0, stop: int | None = None) -> str:
    """The SHA-256 of a file in hex, or of its bytes `[start, stop)`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        left = path.stat().st_size - start if stop is None else stop - start
        while left and (data := file.read(min(left, MIB))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()


def starts(setup: Setup) -> Result:
    """P2: how soon a range in the middle of a huge file begins."""
    with peers.ours(setup.work / "ours") as server:
        far, begins = _far_file(setup, server)
        first, middle = "first byte of a huge file", "first byte from its middle"
        cases = {first: lambda: begins(0), middle: lambda: begins(far // 2)}
        result = interleave(cases, setup.rounds * 5, "ms")
    result.goals = [Goal("P2", "start in the middle", middle, first, most=1.5)]
    return result


def _far_file(setup: Setup, server: Server) -> tuple[int, Callable[[int], float]]:
    """A file whose blob is a hole except for its frame. Returns its size, and a function that times a range of it."""
    size = setup.sized(FAR_SIZE)
    _, _, body = curl(f"{server.url}/file/upload", "-F", f"file=@{os.devnull};filename=far.bin")
    file_id = json.loads(body)["file_id"]
    blob = server.files / "files" / file_id[:2] / f"{file_id}.pickle"
    with blob.open("wb") as file:
        file.write(b"\x80\x04\x8e" + size.to_bytes(8, "little"))
        file.seek(11 + size)
        file.write(b".")
    record = server.files / "metadata" / file_id[:2] / f"{file_id}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "file_size": size}))

    def begins(start: int) -> float:
        span = f"{start}-{start + EARLY - 1}"
        _, received, printed = curl(
            f"{server.url}/file/download/{file_id}",
            *("-r", span, "-o", os.devnull, "-w", "%{time_starttransfer}\n%{http_code} %{time_total} %{size_download}"),
            wanted=[206],
        )
        if received != EARLY:
            raise WrongAnswer(f"{received} bytes of a range")
        return float(printed) * 1000

    return size, begins


def memory(setup: Setup) -> Result:
    """P3: how much memory large files need, beyond that of the idle process."""
    source = setup.work / "memory.bin"
    make_file(source, setup.sized(SIZE))

    def send(server: Server) -> str:
        """Upload the file. Returns its download link."""
        _, _, body = curl(f"{server.url}/file/upload", "-F", f"file=@{source}", wanted=[201])
        return f"{server.url}/file/download/{json.loads(body)['file_id']}"

    def peak(prepare: Callable[[Server], Callable[[], object]]) -> float:
        with _fresh(setup) as server:
            curl(f"{server.url}/health")
            idle = occupied(server.process.pid, "VmRSS")
            act = prepare(server)
            # This resets the peak (proc_pid_clear_refs(5)).
            Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
            act()
            return occupied(server.process.pid, "VmHWM") - idle

    def up(server: Server) -> Callable[[], object]:
        return lambda: send(server)

    def down(server: Server) -> Callable[[], object]:
        url = send(server)
        return lambda: curl(url, "-o", os.devnull)

    result = interleave(
        {"memory for an upload": lambda: peak(up), "memory for a download": lambda: peak(down)},
        setup.rounds,
        "MiB over idle",
        warm_up=False,
    )
    result.goals = [Goal("P3", f"peak {name}", name, most=32, unit="MiB over idle") for name in list(result.figures)]
    return result


@contextlib.contextmanager
def _fresh(setup: Setup) -> Iterator[Server]:
    files = setup.work / "fresh"
    with peers.ours(files) as server:
        yield server
    shutil.rmtree(files)
