"""Counting together: a burst costs a few writes, and everybody gets the answer that is theirs."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import StorageUnavailable, UnknownFile
from shared.storage.contract import Ambiguous
from shared.storage.counting.counter import Counter
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import record_key
from shared.storage.records import Record, Records, Stored
from tests.interposed import Fault, InterposedStore, Proceed, after, before, on_puts
from tests.storage.samples import FILE_ID, NOW, OTHER_ID, downloaded, record

BURST = 20


def anybody(_: Record) -> None:
    """Refuses nobody."""


class Gate:
    """Holds one put until it is opened."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def fault(self, put: Proceed) -> Any:
        self._reached.set()
        assert self._opened.wait(60)
        return put()

    def wait_until_reached(self) -> None:
        assert self._reached.wait(60)

    def open(self) -> None:
        self._opened.set()


class Burst:
    """Downloads of one file, of which the first is being written until `gate` opens, and the others come meanwhile."""

    def __init__(self, directory: DirectoryStore, pool: ThreadPoolExecutor) -> None:
        self.records = Records(directory, lambda: NOW)
        self.store = InterposedStore(directory)
        self.announced: list[tuple[int, int]] = []
        self.counter = Counter(Records(self.store, lambda: NOW), lambda: NOW + timedelta(hours=1), self._announce)
        self.gate = Gate()
        self._pool = pool

    def begin(self, max_downloads: int | None = None) -> Future[Stored | None]:
        """Make the file, and have a first download of it wait in the middle of its write."""
        self.records.create(record(max_downloads=max_downloads))
        self.store.around = on_puts({1: self.gate.fault})
        first = self.submit()
        self.gate.wait_until_reached()
        return first

    def submit(self, allow: Callable[[Record], None] = anybody) -> Future[Stored | None]:
        return self._pool.submit(self.counter.count, self.records.get(FILE_ID), allow)

    def join(self, allow: Callable[[Record], None] = anybody) -> list[Future[Stored | None]]:
        """Many more, which have arrived one after another when this returns."""
        waiting = []
        for number in range(BURST):
            waiting.append(self.submit(allow))
            self._wait_for(number + 1)
        return waiting

    def _announce(self, last: Record) -> None:
        self.announced.append((last.download_count, self.store.puts))

    def _wait_for(self, size: int) -> None:
        # Nothing that can be seen from outside tells that a thread waits for its turn.
        deadline = time.monotonic() + 60
        while (batch := self.counter._forming.get(FILE_ID)) is None or len(batch.members) < size:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    @property
    def count(self) -> int:
        return self.records.get(FILE_ID).record.download_count


@pytest.fixture
def burst(directory: DirectoryStore) -> Iterator[Burst]:
    with ThreadPoolExecutor(BURST + 2) as pool:
        burst = Burst(directory, pool)
        try:
            yield burst
        finally:
            # A test that fails leaves nobody waiting.
            burst.gate.open()


def test_a_download_is_counted_when_its_answer_comes(burst: Burst) -> None:
    burst.records.create(record())
    assert burst.submit().result(60) == burst.records.get(FILE_ID)
    assert burst.count == 1


def test_all_that_come_during_one_write_share_the_next(burst: Burst) -> None:
    first = burst.begin()
    waiting = burst.join()
    burst.gate.open()
    one = first.result(60)
    assert one is not None
    assert one.record.download_count == 1
    # They also start from what the first has written, and do not have to find out that it did.
    assert [future.result(60) for future in waiting] == [burst.records.get(FILE_ID)] * BURST
    assert (burst.count, burst.store.puts) == (BURST + 1, 2)


def test_a_cap_grants_exactly_what_is_left_to_those_who_came_first(burst: Burst) -> None:
    first = burst.begin(max_downloads=6)
    waiting = burst.join()
    burst.gate.open()
    assert first.result(60) is not None
    granted = [future.result(60) is not None for future in waiting]
    assert granted == [True] * 5 + [False] * (BURST - 5)
    assert (burst.count, burst.store.puts) == (6, 2)


