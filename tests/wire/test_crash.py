"""The server, killed at random moments: acknowledged changes survive, and leftovers are swept."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from shared.scrub import scrub
from shared.sharing import Shares
from shared.storage.directory.data_directory import STAGING
from shared.storage.directory.spares import SPARES
from shared.storage.directory.store import DirectoryStore
from shared.sweeping import Sweep
from tests.forks import start
from tests.staged import staged
from tests.wire.server import ROOT, WITHIN, until

OPERATIONS = 200
KILLS = 4
CLIENTS = 6
WORKERS = 2
LARGEST = 300_000

HOUR = 3600
# Lifetimes of uploaded files in seconds: none, one that outlasts the sweeps below, and one that does not.
LONG = 200 * HOUR
LIFETIMES = (None, LONG, HOUR)
SWEEPS = (2, 25, 50, 75, 100)  # hours after the last crash


class Server:
    """`python -m local.serve` on a directory, in a process group that can be killed as a whole."""

    def __init__(self, data: Path) -> None:
        self._log = data.with_suffix(".log")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
        with self._log.open("wb") as log:
            self._process = start(
                ["-m", "local.serve", "--port", "0", "--workers", str(WORKERS)],
                ROOT,
                {**inherited, "SHARE_STORAGE": str(data), "SHARE_MIN_FREE_SPACE": "0"},
                log.fileno(),
                preparation="serve",
            )

    def __enter__(self) -> Self:
        try:
            until(self._is_ready)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def _is_ready(self) -> bool:
        log = self._log.read_text()
        assert self._process.poll() is None, log
        running = re.search(r"running on http://127\.0\.0\.1:([1-9][0-9]*)", log)
        if running is None or log.count("startup complete") < WORKERS:
            return False
        self._port = int(running[1])
        return True

    def kill(self) -> None:
        """Kill the supervisor and its workers at the same time, as a power cut would. Can be repeated."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes | None]:
        """Status and body of the answer, with None for an incomplete body. Raises `OSError` or `HTTPException` without
        one."""
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WITHIN)
        try:
            client.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = client.getresponse()
            try:
                return response.status, response.read()
            except (OSError, http.client.HTTPException):
                return response.status, None
        finally:
            client.close()


@dataclass
class File:
    """An acknowledged upload, and what its clients know about it."""

    file_id: str
    data: bytes
    lifetime: int | None
    delete_token: str
    attempted: int = 0
    downloaded: int = 0
    deletions: int = 0
    """The number of attempts."""
    deleted: bool = False


@dataclass
class Clients:
    """Clients that share a plan, and check and record every answer."""

    plan: list[tuple[str, float, bytes]]
    files: list[File] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    begun: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def have_begun(self, operations: int) -> bool:
        return self.begun >= operations

    def work(self, server: Server, killed: threading.Event) -> None:
        """Run one operation after another until the plan is done or the server is dead."""
        while not killed.is_set():
            with self._guard:
                if self.begun == len(self.plan):
                    return
                kind, choice, data = self.plan[self.begun]
                self.begun += 1
                file = self.files[int(choice * len(self.files))] if self.files else None
            try:
                if kind == "upload" or file is None:
                    self._upload(server, LIFETIMES[int(choice * len(LIFETIMES))], data)
                elif kind == "download":
                    self._download(server, file)
                else:
                    self._delete(server, file)
            except (OSError, http.client.HTTPException):
                # Without an answer, only the attempt is certain.
                continue

    def _upload(self, server: Server, lifetime: int | None, data: bytes) -> None:
        query = "" if lifetime is None else f"?expires_in={lifetime}"
        status, body = server.ask("PUT", f"/file/upload/file.bin{query}", data)
        if self._expect(status, {201}) and body is not None:
            answer = json.loads(body)
            with self._guard:
                self.files.append(File(answer["file_id"], data, lifetime, answer["delete_token"]))

    def _download(self, server: Server, file: File) -> None:
        with self._guard:
            file.attempted += 1
        status, body = server.ask("GET", f"/file/download/{file.file_id}")
        if self._expect(status, {200, 404} if file.deletions else {200}) and status == 200:
            with self._guard:
                file.downloaded += 1
            if body is not None and body != file.data:
                self.wrong.append("other bytes than were uploaded")

    def _delete(self, server: Server, file: File) -> None:
        with self._guard:
            file.deletions += 1
        status, _ = server.ask("DELETE", f"/file/{file.file_id}", X_Delete_Token=file.delete_token)
        if self._expect(status, {204, 404} if file.deletions > 1 else {204}) and status == 204:
            file.deleted = True

    def _expect(self, status: int, allowed: set[int]) -> bool:
        if status not in allowed:
            self.wrong.append(f"{status} instead of {allowed}")
        return status in allowed


