"""P1 to P3: large files up and down, and the memory that takes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import peers
from benchmarks.client import curl
from benchmarks.harness import Goal, Result, Setup, WrongAnswer, interleave
from benchmarks.peers import Server

MIB = 1024 * 1024
SIZE = 1024 * MIB
FAR_SIZE = 10 * 1024 * MIB
CHUNK = bytes(range(256)) * 4096
EARLY = 1000  # bytes that show where a range begins


def make_file(path: Path, size: int) -> str:
    """Fill a file with bytes that do not repeat, and return their SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(0, size, len(CHUNK)):
            chunk = (number.to_bytes(8, "big") + CHUNK)[: min(len(CHUNK), size - number)]
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def sha256(path: Path, start: int = 0, stop: int | None = None) -> str:
    """SHA-256 in hex of a file, or of the bytes `[start, stop)` of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        left = path.stat().st_size - start if stop is None else stop - start
        while left and (data := file.read(min(left, MIB))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()


class _Uploads:
    """One file, sent to each server again and again; what was stored is checked and removed outside the clock."""

    def __init__(self, source: Path, digest: str) -> None:
        self.source = source
        self.size = source.stat().st_size
        self.digest = digest

    def to_us(self, server: Server) -> float:
        seconds, _, body = curl(f"{server.url}/file/upload", "-F", f"file=@{self.source}", wanted=[201])
        answer = json.loads(body)
        if (answer["sha256"], answer["file_size"]) != (self.digest, self.size):
            raise WrongAnswer("we stored something else")
        file_id = answer["file_id"]
        blob = server.files / "files" / file_id[:2] / f"{file_id}.pickle"
        if sha256(blob, 11, 11 + self.size) != self.digest:
            raise WrongAnswer("our blob holds something else")
        curl(f"{server.url}/file/{file_id}", "-X", "DELETE", "-H", f"X-Delete-Token: {answer['delete_token']}")
        return self._speed(seconds)

    def to_nginx(self, server: Server, *, synced: bool) -> float:
        seconds, _, _ = curl(f"{server.url}/upload.bin", "-T", str(self.source))
        stored = server.files / "upload.bin"
        if synced:
            seconds += _sync(stored)
        self._check(stored)
        return self._speed(seconds)

    def to_copyparty(self, server: Server) -> float:
        seconds, _, _ = curl(f"{server.url}/", "-F", "act=bput", "-F", f"f=@{self.source}")
        self._check(*server.files.glob("*.bin"))
        return self._speed(seconds)

    def to_seed(self, server: Server) -> float:
        seconds, _, body = curl(f"{server.url}/upload", "-F", f"file=@{self.source}")
        stored = server.files / f"{json.loads(body)['file_id']}.pickle"
        # The pickler's own frame is in front and behind.
        if not self.size < stored.stat().st_size < self.size + 100:
            raise WrongAnswer("the seed stored something else")
        stored.unlink()
        return self._speed(seconds)

    def _check(self, *stored: Path) -> None:
        if [sha256(path) for path in stored] != [self.digest]:
            raise WrongAnswer("a peer stored something else")
        for path in stored:
            path.unlink()

    def _speed(self, seconds: float) -> float:
        return self.size / seconds / 1e6


def uploads(setup: Setup) -> Result:
    """P1: one large file by a multipart form, hashed and durable; by PUT and a sync of its own for nginx."""
    source = setup.work / "upload.bin"
    sent = _Uploads(source, make_file(source, setup.sized(SIZE)))
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(peers.ours(setup.work / "ours"))
        unsynced = stack.enter_context(peers.ours(setup.work / "unsynced", synced=False))
        nginx = stack.enter_context(peers.nginx(setup.work / "nginx"))
        copyparty = stack.enter_context(peers.copyparty(setup.work / "copyparty"))
        seed = stack.enter_context(peers.seed(setup.work / "seed"))
        cases: dict[str, Callable[[], float]] = {
            "upload, ours": lambda: sent.to_us(mine),
            "upload, ours without sync": lambda: sent.to_us(unsynced),
            "upload, nginx with sync": lambda: sent.to_nginx(nginx, synced=True),
            "upload, nginx": lambda: sent.to_nginx(nginx, synced=False),
            "upload, copyparty": lambda: sent.to_copyparty(copyparty),
            "upload, seed": lambda: sent.to_seed(seed),
        }
        result = interleave(cases, setup.rounds, "MB/s")
    durable, bare = "upload, ours", "upload, ours without sync"
    result.goals = [
        Goal("P1", "durable upload", durable, "upload, nginx with sync", least=0.85),
        Goal("P1", "durable upload", durable, "upload, copyparty", least=1.5),
        Goal("P1", "durable upload", durable, "upload, seed", least=2),
        Goal("P1", "upload without sync", bare, "upload, nginx", least=0.7),
        Goal("P1", "upload without sync", bare, "upload, copyparty", least=2),
        Goal("P1", "upload without sync", bare, "upload, seed", least=3),
    ]
    return result


def downloads(setup: Setup) -> Result:
    """P2: one large file, counted; and how soon a range in the middle of a far larger one begins."""
    source = setup.work / "download.bin"
    digest = make_file(source, setup.sized(SIZE))
    size = source.stat().st_size
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(peers.ours(setup.work / "ours"))
        nginx = stack.enter_context(peers.nginx(setup.work / "nginx"))
        copyparty = stack.enter_context(peers.copyparty(setup.work / "copyparty"))
        seed = stack.enter_context(peers.seed(setup.work / "seed"))
        for server in (nginx, copyparty):
            shutil.copy(source, server.files / "download.bin")
        file_id = json.loads(curl(f"{mine.url}/file/upload", "-F", f"file=@{source}")[2])["file_id"]
        seed_id = json.loads(curl(f"{seed.url}/upload", "-F", f"file=@{source}")[2])["file_id"]
        far, begins = _far_file(setup, mine)
        urls = {
            "download, ours": f"{mine.url}/file/download/{file_id}",
            "download, nginx": f"{nginx.url}/download.bin",
            "download, copyparty": f"{copyparty.url}/download.bin",
            "download, seed": f"{seed.url}/download/{seed_id}",
        }
        target = setup.work / "received.bin"
        for url in urls.values():
            curl(url, "-o", str(target))
            if sha256(target) != digest:
                raise WrongAnswer(f"other bytes from {url}")
        target.unlink()

        def speed(url: str) -> float:
            seconds, received, _ = curl(url, "-o", os.devnull)
            if received != size:
                raise WrongAnswer(f"{received} bytes from {url}")
            return size / seconds / 1e6

        result = interleave({name: lambda url=url: speed(url) for name, url in urls.items()}, setup.rounds, "MB/s")  # type: ignore[misc]
        result.add(
            interleave(
                {
                    "first byte of a huge file": lambda: begins(0),
                    "first byte from its middle": lambda: begins(far // 2),
                },
                setup.rounds * 5,
                "ms",
            )
        )
        counted = json.loads(curl(f"{mine.url}/file/metadata/{file_id}")[2])["download_count"]
    # One to look at the bytes, and a round to warm up.
    if counted != setup.rounds + 2:
        raise WrongAnswer(f"{counted} downloads counted")
    result.goals = [
        Goal("P2", "counted download", "download, ours", "download, nginx", least=1.2),
        Goal("P2", "counted download", "download, ours", "download, copyparty", least=0.9),
        Goal("P2", "counted download", "download, ours", "download, seed", least=3.5),
        Goal("P2", "start in the middle", "first byte from its middle", "first byte of a huge file", most=1.5),
    ]
    return result


def _far_file(setup: Setup, server: Server) -> tuple[int, Callable[[int], float]]:
    """A file whose blob is one hole but for its frame; its size, and a measure of how soon a range of it begins."""
    size = setup.sized(FAR_SIZE)
    _, _, body = curl(f"{server.url}/file/upload", "-F", f"file=@{os.devnull};filename=far.bin")
    file_id = json.loads(body)["file_id"]
    blob = server.files / "files" / file_id[:2] / f"{file_id}.pickle"
    with blob.open("wb") as file:
        file.write(b"\x80\x04\x8e" + size.to_bytes(8, "little"))
        file.seek(11 + size)
        file.write(b".")
    record = server.files / "metadata" / file_id[:2] / f"{file_id}.json"
    record.write_text(re.sub(r'"file_size": 0', f'"file_size": {size}', record.read_text()))

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
    """P3: how much memory large files take, over what the idle process has."""
    source = setup.work / "memory.bin"
    digest = make_file(source, setup.sized(SIZE))
    sent = _Uploads(source, digest)

    def peak(prepare: Callable[[Server], Callable[[], object]]) -> float:
        with _fresh(setup) as server:
            curl(f"{server.url}/health")
            idle = server.memory("VmRSS")
            act = prepare(server)
            # From here on the peak is counted anew.
            Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
            act()
            return server.memory("VmHWM") - idle

    def up(server: Server) -> Callable[[], object]:
        return lambda: sent.to_us(server)

    def down(server: Server) -> Callable[[], object]:
        _, _, body = curl(f"{server.url}/file/upload", "-F", f"file=@{source}")
        url = f"{server.url}/file/download/{json.loads(body)['file_id']}"
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


def _sync(path: Path) -> float:
    import time

    began = time.perf_counter()
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - began
