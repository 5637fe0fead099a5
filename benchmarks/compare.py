"""The comparison: every contestant in turn, with large and small files; and the table in the README."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.client import ask, curl, get
from benchmarks.contestants import (
    CONTESTANTS,
    COPYPARTY,
    DATA,
    NGINX,
    OURS,
    SEED,
    SIZE,
    TWO_WORKERS,
    UNSYNCED,
    Contestant,
    of_checkout,
    with_two,
)
from benchmarks.harness import PROCESSOR, Goal, Measure, Result, Setup, WrongAnswer, interleave, number_text
from benchmarks.machine import peak_memory
from benchmarks.peers import FOLDER, Server
from benchmarks.transfers import MIB, make_file, sha256
from benchmarks.wrk import run

LARGE = 1024 * MIB
FILES = 1000
SECONDS = 3  # duration of each run of small requests

UP, DOWN = "1 GiB up", "1 GiB down"
SMALL_UP, HOT, MANY = "10 KiB up", "one 10 KiB file down", "1,000 of them down"
COLUMNS = (UP, DOWN, SMALL_UP, HOT, MANY)
SYNCED_NGINX = "nginx with fsync"


def compare(setup: Setup) -> Result:
    """P1, P2, P4, P5, P13 and P14, and the table. Also for other checkouts."""
    checkouts = [of_checkout(checkout) for checkout in setup.against]
    contestants = [*CONTESTANTS, *itertools.chain(*checkouts)]
    source = setup.work / "source.bin"
    digest = make_file(source, setup.sized(LARGE))
    result = Result()
    with contextlib.ExitStack() as stack:
        running = [
            (contestant, stack.enter_context(contestant.start(setup.work / f"server-{number}")))
            for number, contestant in enumerate(contestants)
        ]
        large: dict[str, Measure] = {}
        small: dict[str, Measure] = {}
        for contestant, server in running:
            entrant = _Entrant(setup, contestant, server, source, digest)
            large |= entrant.large()
            small |= entrant.small()
        result.add(interleave(large, setup.rounds, "MB/s"))
        result.add(interleave(small, setup.rounds, "requests/s"))
        for contestant, server in running:
            result.figures[f"memory, {contestant.name}"] = [peak_memory(server.process.pid)]
    for name in (OURS, *(single.name for single, _ in checkouts)):
        result.goals += _goals(name)
    result.notes = [*result.notes, "", *faster(result), "", *table(result, contestants)]
    return result


class _Entrant:
    """One contestant with its running server, and its measurements."""

    def __init__(self, setup: Setup, contestant: Contestant, server: Server, source: Path, digest: str) -> None:
        self._contestant = contestant
        self._server = server
        self._source = source
        self._size = source.stat().st_size
        self._digest = digest
        self._seconds = max(1, round(SECONDS * setup.scale))
        self._paths = [contestant.store(server, number) for number in range(setup.sized(FILES))]
        self._sent = len(self._paths)

    def large(self) -> dict[str, Measure]:
        name = self._contestant.name
        cases: dict[str, Measure] = {}
        if self._contestant.large:
            cases[f"{UP}, {name}"] = lambda: {f"{UP}, {name}": self._up()}
        if name == NGINX:
            cases[f"{UP}, {SYNCED_NGINX}"] = lambda: {f"{UP}, {SYNCED_NGINX}": self._up(synced=True)}
        # What nobody sends can only be put into a directory that is served unchanged.
        if name != UNSYNCED and (self._contestant.large or self._contestant.path is None):
            url = self._server.url + self._store_large()
            cases[f"{DOWN}, {name}"] = lambda: {f"{DOWN}, {name}": self._down(url)}
        return cases

    def small(self) -> dict[str, Measure]:
        name = self._contestant.name
        cases: dict[str, Measure] = {}
        if self._contestant.upload:
            cases[SMALL_UP] = lambda: self._small_up(f"{SMALL_UP}, {name}")
        if name != UNSYNCED:
            cases[HOT] = lambda: self._small_down(f"{HOT}, {name}", self._paths[:1])
            cases[MANY] = lambda: self._small_down(f"{MANY}, {name}", self._paths)
        return {f"{case}, {name}": measure for case, measure in cases.items()}

    def _send_large(self) -> tuple[float, Path, str]:
        """Upload the large file. Returns the duration in seconds, the stored file, and its path for downloads."""
        *options, target = self._contestant.large
        values = {"FILE": str(self._source), "SIZE": str(self._size)}
        arguments = [functools.reduce(lambda text, item: text.replace(*item), values.items(), one) for one in options]
        before = self._files(self._size)
        seconds, _, printed = curl(self._server.url + target, "-i", *arguments)
        [stored] = self._files(self._size) - before
        head, _, body = printed.partition(b"\r\n\r\n")
        path = self._contestant.path
        return seconds, stored, "" if path is None else path(head.decode("latin-1"), body)

    def _up(self, synced: bool = False) -> float:
        seconds, stored, _ = self._send_large()
        if synced:
            seconds += _sync(stored)
        self._check(stored)
        stored.unlink()
        # Data that the kernel has still to write must not slow the next upload down.
        os.sync()
        return self._size / seconds / 1e6

    def _check(self, stored: Path) -> None:
        start = self._contestant.offset
        if sha256(stored, start, start + self._size) != self._digest:
            raise WrongAnswer(f"{self._contestant.name} stored something else")

    def _store_large(self) -> str:
        """Store the large file. Returns its path for downloads."""
        if self._contestant.path is not None:
            return self._send_large()[2]
        path = f"/{FOLDER}/download.bin"
        shutil.copy(self._source, self._server.files / path[1:])
        return path

    def _down(self, url: str) -> float:
        seconds, received, _ = curl(url, "-o", os.devnull)
        if received != self._size:
            raise WrongAnswer(f"{received} bytes from {url}")
        return self._size / seconds / 1e6

    def _small_up(self, case: str) -> dict[str, float]:
        before = self._files(SIZE)
        sent = run(self._server, [self._contestant.upload], self._seconds, self._contestant.connections, self._sent)
        new = self._files(SIZE) - before
        # Some uploads are still in transit when a run ends.
        if not sent.requests <= len(new) <= sent.requests + 2 * self._contestant.connections:
            raise WrongAnswer(f"{self._contestant.name} stored {len(new)} of {sent.requests} uploads")
        self._sent += len(new) + self._contestant.connections
        # Nothing is deleted: ext4 skips inodes that were freed recently, so all later uploads would take longer.
        os.sync()
        return {case: sent.rate, f"{case}{PROCESSOR}": sent.processor}

    def _small_down(self, case: str, paths: list[str]) -> dict[str, float]:
        _, body = ask(self._server.port, get(paths[0]))
        if body != DATA:
            raise WrongAnswer(f"{self._contestant.name} sent {len(body)} other bytes")
        received = run(self._server, [get(path) for path in paths], self._seconds, self._contestant.connections)
        if received.bytes < received.requests * SIZE:
            raise WrongAnswer(f"{self._contestant.name} sent too little")
        return {case: received.rate, f"{case}{PROCESSOR}": received.processor}

    def _files(self, least: int) -> set[Path]:
        """The stored files that have at least this many bytes."""
        files = set()
        for path in self._server.files.rglob("*"):
            # The temporary file of an interrupted upload can disappear.
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_size >= least:
                    files.add(path)
        return files


def _sync(path: Path) -> float:
    began = time.perf_counter()
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - began


def _goals(name: str) -> list[Goal]:
    """The goals of this project, for the code of this name."""
    code = "" if name == OURS else f", {name}"

    def ours(part: str, case: str, theirs: str, least: float) -> Goal:
        return Goal(part, case + code, f"{case}, {name}", f"{case}, {theirs}", least=least)

    def workers(case: str) -> Goal:
        return Goal("P13", f"{case}, 2 workers{code}", f"{case}, {with_two(name)}", f"{case}, {name}", least=1.3)

    def processor(case: str, most: float) -> Goal:
        return Goal("P14", case + code, f"{case}, {name}{PROCESSOR}", most=most, unit="µs of processor time")

    return [
        ours("P1", UP, SYNCED_NGINX, 0.85),
        ours("P1", UP, COPYPARTY, 1.5),
        ours("P1", UP, SEED, 2),
        ours("P2", DOWN, NGINX, 0.8),
        ours("P2", DOWN, COPYPARTY, 0.8),
        ours("P2", DOWN, SEED, 2),
        ours("P4", HOT, COPYPARTY, 1.3),
        ours("P4", MANY, COPYPARTY, 0.6),
        ours("P5", SMALL_UP, COPYPARTY, 1),
        *map(workers, (SMALL_UP, HOT, MANY)),
        processor(SMALL_UP, 900),
        processor(HOT, 280),
        processor(MANY, 700),
    ]


def faster(result: Result) -> list[str]:
    """Markdown: for each column, the contestants that are faster than this project with one worker, fastest first."""
    lines = []
    for column in COLUMNS:
        ratios = {
            contestant.name: median(result.quotients(f"{column}, {contestant.name}", f"{column}, {OURS}"))
            for contestant in CONTESTANTS
            if contestant.name not in (OURS, TWO_WORKERS, UNSYNCED) and f"{column}, {contestant.name}" in result.figures
        }
        those = [f"{name} ({ratio:.2g} times)" for name, ratio in _descending(ratios) if ratio > 1]
        lines.append(f"- **{column}**: {', '.join(those) or 'nobody'}.")
    return lines


def table(result: Result, contestants: Sequence[Contestant] = CONTESTANTS) -> list[str]:
    """A Markdown table of medians, with a row for each contestant."""
    lines = [
        f"| | durable | counted | {' | '.join(COLUMNS)} | memory |",
        "| --- | --- | --- |" + " ---: |" * (len(COLUMNS) + 1),
    ]
    for contestant in contestants:
        name = contestant.name
        memory = number_text(result.median(f"memory, {name}"))
        cells = [_cell(result, f"{column}, {name}") for column in COLUMNS]
        yes = ["yes" if flag else "no" for flag in (contestant.durable, contestant.counted)]
        lines.append(f"| {' | '.join([name, *yes, *cells, memory])} |")
    return lines


def _cell(result: Result, case: str) -> str:
    if case not in result.figures:
        return ""
    processor = (
        f" ({number_text(result.median(f'{case}{PROCESSOR}'))})" if f"{case}{PROCESSOR}" in result.figures else ""
    )
    return number_text(result.median(case)) + processor


def _descending(ratios: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(ratios.items(), key=lambda item: -item[1])
