"""P8: one hot file on S3, counted by many processes."""

from __future__ import annotations

import functools
import multiprocessing
import os
import uuid
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import cast
from unittest import mock

from benchmarks.harness import Goal, Result, Setup, WrongAnswer, interleave, percentile
from benchmarks.stores import MemoryStore, Simulation, SlowStore
from shared.errors import ShareError
from shared.storage.contract import ObjectStore
from shared.storage.counting.counter import Counter
from shared.storage.records import READY, Record, Records
from shared.storage.s3 import clients
from shared.storage.s3.store import open_s3
from tests.servers import S3Server, moto_server, seaweedfs

CLIENTS = 64
BURST = 1_000
BURST_WITHIN = 0.25  # seconds
FILE_ID = "0d5a9c7e-3b0f-4c2a-9f55-6a1f0c8e7b21"
BUCKET = "benchmark"
PROCESSES = 4


def new_record() -> Record:
    return Record(FILE_ID, READY, "file.bin", "application/octet-stream", 10, None, datetime.now(UTC))


def _anybody(_record: Record) -> None:
    """An access check that refuses nobody."""


def _now() -> datetime:
    return datetime.now(UTC)


def total(store: ObjectStore) -> int:
    """The total download count of the file in a store."""
    records = Records(store, _now)
    [match] = Counter(records, _now, _anybody).totals([records.get(FILE_ID).record])
    if not isinstance(match, Record):
        raise match
    return match.download_count


def burst(clients: int, seed: int) -> list[float]:
    """How long each of many processes takes to count one download of one file, with a store as distant as S3.

    In simulated seconds. Raises `WrongAnswer` unless all are counted.
    """
    simulation = Simulation(seed)
    store = SlowStore(simulation)
    nearby = MemoryStore()
    nearby.objects = store.objects
    Records(cast("ObjectStore", nearby), simulation.clock).create(new_record())
    store.objects = {key: (data, "first") for key, (data, _) in nearby.objects.items()}
    latencies: list[float] = []
    refused: list[ShareError] = []

    def client() -> None:
        records = Records(
            cast("ObjectStore", store),
            simulation.clock,
            sleep=simulation.sleep,
            monotonic=simulation.monotonic,
            jitter=simulation.random.random,
        )
        began = simulation.now
        try:
            counter = Counter(records, simulation.clock, _anybody, simulation.random.randrange)
            counter.count(records.get(FILE_ID), 1, _anybody)
        except ShareError as error:
            refused.append(error)
        latencies.append(simulation.now - began)

    for _ in range(clients):
        simulation.start(simulation.random.random() * BURST_WITHIN, client)
    simulation.run()
    nearby.objects = store.objects
    if refused or total(cast("ObjectStore", nearby)) != clients:
        raise WrongAnswer(f"{total(cast('ObjectStore', nearby))} of {clients} counted, {len(refused)} refused")
    return latencies


def hot_file(setup: Setup) -> Result:
    """P8: a simulated burst on one file, and many processes on real servers, which must not lose a count."""
    clients = setup.sized(BURST, CLIENTS)
    seeds = iter(range(1, 1 + setup.rounds))
    latencies: list[list[float]] = []

    def worst() -> float:
        latencies.append(burst(clients, next(seeds)))
        return percentile(latencies[-1], 0.99)

    result = interleave({"p99 of a burst on S3": worst}, setup.rounds, "simulated s", warm_up=False)
    result.figures["median of a burst on S3"] = [percentile(one, 0.5) for one in latencies]
    result.figures["slowest of a burst on S3"] = [max(one) for one in latencies]
    result.goals = [Goal("P8", "burst of 1,000", "p99 of a burst on S3", most=2, unit="s")]
    for name, server, count in (("moto", moto_server, 48), ("SeaweedFS", seaweedfs, 400)):
        each = setup.sized(count, 2 * PROCESSES) // PROCESSES
        case = f"counted of downloads, {name}"
        with server() as running:
            running.client().create_bucket(Bucket=BUCKET)
            race = functools.partial(_race, running, each)
            result.add(interleave({case: race}, setup.rounds, "counted / downloaded", warm_up=False))
        result.goals += [
            Goal("P8", case, case, least=1, unit="exactly"),
            Goal("P8", case, case, most=1, unit="exactly"),
        ]
    return result


def _race(server: S3Server, each: int) -> float:
    prefix = str(uuid.uuid4())
    with (
        mock.patch.dict(os.environ, server.environment()),
        ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool,
    ):
        store = open_s3(BUCKET, prefix)
        Records(store, _now).create(new_record())
        done = sum(pool.map(_count_many, [prefix] * PROCESSES, [each] * PROCESSES))
        return total(store) / done


def _count_many(prefix: str, times: int) -> int:
    clients.CONDITIONAL_TIMEOUT = 60.0
    records = Records(open_s3(BUCKET, prefix), _now)
    counter = Counter(records, _now, _anybody)
    for _ in range(times):
        counter.count(records.get(FILE_ID), 1, _anybody)
    return times
