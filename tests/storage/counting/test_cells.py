"""Widening the counter of a hot file: exact in every order of its writers' and readers' steps, even if one dies."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar, cast
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from benchmarks.stores import EPOCH, MemoryStore, Simulation
from shared.errors import DamagedFile, OutcomeUnknown, ShareError, UnknownFile
from shared.storage.contract import ANYTHING, Ambiguous, Condition, ObjectStore
from shared.storage.counting import cells as module
from shared.storage.counting.cells import Cell, Cells
from shared.storage.counting.counter import WIDEN_AFTER, Counter
from shared.storage.keys import COUNTS, record_key
from shared.storage.records import CELLS, CLOSED, DELETED, READY, Record, Records, Stored
from shared.storage.s3 import clients
from shared.storage.s3.store import open_s3
from tests.interposed import Call, InterposedStore, Proceed
from tests.servers import S3Server
from tests.storage.samples import FILE_ID, OTHER_ID, downloaded, record

T = TypeVar("T")

CAP = 3
MANY = 1_000
CELL_KEY = f"{COUNTS}{FILE_ID}/0.json"


def anybody(_: Record) -> None:
    """An access check that refuses nobody."""


def ready(latest: Record) -> None:
    if latest.state != READY:
        raise UnknownFile(latest.file_id)


def counter(records: Records, pick: Callable[[int], int] = random.randrange) -> Counter:
    return Counter(records, lambda: EPOCH, anybody, pick)


def total(records: Records) -> int:
    [record] = counter(records).totals([records.get(FILE_ID).record])
    assert isinstance(record, Record), record
    return record.download_count


# One after another


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def records(memory: MemoryStore) -> Records:
    records = Records(cast("ObjectStore", memory), lambda: EPOCH, sleep=lambda _seconds: None)
    records.create(record())
    return records


def widen(records: Records, cells: int = CELLS) -> Stored:
    return records.update(FILE_ID, lambda old: structs.replace(old, cells=cells))


def count(records: Records, times: int = 1) -> None:
    for _ in range(times):
        assert counter(records).count(records.get(FILE_ID), 1, ready).granted


def test_a_write_that_meets_conflicts_widens_the_counter(records: Records) -> None:
    left = [WIDEN_AFTER]

    def others_first(_latest: Record) -> None:
        if left[0]:
            left[0] -= 1
            records.update(FILE_ID, downloaded)

    assert counter(records).count(records.get(FILE_ID), 1, others_first).granted
    assert (records.get(FILE_ID).record.cells, total(records)) == (CELLS, WIDEN_AFTER + 1)


def test_fewer_conflicts_do_not(records: Records) -> None:
    left = [WIDEN_AFTER - 1]

    def others_first(_latest: Record) -> None:
        if left[0]:
            left[0] -= 1
            records.update(FILE_ID, downloaded)

    assert counter(records).count(records.get(FILE_ID), 1, others_first).granted
    assert records.get(FILE_ID).record.cells == 0


def test_a_widened_file_is_counted_in_cells_and_its_record_stays(records: Records, memory: MemoryStore) -> None:
    records.update(FILE_ID, downloaded)
    stored = widen(records)
    count(records, 5)
    assert records.get(FILE_ID) == stored
    assert total(records) == 6
    assert all(key.startswith(COUNTS) or key == record_key(FILE_ID) for key in memory.objects)


def test_totals_stay_in_the_order_of_the_records(records: Records) -> None:
    records.create(record(OTHER_ID))
    widen(records)
    count(records, 3)
    base_records = [records.get(file_id).record for file_id in (OTHER_ID, FILE_ID)]
    totals = [one for one in counter(records).totals(base_records) if isinstance(one, Record)]
    assert [(one.file_id, one.download_count) for one in totals] == [(OTHER_ID, 0), (FILE_ID, 3)]


def test_closed_cells_send_a_count_back_to_the_record(records: Records) -> None:
    widen(records)
    count(records, 3)
    assert Cells(records, random.randrange).close(FILE_ID, range(CELLS)) == 3
    count(records, 2)
    # As if the process that closed them had died before it updated the record.
    assert (records.get(FILE_ID).record.download_count, total(records)) == (2, 5)
    folded = counter(records).fold(records.get(FILE_ID)).record
    assert (folded.cells, folded.download_count, total(records)) == (CLOSED, 5, 5)


def test_a_folded_counter_never_widens_again(records: Records) -> None:
    widen(records)
    counter(records).fold(records.get(FILE_ID))
    left = [WIDEN_AFTER + 3]

    def others_first(_latest: Record) -> None:
        if left[0]:
            left[0] -= 1
            records.update(FILE_ID, downloaded)

    assert counter(records).count(records.get(FILE_ID), 1, others_first).granted
    assert (records.get(FILE_ID).record.cells, total(records)) == (CLOSED, WIDEN_AFTER + 4)


def test_a_reader_that_knows_of_the_cells_before_they_are_folded_counts_them_once(records: Records) -> None:
    widen(records)
    count(records, 4)
    before = records.get(FILE_ID).record
    counter(records).fold(records.get(FILE_ID))
    [record] = counter(records).totals([before])
    assert isinstance(record, Record)
    assert record.download_count == 4


def test_a_cell_made_for_a_file_that_is_gone_is_removed(records: Records, memory: MemoryStore) -> None:
    seen = widen(records)
    records.update(FILE_ID, lambda old: structs.replace(old, state=DELETED))
    for key in (OTHER_ID, record_key(FILE_ID)):
        memory.delete(key)
        with pytest.raises(UnknownFile):
            counter(records).count(seen, 1, anybody)
        assert not list(memory.list(COUNTS))


def test_folding_a_file_that_is_gone_leaves_no_cells(records: Records, memory: MemoryStore) -> None:
    seen = widen(records)
    memory.delete(record_key(FILE_ID))
    with pytest.raises(UnknownFile):
        counter(records).fold(seen)
    assert not memory.objects


def test_a_deleted_file_has_no_total(records: Records) -> None:
    widen(records)
    count(records)
    before = records.get(FILE_ID).record
    records.update(FILE_ID, lambda old: structs.replace(old, state=DELETED))
    assert [type(total) for total in counter(records).totals([before])] == [UnknownFile]


def stored(cell: Cell) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(cell).items() if name != "unknown"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps(stored(Cell(OTHER_ID))).encode(),
        json.dumps({**stored(Cell(FILE_ID)), "count": -1}).encode(),
        json.dumps({**stored(Cell(FILE_ID)), "count": True}).encode(),
        json.dumps({**stored(Cell(FILE_ID)), "closed": 0}).encode(),
        json.dumps({**stored(Cell(FILE_ID)), "writes": [1]}).encode(),
        b"[" * 100_000,
    ],
    ids=["empty", "list", "nothing", "another file's", "negative", "boolean", "number", "writes", "deep"],
)
def test_a_damaged_cell_is_reported_and_never_counted(records: Records, memory: MemoryStore, data: bytes) -> None:
    widen(records)
    memory.put(CELL_KEY, data)
    [total] = counter(records).totals([records.get(FILE_ID).record])
    assert isinstance(total, DamagedFile)


# In any order


class Crash(BaseException):
    """The process ends here."""


class Steps:
    """A process's access to storage. Others can act before and after each call, and any call can be the last."""

    can_be_ambiguous = True

    def __init__(self, simulation: Simulation, memory: MemoryStore, faults: Iterable[str]) -> None:
        self._simulation = simulation
        self._memory = memory
        self._faults = iter(faults)
        self.added = 0

    def read(self, key: str) -> tuple[bytes, str]:
        return self._step(lambda: self._memory.read(key))

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for key in keys:
            yield from self._step(functools.partial(list, self._memory.read_many([key])))

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        fault = next(self._faults, "")

        def put() -> str:
            before = self._held()
            etag = self._memory.put(key, data, when)
            self.added += self._held() - before
            return etag

        if fault == "dies before":
            raise Crash
        if fault == "lost":
            self._simulation.sleep(0.001)
            raise Ambiguous(key)
        etag = self._step(put)
        if fault == "dies after":
            raise Crash
        if fault == "no answer":
            raise Ambiguous(key)
        return etag

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._step(functools.partial(self._memory.delete, key))

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return self._step(lambda: self._memory.list(prefix, after))

    def _held(self) -> int:
        """The total in storage at this moment."""
        return stored_total(self._memory)

    def _step(self, work: Callable[[], T]) -> T:
        self._simulation.sleep(self._simulation.random.choice((0.0, 0.001, 0.002, 0.02)))
        try:
            return work()
        finally:
            self._simulation.sleep(self._simulation.random.choice((0.0, 0.001, 0.005)))


