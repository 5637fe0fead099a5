"""How cost grows with the size of a file, the number of files, and the number of concurrent clients."""

from __future__ import annotations

import functools
import json
import math
import os
import random
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

from benchmarks import peers
from benchmarks.client import curl, expecting, get, load
from benchmarks.contestants import DATA
from benchmarks.counting import BUCKET
from benchmarks.harness import Result, Setup, WrongAnswer, interleave
from benchmarks.machine import memory
from benchmarks.small import fill
from benchmarks.transfers import MIB, make_file
from shared.options import Options
from shared.sharing import Shares
from shared.storage.s3.store import open_s3
from shared.uploads import Upload
from tests.servers import moto_server

SIZES = (1, 16, 256, 1024, 4096, 10_240)  # MiB
FILES = (0, 100, 1_000, 10_000, 100_000)
FILES_ON_MOTO = (0, 1_000, 10_000)
CLIENTS = (1, 4, 16, 64, 256)
REQUESTS = 2_000

WIDTH, HEIGHT, MARGIN = 560, 300, 60


def growth(setup: Setup) -> Result:
    """All three measurements, each with a plot that is stored with the results."""
    result = Result()
    for name, axis, measure in (
        ("sizes", "MiB", by_size),
        ("files", "files stored", by_files),
        ("clients", "clients at once", by_clients),
    ):
        one, series = measure(setup)
        result.add(one)
        result.plots[name] = plot(
            axis, {case: [(x, one.median(key)) for x, key in keys] for case, keys in series.items()}
        )
    return result


Series = Mapping[str, Sequence[tuple[float, str]]]


def by_size(setup: Setup) -> tuple[Result, Series]:
    """Speed and memory by file size."""
    result = Result()
    series: dict[str, list[tuple[float, str]]] = {"upload, MB/s": [], "download, MB/s": [], "peak memory, MiB": []}
    for mebibytes in SIZES:
        size = setup.sized(mebibytes * MIB)
        # Room for the file, for its stored copy, and for the next copy.
        if shutil.disk_usage(setup.work).free < 4 * size:
            result.notes.append(f"Too little room for {mebibytes} MiB.")
            break
        source = setup.work / "growing.bin"
        make_file(source, size)
        with peers.ours(setup.work / "growing") as server:
            trip = _Trip(server, source, size)
            cases = {f"upload of {mebibytes} MiB": trip.up, f"download of {mebibytes} MiB": trip.down}
            result.add(interleave(cases, min(setup.rounds, 3), "MB/s", warm_up=False))
            memory = _memory(result, server, f"{mebibytes} MiB")
        for case, name in zip(series, (*cases, memory), strict=True):
            series[case].append((mebibytes, name))
        shutil.rmtree(setup.work / "growing")
        source.unlink()
    return result, series


class _Trip:
    """A file that is uploaded repeatedly, and downloaded after each upload."""

    def __init__(self, server: peers.Server, source: Path, size: int) -> None:
        self._server = server
        self._source = source
        self._size = size
        self._link = ""

    def up(self) -> float:
        seconds, _, body = curl(f"{self._server.url}/file/upload", "-F", f"file=@{self._source}", wanted=[201])
        answer = json.loads(body)
        if answer["file_size"] != self._size:
            raise WrongAnswer("another size was stored")
        if self._link:
            # Delete the previous copy, so that the disk does not fill.
            shutil.rmtree(self._server.files / "files" / self._link.rpartition("/")[2][:2])
        self._link = answer["download_link"]
        return self._size / seconds / 1e6

    def down(self) -> float:
        seconds, received, _ = curl(self._link, "-o", os.devnull)
        if received != self._size:
            raise WrongAnswer(f"{received} bytes of {self._size}")
        return self._size / seconds / 1e6


def by_files(setup: Setup) -> tuple[Result, Series]:
    """Duration of a list page and an upload, and memory, by number of files, in a directory and on moto."""
    result = Result()
    series: dict[str, list[tuple[float, str]]] = {}
    stored = 0
    directory = setup.work / "filling"
    for number in FILES:
        wanted = setup.sized(number, 0)
        fill(directory, wanted - stored, b"x")
        stored = wanted
        with peers.ours(directory) as server:
            _with_files(result, series, setup, server, number, "directory")
        stored += _uploads(setup)
    with moto_server() as moto, mock.patch.dict(os.environ, moto.environment()):
        moto.client().create_bucket(Bucket=BUCKET)
        shares = Shares(open_s3(BUCKET, "files"), max_file_size=MIB)
        settings = {**moto.environment(), "SHARE_STORAGE": f"s3://{BUCKET}/files"}
        stored = 0
        for number in FILES_ON_MOTO:
            for _ in range(setup.sized(number, 0) - stored):
                upload = Upload(shares)
                upload.write(b"x")
                upload.finish("file.bin", "text/plain", Options())
            stored = max(stored, setup.sized(number, 0))
            with peers.ours(setup.work / str(uuid.uuid4()), settings=settings) as server:
                _with_files(result, series, setup, server, number, "moto")
            stored += _uploads(setup)
    return result, series


