"""P5, P6, P9 and P18: small files beside many others, exact counts under load, a page of a long list, and inboxes."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path
from unittest import mock

from benchmarks import peers, wrk
from benchmarks.client import ask, curl, expecting, get, load, post_file, send
from benchmarks.contestants import CONNECTIONS, DATA
from benchmarks.harness import Goal, Result, Setup, WrongAnswer, interleave, percentile
from benchmarks.peers import Server
from benchmarks.unsynced import nothing
from shared.options import Options
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.uploads import Upload

DOWNLOADS = 3000
SECONDS = 3
STORED = 100_000
# An inbox accepts at most 1,000 files.
IN_INBOX = 900


def fill(directory: Path, count: int, data: bytes = DATA) -> list[str]:
    """Store this many files in our layout. Returns their IDs."""
    shares = Shares(DirectoryStore(directory), max_file_size=len(data))
    ids = []
    # These files only fill the directory, so durability is not needed.
    with mock.patch.object(os, "fsync", nothing):
        for _ in range(count):
            upload = Upload(shares)
            upload.write(data)
            ids.append(upload.finish("file.bin", "application/octet-stream", Options()).file_id)
    return ids


def with_many_stored(setup: Setup) -> Result:
    """P5: uploads of small files into an empty directory, and into one with many files."""
    fill(setup.work / "full", setup.sized(STORED), b"x")
    request = post_file("/file/upload", DATA)
    seconds = max(1, round(SECONDS * setup.scale))
    with peers.ours(setup.work / "empty") as empty, peers.ours(setup.work / "full") as full:
        result = interleave(
            {
                "small uploads": lambda: wrk.run(empty, [request], seconds, CONNECTIONS).rate,
                "small uploads with many stored": lambda: wrk.run(full, [request], seconds, CONNECTIONS).rate,
            },
            setup.rounds,
            "uploads/s",
        )
    result.goals = [
        Goal("P5", "with 100,000 stored", "small uploads with many stored", "small uploads", least=0.9),
    ]
    return result


def into_inboxes(setup: Setup) -> Result:
    """P18: uploads of small files into a new inbox, and without one."""
    count = setup.sized(IN_INBOX, CONNECTIONS)
    with peers.ours(setup.work / "inboxes") as server:

        def upload(path: str) -> float:
            return count / load(server.port, [send("PUT", path, DATA)] * count, CONNECTIONS, expecting(201)).seconds

        def upload_into_inbox() -> float:
            _, answer = ask(server.port, send("POST", "/inbox", b'{"max_files": 1000}', "application/json"), (201,))
            return upload(f"/inbox/{json.loads(answer)['inbox_id']}/file.bin")

        result = interleave(
            {
                "small uploads": lambda: upload("/file/upload/file.bin"),
                "small uploads into an inbox": upload_into_inbox,
            },
            setup.rounds,
            "uploads/s",
        )
    result.goals = [Goal("P18", "10 KiB into an inbox", "small uploads into an inbox", "small uploads", least=0.9)]
    return result


def counts(setup: Setup) -> Result:
    """P6: counts after many parallel downloads, of one hot file and of several, with one worker and with four."""
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
    """P9: a page of 100 files of a long list, and how long other requests wait meanwhile."""
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


def _counts(server: Server) -> dict[str, int]:
    """The download counts of all files, from the list."""
    counts: dict[str, int] = {}
    after = ""
    while True:
        body = json.loads(curl(f"{server.url}/file/metadata?limit=1000{after}")[2])
        counts |= {file_id: file["download_count"] for file_id, file in body.items()}
        if len(body) < 1000:
            return counts
        after = f"&after={max(body)}"