def stored_total(memory: MemoryStore) -> int:
    if record_key(FILE_ID) not in memory.objects:
        return 0
    latest = json.loads(memory.objects[record_key(FILE_ID)][0])
    cells = [json.loads(memory.objects[key][0])["count"] for key in memory.list(f"{COUNTS}{FILE_ID}/")]
    return int(latest["download_count"]) + (sum(cells) if latest["cells"] != CLOSED else 0)


FAULTS = st.lists(st.sampled_from(["", "", "", "lost", "no answer", "dies before", "dies after"]), max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    cells=st.sampled_from([0, CELLS]),
    writers=st.lists(st.just([]) | FAULTS, min_size=1, max_size=24),
    readers=st.lists(st.floats(0, 0.2), max_size=4),
    folds=st.lists(FAULTS, max_size=2),
    deletion=st.sampled_from([None, None, 0.01, 0.03, 0.06]),
    cap=st.booleans(),
)
def test_in_any_order_and_whoever_dies_the_total_is_exact(
    seed: int,
    cells: int,
    writers: list[list[str]],
    readers: list[float],
    folds: list[list[str]],
    deletion: float | None,
    cap: bool,
) -> None:
    # Threads would not take turns.
    with mock.patch.object(module, "_in_parallel", map):
        Meeting(seed, cells).hold(writers, readers, folds, deletion, cap)


