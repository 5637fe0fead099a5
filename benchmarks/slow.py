"""Small files on slow storage: requests a second, and how much longer those for other files take meanwhile."""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from benchmarks import peers
from benchmarks.client import ask, get, post_file
from benchmarks.contestants import DATA
from benchmarks.distant_s3 import BUCKET
from benchmarks.harness import Goal, Measure, Result, Setup, WrongAnswer, interleave, percentile
from benchmarks.peers import HOST, ROOT, Server
from benchmarks.wrk import run

FILES = 50
SECONDS = 4
BETWEEN = 0.01  # seconds from one request for another file to the next
IDLE = 0.5  # seconds of such requests before each case, while nothing else happens
UP, DOWN, HOT = "uploads", f"downloads of {FILES} files", "downloads of one file"
# For each kind of `slow_server`: what it is, with how many clients it is measured, and what they do.
STORAGE = {
    "syncs": ("10 ms at each sync", (4, 32, 100), (UP, DOWN)),
    "calls": ("10 ms at each call", (4, 32, 100), (UP, DOWN)),
    "all calls": ("10 ms at each call, nothing in memory", (32,), (UP, DOWN)),
    "S3": ("S3, 28 ms a request", (50,), (UP, DOWN, HOT)),
}
OTHERS = ", others"  # ends the names of such figures


def slow(setup: Setup) -> Result:
    """Requests a second, and by how much the metadata of another file then takes longer (p99) than on an idle server.

    Rates are held against those of other checkouts, with room for noise.
    """
    checkouts = {"": ROOT, **{f", the code in {checkout.name}": checkout for checkout in setup.against}}
    seconds = max(1, round(SECONDS * setup.scale))
    cases: dict[str, Measure] = {}
    goals: list[Goal] = []
    with contextlib.ExitStack() as stack:
        for kind, (storage, clients, requests) in STORAGE.items():
            running: list[tuple[str, Server, str, dict[str, list[bytes]]]] = []
            for number, (code, checkout) in enumerate(checkouts.items()):
                server = stack.enter_context(_server(setup.work / f"{kind} {number}", kind, checkout))
                other, *ids = [_upload(server) for _ in range(1 + FILES)]
                downloads = [get(f"/file/download/{file_id}") for file_id in ids]
                running.append((code, server, other, {UP: [_UPLOAD], DOWN: downloads, HOT: downloads[:1]}))
            for what, count in itertools.product(requests, clients):
                case = f"{what}, {storage}, {count} clients"
                for code, server, other, sent in running:
                    name = case + code
                    cases[name] = functools.partial(_measure, name, server, other, sent[what], seconds, count)
                    goals += [Goal("slow", case, case, name, least=0.9)] if code else []
                goals.append(Goal("slow", case + OTHERS, case + OTHERS, most=50, unit="ms"))
        result = interleave(cases, setup.rounds, "requests/s")
    result.units |= {name: "ms" for name in result.figures if name.endswith(OTHERS)}
    result.goals = goals
    return result


_UPLOAD = post_file("/file/upload", DATA)


def _server(work: Path, kind: str, checkout: Path) -> contextlib.AbstractContextManager[Server]:
    settings = {"SHARE_STORAGE": f"s3://{BUCKET}"} if kind == "S3" else {}
    return peers.ours(work, program=("benchmarks.slow_server", kind), settings=settings, checkout=checkout)


def _upload(server: Server) -> str:
    file_id: str = json.loads(ask(server.port, _UPLOAD, (201,))[1])["file_id"]
    return file_id


def _measure(
    name: str, server: Server, other: str, requests: Sequence[bytes], seconds: int, clients: int
) -> dict[str, float]:
    idle = median(_ask_for(server, other, IDLE))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(_ask_for, server, other, seconds)
        rate = run(server, requests, seconds, clients).rate
    # Without its processor time, because the requests for the other file take some, too.
    return {name: rate, name + OTHERS: (percentile(waiting.result(), 0.99) - idle) * 1000}


def _ask_for(server: Server, file_id: str, seconds: float) -> list[float]:
    """Ask for the metadata of this file. Returns how long each request took, in seconds."""
    latencies: list[float] = []
    end = time.monotonic() + seconds
    with contextlib.closing(http.client.HTTPConnection(HOST, server.port)) as connection:
        while (began := time.monotonic()) < end:
            connection.request("GET", f"/file/metadata/{file_id}")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise WrongAnswer(f"status {answer.status} for the metadata of another file")
            latencies.append(time.monotonic() - began)
            time.sleep(BETWEEN)
    return latencies
