"""Every guarantee of `shared.storage.contract` except those for writers, on every store; the races come last."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from shared.storage.contract import (
    ABSENT,
    ANYTHING,
    AlreadyExists,
    Changed,
    Matches,
    NotFound,
    ObjectStore,
    RangeNotSatisfiable,
)
from tests.servers import MOTO_PAGE_SIZE
from tests.storage.samples import drain, pattern

T = TypeVar("T")

KEY = "metadata/ab/one.json"
DIGITS = b"0123456789"


def all_at_once(actions: list[Callable[[], T]]) -> list[T]:
    """Run each action in a thread; all start together."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        barrier.wait(timeout=60)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


# Reading and writing small objects


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)), b"\r\n\x00\r\n", pattern(100_000)], ids=len)
def test_what_was_put_is_read_back(store: ObjectStore, data: bytes) -> None:
    store.put(KEY, data)
    assert store.read(KEY)[0] == data


def test_a_put_returns_the_etag_that_the_next_read_returns(store: ObjectStore) -> None:
    etag = store.put(KEY, b"one")
    assert etag
    assert store.read(KEY) == (b"one", etag)


def test_the_etag_changes_whenever_the_bytes_do(store: ObjectStore) -> None:
    etags = [store.put(KEY, data) for data in (b"one", b"two", b"", b"\x00")]
    assert len(set(etags)) == len(etags)


def test_what_was_never_put_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound) as missing:
        store.read(KEY)
    assert missing.value.key == KEY


def test_objects_are_read_in_the_order_asked_for_and_gaps_are_left_out(store: ObjectStore) -> None:
    # More than any store reads in parallel.
    keys = [f"metadata/ab/{number:02}.json" for number in range(40)]
    for key in keys[::2]:
        store.put(key, key.encode())
    backwards = keys[::-1]
    assert list(store.read_many(iter(backwards))) == [(key, key.encode()) for key in backwards if key in keys[::2]]


def test_reading_none_of_many_finds_nothing(store: ObjectStore) -> None:
    assert list(store.read_many([])) == []


# Conditions


def test_without_a_condition_a_put_creates_and_replaces(store: ObjectStore) -> None:
    store.put(KEY, b"old", ANYTHING)
    store.put(KEY, b"new", ANYTHING)
    assert store.read(KEY)[0] == b"new"


def test_absent_creates(store: ObjectStore) -> None:
    etag = store.put(KEY, b"new", ABSENT)
    assert store.read(KEY) == (b"new", etag)


@pytest.mark.parametrize("data", [b"new", b"old"], ids=["other bytes", "the same bytes"])
def test_absent_never_replaces(store: ObjectStore, data: bytes) -> None:
    etag = store.put(KEY, b"old")
    with pytest.raises(AlreadyExists) as refusal:
        store.put(KEY, data, ABSENT)
    assert refusal.value.key == KEY
    assert store.read(KEY) == (b"old", etag)


def test_what_was_deleted_is_absent_again(store: ObjectStore) -> None:
    store.put(KEY, b"old")
    store.delete(KEY)
    store.put(KEY, b"new", ABSENT)
    assert store.read(KEY)[0] == b"new"


def test_many_are_deleted_together_and_those_that_are_not_there_do_not_matter(store: ObjectStore) -> None:
    keys = [f"many/{number:04}" for number in range(1100)]
    for key in keys[::100]:
        store.put(key, b"")
    store.put("many/kept", b"")
    store.delete(*keys)
    assert list(store.list("many/")) == ["many/kept"]
    store.delete()


def test_an_etag_that_was_read_lets_replace_what_was_read(store: ObjectStore) -> None:
    store.put(KEY, b"old")
    etag = store.put(KEY, b"new", Matches(store.read(KEY)[1]))
    assert store.read(KEY) == (b"new", etag)