def _uploads(setup: Setup) -> int:
    return min(setup.rounds, 3) + 1


def _with_files(
    result: Result,
    series: dict[str, list[tuple[float, str]]],
    setup: Setup,
    server: peers.Server,
    number: int,
    where: str,
) -> None:
    source = setup.work / "one.bin"
    source.write_bytes(DATA)

    def upload() -> float:
        return curl(f"{server.url}/file/upload", "-F", f"file=@{source}", wanted=[201])[0] * 1000

    def page() -> float:
        after = str(uuid.UUID(int=random.getrandbits(128), version=4))
        return curl(f"{server.url}/file/metadata?limit=100&after={after}")[0] * 1000

    names = f"upload with {number:,} files, {where}", f"page of 100 of {number:,} files, {where}"
    result.add(interleave(dict(zip(names, (upload, page), strict=True)), min(setup.rounds, 3), "ms"))
    memory = _memory(result, server, f"{number:,} files, {where}")
    cases = f"upload, {where}, ms", f"page of 100, {where}, ms", f"peak memory, {where}, MiB"
    for case, name in zip(cases, (*names, memory), strict=True):
        series.setdefault(case, []).append((max(number, 1), name))


def _memory(result: Result, server: peers.Server, what: str) -> str:
    """Measure the peak memory of a server. Returns the name of that figure."""
    name = f"peak memory with {what}"
    result.figures[name] = [memory(server.process.pid, "VmHWM")]
    result.units[name] = "MiB"
    return name


def by_clients(setup: Setup) -> tuple[Result, Series]:
    """Small counted downloads per second, and memory, by number of concurrent clients."""
    result = Result()
    ids = fill(setup.work / "crowd", 200)
    series: dict[str, list[tuple[float, str]]] = {
        "one hot file, downloads/s": [],
        "many files, downloads/s": [],
        "peak memory, MiB": [],
    }
    for clients in CLIENTS:
        with peers.ours(setup.work / "crowd") as server:

            def rate(chosen: Sequence[str], server: peers.Server = server, clients: int = clients) -> float:
                count = setup.sized(REQUESTS, clients)
                requests = (get(f"/file/download/{chosen[number % len(chosen)]}") for number in range(count))
                return load(server.port, requests, clients, expecting(200, DATA)).rate

            names = f"one hot file, {clients} at once", f"many files, {clients} at once"
            cases = {names[0]: functools.partial(rate, ids[:1]), names[1]: functools.partial(rate, ids)}
            result.add(interleave(cases, min(setup.rounds, 3), "downloads/s"))
            memory = _memory(result, server, f"{clients} at once")
        for case, name in zip(series, (*names, memory), strict=True):
            series[case].append((clients, name))
    return result, series


def plot(axis: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """An SVG with two logarithmic axes."""
    points = [point for line in lines.values() for point in line]
    left, right = (pick(math.log10(x) for x, _ in points) for pick in (min, max))
    low, high = (
        round_(pick(math.log10(y) for _, y in points)) for pick, round_ in ((min, math.floor), (max, math.ceil))
    )

    def place(x: float, y: float) -> tuple[float, float]:
        rightwards = (math.log10(x) - left) / (right - left or 1)
        upwards = (math.log10(y) - low) / (high - low or 1)
        return MARGIN + rightwards * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - upwards * (HEIGHT - 2 * MARGIN)

    drawn = [f'<rect width="{WIDTH}" height="{HEIGHT + 20 * len(lines)}" fill="white"/>']
    for power in range(low, high + 1):
        y = place(10**left, 10**power)[1]
        drawn.append(f'<path d="M{MARGIN},{y:.0f} H{WIDTH - MARGIN}" stroke="#ddd"/>')
        drawn.append(f'<text x="{MARGIN - 6}" y="{y:.0f}" text-anchor="end">{10**power:,g}</text>')
    for value in sorted({x for x, _ in points}):
        x = place(value, 10**low)[0]
        drawn.append(f'<text x="{x:.0f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{value:,g}</text>')
    drawn.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - MARGIN + 36}" text-anchor="middle">{axis}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = f"hsl({number * 360 / len(lines):.0f} 70% 40%)"
        placed = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        drawn.append(f'<text x="{MARGIN}" y="{HEIGHT + 20 * number}" fill="{colour}">{name}</text>')
    size = f'width="{WIDTH}" height="{HEIGHT + 20 * len(lines)}"'
    namespace = 'xmlns="http://www.w3.org/2000/svg"'
    return f'<svg {namespace} {size} font-family="sans-serif" font-size="11">{"".join(drawn)}</svg>\n'
