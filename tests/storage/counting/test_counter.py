"""Counting several downloads with one write: exactly, never past a cap, and subject to the latest record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec import structs

from shared.errors import StorageUnavailable, UnknownFile
from shared.storage.contract import Ambiguous
from shared.storage.counting.counter import Counter
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import record_key
from shared.storage.records import Record, Records
from tests.interposed import Fault, InterposedStore, after, before, on_puts, preceded_by
from tests.storage.samples import FILE_ID, NOW, downloaded, record

LATER = NOW + timedelta(hours=1)


def anybody(_: Record) -> None:
    """An access check that refuses nobody."""


class Counting:
    """A counter on a store whose puts can fail. `announced` has each last download, and the puts before it."""

    def __init__(self, directory: DirectoryStore) -> None:
        self.store = InterposedStore(directory)
        self.records = Records(self.store, lambda: NOW)
        self.elsewhere = Records(directory, lambda: NOW)
        self.announced: list[tuple[int, int]] = []
        self.counter = Counter(self.records, lambda: LATER, self._announce)

    def create(self, max_downloads: int | None = None) -> None:
        self.elsewhere.create(record(max_downloads=max_downloads))

    def count(self, downloads: int, allow: Callable[[Record], None] = anybody) -> int:
        return self.counter.count(self.records.get(FILE_ID), downloads, allow).granted

    @property
    def stored(self) -> int:
        return self.elsewhere.get(FILE_ID).record.download_count

    def _announce(self, last: Record) -> None:
        self.announced.append((last.download_count, self.store.puts))


@pytest.fixture
def counting(directory: DirectoryStore) -> Counting:
    return Counting(directory)


def test_downloads_are_counted_by_one_write_and_are_in_once_it_returns(counting: Counting) -> None:
    counting.create()
    counted = counting.counter.count(counting.records.get(FILE_ID), 20, anybody)
    assert (counted.granted, counted.stored) == (20, counting.elsewhere.get(FILE_ID))
    assert (counting.stored, counting.store.puts) == (20, 1)


def test_a_cap_grants_exactly_what_is_left_and_then_writes_nothing(counting: Counting) -> None:
    counting.create(max_downloads=6)
    assert [counting.count(4), counting.count(4), counting.count(4)] == [4, 2, 0]
    assert (counting.stored, counting.store.puts) == (6, 2)


def test_the_latest_record_decides_and_not_the_one_that_was_read(counting: Counting) -> None:
    counting.create()
    seen = counting.records.get(FILE_ID)
    counting.elsewhere.update(FILE_ID, lambda old: structs.replace(old, max_downloads=3, download_count=1))
    assert counting.counter.count(seen, 5, anybody).granted == 2
    assert counting.stored == 3


def test_the_last_download_of_a_cap_is_announced_before_it_is_written(counting: Counting) -> None:
    counting.create(max_downloads=5)
    counting.count(3)
    counting.count(3)
    # When only the put of the first three had happened.
    assert counting.announced == [(5, 1)]
    assert counting.elsewhere.get(FILE_ID).record.used_up_at == LATER


def test_without_an_announcement_the_last_download_is_not_written(directory: DirectoryStore) -> None:
    def refuse(_: Record) -> None:
        raise StorageUnavailable("no")

    records = Records(directory, lambda: NOW)
    seen = records.create(record(max_downloads=1))
    with pytest.raises(StorageUnavailable):
        Counter(records, lambda: NOW, refuse).count(seen, 1, anybody)
    assert records.get(FILE_ID) == seen


def test_a_refusal_writes_nothing(counting: Counting) -> None:
    def refuse(latest: Record) -> None:
        raise UnknownFile(latest.file_id)

    counting.create()
    with pytest.raises(UnknownFile):
        counting.count(20, refuse)
    assert (counting.stored, counting.store.puts) == (0, 0)


@pytest.mark.parametrize("fault", [before, after], ids=["not in", "in"])
def test_downloads_whose_answer_is_lost_are_counted_once(
    counting: Counting, fault: Callable[[Exception], Fault]
) -> None:
    counting.create()
    counting.store.around = on_puts({1: fault(Ambiguous(record_key(FILE_ID)))})
    assert counting.count(20) == 20
    assert counting.stored == 20


def test_counts_of_others_are_kept(counting: Counting) -> None:
    counting.create()
    counting.store.around = on_puts({1: preceded_by(lambda: counting.elsewhere.update(FILE_ID, downloaded))})
    assert counting.count(20) == 20
    assert counting.stored == 21