def test_an_etag_that_a_put_returned_is_good_for_the_next_one(store: ObjectStore) -> None:
    etag = store.put(KEY, b"0", ABSENT)
    for number in (b"1", b"2", b"3"):
        etag = store.put(KEY, number, Matches(etag))
    assert store.read(KEY) == (b"3", etag)


def test_an_etag_that_is_out_of_date_lets_replace_nothing(store: ObjectStore) -> None:
    old = store.put(KEY, b"old")
    new = store.put(KEY, b"new")
    with pytest.raises(Changed) as refusal:
        store.put(KEY, b"lost", Matches(old))
    assert refusal.value.key == KEY
    assert store.read(KEY) == (b"new", new)


def test_an_etag_brings_no_deleted_object_back(store: ObjectStore) -> None:
    etag = store.put(KEY, b"old")
    store.delete(KEY)
    with pytest.raises((NotFound, Changed)) as refusal:
        store.put(KEY, b"new", Matches(etag))
    assert refusal.value.key == KEY
    with pytest.raises(NotFound):
        store.read(KEY)


# Ranges

RANGES = [
    (0, None, b"0123456789"),
    (0, 10, b"0123456789"),
    (0, 1, b"0"),
    (3, 7, b"3456"),
    (3, None, b"3456789"),
    (9, None, b"9"),
    (9, 10, b"9"),
    (5, 11, b"56789"),
    (0, 1 << 40, b"0123456789"),
]


@pytest.mark.parametrize(("start", "stop", "expected"), RANGES)
def test_a_range_is_clipped_at_the_end_and_knows_the_size_of_all(
    store: ObjectStore, start: int, stop: int | None, expected: bytes
) -> None:
    store.put(KEY, DIGITS)
    reader = store.open(KEY, start, stop)
    assert reader.object_size == len(DIGITS)
    assert drain(reader) == expected


def test_a_range_is_read_in_chunks_of_at_most_the_size_asked_for(store: ObjectStore) -> None:
    store.put(KEY, DIGITS)
    assert drain(store.open(KEY, 1, 9), size=3) == DIGITS[1:9]


def test_what_is_ready_is_what_comes_next(store: ObjectStore) -> None:
    store.put(KEY, DIGITS)
    reader = store.open(KEY, 1, 9)
    contents = b"".join(bytes(reader.read_ready(2) or b"") + reader.read(1) for _ in DIGITS)
    assert contents == DIGITS[1:9]
    assert not reader.read_ready(2)
    reader.close()


def test_a_reader_stays_at_its_end(store: ObjectStore) -> None:
    store.put(KEY, DIGITS)
    reader = store.open(KEY, 8)
    assert [reader.read(100) for _ in range(3)] == [b"89", b"", b""]
    reader.close()


@pytest.mark.parametrize(("data", "start"), [(DIGITS, 10), (DIGITS, 11), (DIGITS, 1 << 40), (b"", 0)])
def test_a_range_that_begins_after_the_last_byte_is_refused(store: ObjectStore, data: bytes, start: int) -> None:
    store.put(KEY, data)
    with pytest.raises(RangeNotSatisfiable) as refusal:
        store.open(KEY, start)
    assert refusal.value.key == KEY


def test_a_missing_object_cannot_be_opened(store: ObjectStore) -> None:
    with pytest.raises(NotFound) as missing:
        store.open(KEY)
    assert missing.value.key == KEY


# Deleting and listing


def test_deleting_removes_one_object_and_may_be_repeated(store: ObjectStore) -> None:
    other = KEY.replace("one", "other")
    store.put(KEY, b"one")
    store.put(other, b"other")
    store.delete(KEY)
    store.delete(KEY)
    with pytest.raises(NotFound):
        store.read(KEY)
    assert list(store.list("metadata/")) == [other]


def test_deleting_what_never_was_is_success(store: ObjectStore) -> None:
    store.delete("metadata/no/such.json")
    assert list(store.list("metadata/")) == []