def test_a_cap_that_is_reached_grants_nothing_and_writes_nothing(burst: Burst) -> None:
    burst.records.create(record(max_downloads=1))
    assert burst.submit().result(60) is not None
    assert burst.submit().result(60) is None
    assert (burst.count, burst.store.puts) == (1, 1)


def test_what_the_latest_record_allows_counts_and_not_what_was_read(burst: Burst) -> None:
    seen = burst.records.create(record())
    burst.records.update(FILE_ID, lambda old: dataclasses.replace(old, max_downloads=1, download_count=1))
    assert burst.counter.count(seen, anybody) is None
    assert burst.count == 1


def test_the_last_download_of_a_cap_is_announced_before_it_is_written(burst: Burst) -> None:
    first = burst.begin(max_downloads=BURST + 1)
    waiting = burst.join()
    burst.gate.open()
    assert first.result(60) is not None
    stored = waiting[-1].result(60)
    assert stored is not None
    assert stored.record.used_up_at == NOW + timedelta(hours=1)
    # When only the put of the first one had been seen.
    assert burst.announced == [(BURST + 1, 1)]


def test_without_an_announcement_the_last_download_is_not_written(directory: DirectoryStore) -> None:
    def refuse(_: Record) -> None:
        raise StorageUnavailable("no")

    records = Records(directory, lambda: NOW)
    seen = records.create(record(max_downloads=1))
    with pytest.raises(StorageUnavailable):
        Counter(records, lambda: NOW, refuse).count(seen, anybody)
    assert records.get(FILE_ID) == seen


@pytest.mark.parametrize("error", [StorageUnavailable("no"), KeyboardInterrupt()], ids=["storage", "interrupt"])
def test_an_error_reaches_everybody_who_waits_and_nobody_else(burst: Burst, error: BaseException) -> None:
    def fail(_: Proceed) -> Any:
        raise error

    first = burst.begin()
    waiting = burst.join()
    burst.store.around = on_puts({2: fail})
    burst.gate.open()
    assert first.result(60) is not None
    assert [future.exception(60) for future in waiting] == [error] * BURST
    assert burst.count == 1
    assert burst.submit().result(60) is not None


def test_a_refusal_is_for_all_that_wait_together(burst: Burst) -> None:
    def refuse(latest: Record) -> None:
        raise UnknownFile(latest.file_id)

    first = burst.begin()
    waiting = burst.join(refuse)
    burst.gate.open()
    assert first.result(60) is not None
    assert {type(future.exception(60)) for future in waiting} == {UnknownFile}
    assert (burst.count, burst.store.puts) == (1, 1)


@pytest.mark.parametrize("fault", [before, after], ids=["not in", "in"])
def test_a_burst_whose_answer_is_lost_is_counted_once(burst: Burst, fault: Callable[[Exception], Fault]) -> None:
    first = burst.begin()
    waiting = burst.join()
    burst.store.around = on_puts({2: fault(Ambiguous(record_key(FILE_ID)))})
    burst.gate.open()
    assert first.result(60) is not None
    assert all(future.result(60) is not None for future in waiting)
    assert burst.count == BURST + 1


def test_counts_of_others_are_kept(burst: Burst) -> None:
    first = burst.begin()
    waiting = burst.join()
    burst.records.update(FILE_ID, downloaded)
    burst.gate.open()
    assert first.result(60) is not None
    assert all(future.result(60) is not None for future in waiting)
    assert burst.count == BURST + 2


def test_files_are_counted_each_on_its_own(burst: Burst) -> None:
    first = burst.begin()
    other = burst.records.create(record(OTHER_ID))
    counted = burst.counter.count(other, anybody)
    assert counted is not None
    assert (counted.record.file_id, counted.record.download_count) == (OTHER_ID, 1)
    assert not first.done()
    burst.gate.open()
    assert first.result(60) is not None
    assert burst.count == 1