def make_plan(chance: random.Random) -> list[tuple[str, float, bytes]]:
    """The operations: their kind, a number that selects a file, and bytes to upload."""
    kinds = chance.choices(("upload", "download", "delete"), (5, 4, 1), k=OPERATIONS)
    sizes = [chance.choice((0, 1, chance.randrange(LARGEST), LARGEST)) for _ in kinds]
    return [(kind, chance.random(), chance.randbytes(size)) for kind, size in zip(kinds, sizes, strict=True)]


def killed_again_and_again(data: Path, seed: int) -> Clients:
    """Carry out the plan with a server that is repeatedly killed and restarted."""
    chance = random.Random(seed)
    clients = Clients(make_plan(chance))
    moments = sorted(chance.sample(range(CLIENTS, OPERATIONS - CLIENTS), KILLS))
    for moment in (*moments, OPERATIONS):
        killed = threading.Event()
        with Server(data) as server, ThreadPoolExecutor(CLIENTS) as pool:
            working = [pool.submit(clients.work, server, killed) for _ in range(CLIENTS)]
            if moment < OPERATIONS:
                until(partial(clients.have_begun, moment))
                # The running operations are at random steps by then.
                killed.wait(chance.uniform(0, 0.03))
                killed.set()
                server.kill()
            for each in working:
                each.result(WITHIN)
    return clients


def advanced(data: Path, hours: int) -> Shares:
    now = datetime.now(UTC) + timedelta(hours=hours)
    return Shares(DirectoryStore(data), max_file_size=LARGEST, clock=lambda: now)


def damage(shares: Shares) -> list[str]:
    report: list[str] = []
    return [] if scrub(shares, report.append) else report


def ids_in(data: Path, folder: str) -> set[str]:
    return {path.name.partition(".")[0] for path in (data / folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed", [5])
def test_a_server_killed_at_random_moments_keeps_its_word(tmp_path: Path, seed: int) -> None:
    data = tmp_path / "data"
    clients = killed_again_and_again(data, seed)
    assert clients.wrong == []
    assert clients.begun == OPERATIONS

    certain = [file for file in clients.files if not file.deletions]
    deleted = {file.file_id for file in clients.files if file.deleted}
    # The plan had enough operations of every kind.
    assert len(certain) > OPERATIONS / 8
    assert deleted
    assert sum(file.downloaded for file in certain) > OPERATIONS / 8

    restarted = advanced(data, 0)
    for file in certain:
        stored = restarted.find(file.file_id)
        assert file.downloaded <= stored.record.download_count <= file.attempted
        with contextlib.closing(restarted.open(stored, 0, stored.record.file_size)) as payload:
            assert b"".join(iter(partial(payload.read, LARGEST), b"")) == file.data
    assert damage(restarted) == []

    for hours in SWEEPS:
        assert Sweep(advanced(data, hours)).run().failed == 0
    records = ids_in(data, "metadata")
    assert records == ids_in(data, "files")
    assert {file.file_id for file in certain if file.lifetime != HOUR} <= records
    assert not any(file.file_id in records for file in clients.files if file.lifetime == HOUR)
    assert damage(advanced(data, SWEEPS[-1])) == []
    assert staged(data) == []
    assert not any(file_id in path.name for path in data.rglob("*") for file_id in deleted)

    # Once the last file has expired, no entries are left, not even of unacknowledged uploads.
    for hours in SWEEPS:
        Sweep(advanced(data, LONG // HOUR + hours)).run()
    assert ids_in(data, "expiries") == set()
    assert {path.name for path in data.iterdir()} == {"files", "metadata", "expiries", "secret", STAGING, SPARES}