# "-" and "." sort before "/", digits and capitals before lower case.
IN_BYTE_ORDER = ["m/0/z.json", "m/B/a.json", "m/a-b", "m/a.json", "m/a/a", "m/a/b", "m/a/b-c", "m/a0", "m/b/a"]


def test_keys_are_listed_in_byte_order(store: ObjectStore) -> None:
    for key in reversed(IN_BYTE_ORDER):
        store.put(key, b"")
    assert list(store.list("m/")) == IN_BYTE_ORDER


def test_a_listing_goes_on_behind_any_key(store: ObjectStore) -> None:
    for key in IN_BYTE_ORDER:
        store.put(key, b"")
    for after in [*IN_BYTE_ORDER, "m/", "m/a", "m/a/", "m/a/aa", "m/zzz"]:
        assert list(store.list("m/", after)) == [key for key in IN_BYTE_ORDER if key > after], after


def test_a_listing_keeps_to_its_prefix(store: ObjectStore) -> None:
    for key in ("metadata/ab/1", "metadata/ac/2", "metadata2/ab/3", "files/ab/4", "metadat/5"):
        store.put(key, b"")
    assert list(store.list("metadata/")) == ["metadata/ab/1", "metadata/ac/2"]
    assert list(store.list("metadata/ac/")) == ["metadata/ac/2"]
    assert list(store.list("metadata/ad/")) == []


def test_no_key_is_lost_between_pages(store: ObjectStore) -> None:
    keys = [f"metadata/{number % 16:02x}/{number:03}.json" for number in range(2 * MOTO_PAGE_SIZE + 1)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    keys.sort()
    assert list(store.list("metadata/")) == keys
    assert list(store.list("metadata/", keys[50])) == keys[51:]
    assert list(itertools.islice(store.list("metadata/"), 3)) == keys[:3]


def test_a_store_that_works_passes_its_check(store: ObjectStore) -> None:
    store.check()
    assert list(store.list("metadata/")) == []


# Races


def test_a_reader_sees_one_whole_put_and_never_a_mixture(store: ObjectStore) -> None:
    versions = [bytes([number]) * 50_000 for number in range(4)]
    etags = {store.put(KEY, version): version for version in versions}

    def put(version: bytes) -> None:
        for _ in range(5):
            store.put(KEY, version)

    def read() -> None:
        for _ in range(10):
            data, etag = store.read(KEY)
            assert etags[etag] == data

    writers: list[Callable[[], None]] = [partial(put, version) for version in versions[:2]]
    all_at_once([*writers, read, read])


def test_of_those_who_create_at_once_exactly_one_does(store: ObjectStore) -> None:
    def create(key: str, data: bytes) -> bytes | None:
        try:
            store.put(key, data, ABSENT)
        except (AlreadyExists, Changed):
            return None
        return data

    for number in range(3):
        key = f"metadata/ab/{number}.json"
        created = all_at_once([partial(create, key, bytes([n])) for n in range(4)])
        winners = [data for data in created if data is not None]
        assert winners == [store.read(key)[0]]


def test_no_increment_by_compare_and_swap_is_lost(store: ObjectStore) -> None:
    threads, increments = 4, 8

    def increment() -> None:
        for _ in range(increments):
            while True:
                data, etag = store.read(KEY)
                try:
                    store.put(KEY, b"%d" % (int(data) + 1), Matches(etag))
                    break
                except Changed:
                    continue

    store.put(KEY, b"0")
    all_at_once([increment] * threads)
    assert store.read(KEY)[0] == b"%d" % (threads * increments)


def test_no_put_on_condition_outlives_the_delete_that_it_races(store: ObjectStore) -> None:
    def replace(etag: str) -> None:
        with contextlib.suppress(NotFound, Changed):
            store.put(KEY, b"new", Matches(etag))

    def delete() -> None:
        store.delete(KEY)

    for _ in range(5):
        etag = store.put(KEY, b"old")
        replacing: Callable[[], None] = partial(replace, etag)
        all_at_once([replacing, delete])
        with pytest.raises(NotFound):
            store.read(KEY)