class Meeting:
    """Processes that count, read, fold and delete the same file at the same time."""

    def __init__(self, seed: int, cells: int) -> None:
        self.simulation = Simulation(seed)
        self.memory = MemoryStore()
        start = structs.replace(record(), cells=cells)
        Records(cast("ObjectStore", self.memory), self.simulation.clock).create(start)
        self.told = 0
        self.begun = 0
        self.most = MANY
        self.unanswered = 0
        self.deleted = False
        self.leftover = False

    def records(self, faults: Iterable[str] = ()) -> tuple[Records, Steps]:
        steps = Steps(self.simulation, self.memory, faults)
        simulation = self.simulation
        records = Records(
            cast("ObjectStore", steps),
            simulation.clock,
            sleep=simulation.sleep,
            monotonic=simulation.monotonic,
            jitter=simulation.random.random,
        )
        return records, steps

    def hold(
        self,
        writers: list[list[str]],
        readers: list[float],
        folds: list[list[str]],
        deletion: float | None,
        cap: bool,
    ) -> None:
        for faults in writers:
            self.simulation.start(self.simulation.random.random() * 0.05, functools.partial(self.write, faults))
        for at in readers:
            self.simulation.start(at, self.read)
        for faults in folds:
            self.simulation.start(0.03, functools.partial(self.fold, faults, cap))
        if deletion is not None:
            self.simulation.start(deletion, self.delete)
        self.simulation.run()
        if self.deleted:
            # The record stays for a while, and cells do not come back.
            assert self.memory.objects.keys() == {record_key(FILE_ID)} or self.leftover
            return
        held = stored_total(self.memory)
        assert self.told <= held <= min(self.begun, self.most)
        assert held == self.told + self.unanswered

    def write(self, faults: list[str]) -> None:
        records, steps = self.records(faults)
        self.begun += 1
        try:
            counted = counter(records, self.simulation.random.randrange).count(records.get(FILE_ID), 1, ready)
        except Crash:
            # Its changes up to that point took effect, although it got no answer.
            assert self.deleted or steps.added in (0, 1)
            self.unanswered += steps.added
            self.leftover = True
        except OutcomeUnknown:
            self.unanswered += steps.added
            self.leftover = True
        except UnknownFile:
            assert self.deleted
        except ShareError:
            assert steps.added == 0
        else:
            if not counted.granted:
                assert steps.added == 0
            else:
                assert self.deleted or steps.added == 1
                self.told += 1

    def read(self) -> None:
        records, _ = self.records()
        told = self.told
        try:
            [total] = counter(records).totals([records.get(FILE_ID).record])
        except UnknownFile:
            assert self.deleted
            return
        if isinstance(total, UnknownFile):
            assert self.deleted
            return
        assert isinstance(total, Record)
        assert told <= total.download_count <= self.begun

    def fold(self, faults: list[str], cap: bool) -> None:
        records, steps = self.records(faults)
        try:
            stored = counter(records).fold(records.get(FILE_ID))
            assert steps.added == 0
            if cap and stored.record.cells == CLOSED:
                records.update(FILE_ID, lambda old: structs.replace(old, max_downloads=CAP), stored)
                # Only processes that count towards the cap can have interrupted.
                self.most = max(CAP, stored_total(self.memory))
        except Crash:
            self.leftover = True
        except UnknownFile:
            assert self.deleted
        except ShareError:
            self.leftover = True

    def delete(self) -> None:
        records, steps = self.records()
        self.deleted = True
        try:
            records.update(FILE_ID, lambda old: structs.replace(old, state=DELETED))
        except ShareError:
            self.leftover = True
            return
        for key in counter(records).cells(records.get(FILE_ID).record):
            steps.delete(key)


# Many processes


def from_afar(call: Call, proceed: Proceed) -> Any:
    """A store with latency, so that processes interfere."""
    if call.verb in {"read", "put", "put if"}:
        time.sleep(random.uniform(0.005, 0.015))
    return proceed()


PROCESSES = 4
DOWNLOADS = 8


def count_from_afar(environment: Mapping[str, str], prefix: str) -> int:
    """What each process does: a number of downloads, none of which may be refused."""
    os.environ.update(environment)
    clients.CONDITIONAL_TIMEOUT = 60.0
    records = Records(InterposedStore(open_s3("widening", prefix), from_afar), lambda: EPOCH)
    count(records, DOWNLOADS)
    return DOWNLOADS


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Processes that each take a second to start."""
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.xdist_group("moto")
@pytest.mark.parametrize("cells", [0, CELLS])
def test_processes_that_meet_on_s3_lose_no_count(
    moto: S3Server, configure_aws: Callable[[Mapping[str, str]], None], processes: ProcessPoolExecutor, cells: int
) -> None:
    # Creating it again changes nothing.
    moto.client().create_bucket(Bucket="widening")
    configure_aws(moto.environment())
    records = Records(open_s3("widening", str(cells)), lambda: EPOCH)
    records.create(structs.replace(record(), cells=cells))
    running = [processes.submit(count_from_afar, moto.environment(), str(cells)) for _ in range(PROCESSES)]
    done = sum(future.result(120) for future in running)
    assert total(records) == done
