"""P4 to P6 and P9: many small files, one hot file, exact counts under load, and a page of a long list."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from benchmarks import peers
from benchmarks.client import Check, curl, expecting, form_field, get, load, post_file
from benchmarks.harness import Goal, Result, Setup, WrongAnswer, interleave, percentile
from benchmarks.peers import Server
from benchmarks.unsynced import nothing
from shared.options import Options
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.uploads import Upload

CONNECTIONS = 32
SIZE = 10 * 1024
DATA = random.Random(0).randbytes(SIZE)
DOWNLOADS = 3000
UPLOADS = 2000
SPREAD_FILES = 1000
STORED = 100_000


DATA_ONLY = expecting(200, DATA)


def fill(directory: Path, count: int, data: bytes = DATA) -> list[str]:
    """Store so many files in our layout; their IDs."""
    shares = Shares(DirectoryStore(directory), max_file_size=len(data))
    ids = []
    # They are only made to be measured with.
    with mock.patch.object(os, "fsync", nothing):
        for _ in range(count):
            upload = Upload(shares)
            upload.write(data)
            ids.append(upload.finish("file.bin", "application/octet-stream", Options()).file_id)
    return ids


def downloads(setup: Setup) -> Result:
    """P4: small files down, counted and durable: one hot file, and many."""
    count = setup.sized(DOWNLOADS, CONNECTIONS)
    ids = fill(setup.work / "ours", setup.sized(SPREAD_FILES))
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(peers.ours(setup.work / "ours"))
        copyparty = stack.enter_context(peers.copyparty(setup.work / "copyparty"))
        seed = stack.enter_context(peers.seed(setup.work / "seed"))
        names = [f"{number}.bin" for number in range(len(ids))]
        for name in names:
            (copyparty.files / name).write_bytes(DATA)
        seeds = [json.loads(_upload_to_seed(seed))["file_id"] for _ in range(setup.sized(SPREAD_FILES))]

        def rate(server: Server, paths: list[str], check: Check = DATA_ONLY) -> Callable[[], float]:
            requests = [get(path) for path in paths]

            def measure() -> float:
                chosen = itertools.islice(itertools.cycle(requests), count)
                return load(server.port, chosen, CONNECTIONS, check).rate

            return measure

        result = interleave(
            {
                "one small file, ours": rate(mine, [f"/file/download/{ids[0]}"]),
                "one small file, copyparty": rate(copyparty, ["/0.bin"]),
                "one small file, seed": rate(seed, [f"/download/{seeds[0]}"], _good_or_failed),
                "many small files, ours": rate(mine, [f"/file/download/{file_id}" for file_id in ids]),
                "many small files, copyparty": rate(copyparty, [f"/{name}" for name in names]),
            },
            setup.rounds,
            "downloads/s",
        )
        counted = _counts(mine)
    if sum(counted.values()) != 2 * count * (setup.rounds + 1):
        raise WrongAnswer(f"{sum(counted.values())} downloads counted")
    one, many = "one small file, ours", "many small files, ours"
    result.goals = [
        Goal("P4", "one hot file", one, "one small file, copyparty", least=1),
        Goal("P4", "one hot file", one, "one small file, seed", least=2.5),
        Goal("P4", "spread over many files", many, "many small files, copyparty", least=0.5),
    ]
    return result


def uploads(setup: Setup) -> Result:
    """P5: small files up, hashed and durable, into an empty directory and into one that holds many."""
    count = setup.sized(UPLOADS, CONNECTIONS)
    seed_count = setup.sized(UPLOADS // 10, CONNECTIONS)
    fill(setup.work / "full", setup.sized(STORED), b"x")
    ours = [post_file("/file/upload", DATA)]
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(peers.ours(setup.work / "ours"))
        without = stack.enter_context(peers.ours(setup.work / "unsynced", synced=False))
        full = stack.enter_context(peers.ours(setup.work / "full"))
        copyparty = stack.enter_context(peers.copyparty(setup.work / "copyparty"))
        seed = stack.enter_context(peers.seed(setup.work / "seed"))
        for _ in range(setup.sized(1000)):
            _upload_to_seed(seed)

        def to_us(server: Server) -> Callable[[], float]:
            def measure() -> float:
                before = _files(server)
                rate = load(server.port, ours * count, CONNECTIONS, expecting(201)).rate
                if _files(server) != before + count:
                    raise WrongAnswer("not every upload is stored")
                return rate

            return measure

        def to_copyparty() -> float:
            names = [f"{next(numbers)}.bin" for _ in range(count)]
            field = form_field("act", "bput")
            requests = (post_file("/", DATA, name, "f", field) for name in names)
            rate = load(copyparty.port, requests, CONNECTIONS, expecting(201)).rate
            if any((copyparty.files / name).stat().st_size != SIZE for name in names):
                raise WrongAnswer("copyparty has not stored every upload")
            return rate

        def to_seed() -> float:
            request = post_file("/upload", DATA)
            # One at a time, since two at once break the one file of its metadata.
            return load(seed.port, [request] * seed_count, 1, expecting(200)).rate

        result = interleave(
            {
                "small uploads, ours": to_us(mine),
                "small uploads, ours without sync": to_us(without),
                "small uploads, ours with many stored": to_us(full),
                "small uploads, copyparty": to_copyparty,
                "small uploads, seed": to_seed,
            },
            setup.rounds,
            "uploads/s",
        )
    durable, bare = "small uploads, ours", "small uploads, ours without sync"
    result.goals = [
        Goal("P5", "durable uploads", durable, "small uploads, copyparty", least=0.6),
        Goal("P5", "uploads without sync", bare, "small uploads, copyparty", least=1),
        Goal("P5", "durable uploads", durable, "small uploads, seed", least=5),
        Goal("P5", "with 100,000 stored", "small uploads, ours with many stored", durable, least=0.9),
    ]
    return result


def counts(setup: Setup) -> Result:
    """P6: the counts after many downloads at once, of one hot file and of several, with one worker and with four."""
    result = Result()
    count = setup.sized(DOWNLOADS, CONNECTIONS)
    for workers in (1, 4):
        directory = setup.work / f"workers-{workers}"
        ids = fill(directory, 8)
        name = f"counted of downloads, {workers} workers" if workers > 1 else "counted of downloads, 1 worker"
        with peers.ours(directory, workers=workers) as server:

            def share(server: Server = server, ids: list[str] = ids) -> float:
                before = sum(_counts(server).values())
                hot = [get(f"/file/download/{ids[0]}")] * count
                others = [get(f"/file/download/{file_id}") for file_id in ids] * (count // len(ids))
                requests = hot + others
                load(server.port, requests, CONNECTIONS * 2, expecting(200, DATA))
                return (sum(_counts(server).values()) - before) / len(requests)

            result.add(interleave({name: share}, setup.rounds, "counted / downloaded", warm_up=False))
        result.goals += [
            Goal("P6", name, name, least=1, unit="exactly"),
            Goal("P6", name, name, most=1, unit="exactly"),
        ]
    return result


def pages(setup: Setup) -> Result:
    """P9: a page of 100 of a long list, and how long others wait meanwhile."""
    directory = setup.work / "many"
    ids = sorted(fill(directory, setup.sized(STORED), b"x"))
    with peers.ours(directory) as server:

        def page() -> float:
            after = random.choice(ids[: -len(ids) // 2])
            seconds, _, body = curl(f"{server.url}/file/metadata?limit=100&after={after}")
            if list(json.loads(body)) != ids[ids.index(after) + 1 :][:100]:
                raise WrongAnswer("another page than asked for")
            return seconds * 1000

        def others() -> float:
            stop = threading.Event()

            def leaf() -> None:
                while not stop.is_set():
                    page()

            reader = threading.Thread(target=leaf)
            reader.start()
            try:
                requests = (get(f"/file/metadata/{random.choice(ids)}") for _ in range(setup.sized(1000, 50)))
                latencies = load(server.port, requests, 2, expecting(200)).latencies
            finally:
                stop.set()
                reader.join()
            return percentile(latencies, 0.99) * 1000

        result = interleave({"page of 100": page, "p99 of others meanwhile": others}, setup.rounds, "ms")
    result.goals = [
        Goal("P9", "page of 100 of 100,000", "page of 100", most=100, unit="ms"),
        Goal("P9", "p99 of others", "p99 of others meanwhile", most=50, unit="ms"),
    ]
    return result


def _good_or_failed(status: int, body: bytes) -> bool:
    # The seed fails where it reads its metadata while another request writes it.
    return status not in (0, 500) and DATA_ONLY(status, body)


def _upload_to_seed(server: Server) -> bytes:
    return curl(f"{server.url}/upload", "-F", "file=@-;filename=file.bin", sent=DATA)[2]


def _files(server: Server) -> int:
    return sum(1 for _ in (server.files / "files").rglob("*.pickle"))


def _counts(server: Server) -> dict[str, int]:
    """The downloads of every file, as the list shows them."""
    counts: dict[str, int] = {}
    after = ""
    while True:
        body = json.loads(curl(f"{server.url}/file/metadata?limit=1000{after}")[2])
        counts |= {file_id: file["download_count"] for file_id, file in body.items()}
        if len(body) < 1000:
            return counts
        after = f"&after={max(body)}"
