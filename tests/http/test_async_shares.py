"""Concurrent requests are served together, and each gets the same result as alone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.bootstrap import Service
from shared.errors import StorageUnavailable, UnknownFile, UsedUp, WrongPassword
from shared.http.async_shares import PATIENCE, AsyncShares
from shared.http.lanes import CALM, MOST
from shared.http.streams import Inline
from shared.http.threads import AT_ONCE
from shared.options import Options
from shared.settings import Settings
from shared.sharing import Shares, Stored
from shared.storage.directory.store import DirectoryStore
from shared.tokens import Tokens
from tests.clock import Clock
from tests.interposed import Call, InterposedStore, Proceed
from tests.sharing.shares import shares_over, upload

BURST = 20


class Gate:
    """Holds the first call of this kind on a store until it is opened."""

    def __init__(self, verb: str, key: str = "") -> None:
        self._verb = verb
        self._key = key
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, call: Call, proceed: Proceed) -> Any:
        if call.verb == self._verb and self._key in call.key and not self._reached.is_set():
            self._reached.set()
            assert self._opened.wait(60)
        return proceed()

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, 60)

    def open(self) -> None:
        self._opened.set()


def files_over(shares: Shares, threads: Executor, patience: float = PATIENCE) -> AsyncShares:
    return AsyncShares(Service(Settings(), Tokens(()), shares), threads, threads, patience)


@pytest.fixture
def store(data_directory: Path) -> InterposedStore:
    return InterposedStore(DirectoryStore(data_directory))


@pytest.fixture
def shares(store: InterposedStore) -> Shares:
    return shares_over(store, Clock())


@pytest.fixture
def files(shares: Shares) -> Iterator[AsyncShares]:
    with ThreadPoolExecutor(8) as threads:
        yield files_over(shares, threads)


@contextlib.asynccontextmanager
async def held(store: InterposedStore, gate: Gate) -> AsyncIterator[Gate]:
    """A gate in the store, which is opened even if the test fails."""
    store.begin(gate)
    try:
        yield gate
    finally:
        gate.open()


async def begun(*requests: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Start requests one after another, each until it waits."""
    tasks = []
    for request in requests:
        tasks.append(asyncio.create_task(request))
        await asyncio.sleep(0)
    return tasks


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[type]:
    return [type(outcome) for outcome in await asyncio.gather(*tasks, return_exceptions=True)]


def counted(shares: Shares, file_id: str) -> int:
    return shares.describe(file_id).download_count


def test_all_that_come_during_one_write_share_the_next(
    files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    stored = shares.find(upload(shares).file_id)

    async def run() -> None:
        async with held(store, Gate("put if")) as gate:
            first = await begun(files.count(stored))
            await gate.reached()
            waiting = await begun(*(files.count(stored) for _ in range(BURST)))
            gate.open()
            await asyncio.gather(*first, *waiting)

    asyncio.run(run())
    assert counted(shares, stored.record.file_id) == BURST + 1
    # The second write continues from the first, without reading the record again.
    assert (store.puts, store.count("read")) == (2, 1)


def test_those_who_ask_again_join_those_who_waited(files: AsyncShares, shares: Shares, store: InterposedStore) -> None:
    """Otherwise all clients of a busy file would be served by halves, with twice as many writes."""
    stored = shares.find(upload(shares).file_id)

    async def count_twice() -> None:
        await files.count(stored)
        await files.count(stored)

    async def run() -> None:
        async with held(store, Gate("put if")) as gate:
            again = await begun(*(count_twice() for _ in range(BURST)))
            await gate.reached()
            waiting = await begun(*(files.count(stored) for _ in range(BURST)))
            gate.open()
            await asyncio.gather(*again, *waiting)

    asyncio.run(run())
    assert (counted(shares, stored.record.file_id), store.puts) == (3 * BURST, 2)


@pytest.mark.parametrize("left", [0, 5, BURST])
def test_a_cap_grants_exactly_what_is_left_to_those_who_came_first(
    files: AsyncShares, shares: Shares, store: InterposedStore, left: int
) -> None:
    stored = shares.find(upload(shares, max_downloads=left + 1).file_id)

    async def run() -> list[type]:
        async with held(store, Gate("put if")) as gate:
            first = await begun(files.count(stored))
            await gate.reached()
            waiting = await begun(*(files.count(stored) for _ in range(BURST)))
            gate.open()
            await asyncio.gather(*first)
            return await outcomes(waiting)

    assert asyncio.run(run()) == [type(None)] * left + [UsedUp] * (BURST - left)
    assert counted(shares, stored.record.file_id) == left + 1


def test_only_the_password_that_holds_when_it_is_counted_admits(
    files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    file_id = upload(shares, password="old").file_id
    with_old = shares.find(file_id)

    async def run() -> tuple[list[type], list[type]]:
        async with held(store, Gate("put if")) as gate:
            first = await begun(files.count(with_old))
            await gate.reached()
            shares.change(file_id, Options(password="new"), frozenset({"password"}))
            with_new = shares.find(file_id)
            waiting = await begun(*(files.count(seen) for seen in (with_old, with_new, with_old, with_new)))
            gate.open()
            return await outcomes(first), await outcomes(waiting)

    assert asyncio.run(run()) == ([WrongPassword], [WrongPassword, type(None), WrongPassword, type(None)])
    assert counted(shares, file_id) == 2


def test_an_error_reaches_all_who_wait_together_and_nobody_else(
    files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    stored = shares.find(upload(shares).file_id)
    gate = Gate("put if")

    def around(call: Call, proceed: Proceed) -> Any:
        if call.put == 2:
            raise StorageUnavailable("no")
        return gate(call, proceed)

    async def run() -> tuple[list[type], list[type], list[type]]:
        async with held(store, gate):
            store.around = around
            first = await begun(files.count(stored))
            await gate.reached()
            waiting = await begun(*(files.count(stored) for _ in range(BURST)))
            gate.open()
            return await outcomes(first), await outcomes(waiting), await outcomes(await begun(files.count(stored)))

    assert asyncio.run(run()) == ([type(None)], [StorageUnavailable] * BURST, [type(None)])
    assert counted(shares, stored.record.file_id) == 2


def test_clients_that_leave_change_nothing_for_others(
    files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    stored = shares.find(upload(shares).file_id)

    async def run() -> list[type]:
        async with held(store, Gate("put if")) as gate:
            first = await begun(files.count(stored))
            await gate.reached()
            waiting = await begun(*(files.count(stored) for _ in range(BURST)))
            for task in (*first, *waiting[::2]):
                task.cancel()
            gate.open()
            return await outcomes([*first, *waiting])

    gone = asyncio.CancelledError
    assert asyncio.run(run()) == [gone, *[gone, type(None)] * (BURST // 2)]
    # The write in progress takes effect, and clients that left while they waited are not counted.
    assert counted(shares, stored.record.file_id) == 1 + BURST // 2


def test_one_job_serves_so_many_at_most(files: AsyncShares, shares: Shares, store: InterposedStore) -> None:
    stored = shares.find(upload(shares).file_id)

    async def run() -> None:
        async with held(store, Gate("put if")) as gate:
            first = await begun(files.count(stored))
            await gate.reached()
            waiting = await begun(*(files.count(stored) for _ in range(MOST + 1)))
            gate.open()
            await asyncio.gather(*first, *waiting)

    asyncio.run(run())
    assert (counted(shares, stored.record.file_id), store.puts) == (MOST + 2, 3)


MANY_BYTES = b"hello" + bytes(900)
stops = itertools.cycle(range(1, len(MANY_BYTES)))
# What each request for a file does, and the call of the store that hangs.
REQUESTS: dict[str, tuple[str, Callable[[AsyncShares, Stored], Coroutine[Any, Any, Any]]]] = {
    "find": ("read", lambda files, stored: files.find(stored.record.file_id)),
    "describe": ("read", lambda files, stored: files.describe(stored.record.file_id)),
    "read": ("open", lambda files, stored: files.read(stored, 0, 5)),
    "read different bytes": ("open", lambda files, stored: files.read(stored, 0, next(stops))),
    "open": (
        "open",
        lambda files, stored: files.run(lambda shares: shares.open(stored, 0, 5).close(), stored.record.file_id),
    ),
    "count": ("put if", lambda files, stored: files.count(stored)),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_file_that_hangs_holds_up_no_other(shares: Shares, store: InterposedStore, request_: str) -> None:
    verb, ask = REQUESTS[request_]
    hanging, other = (shares.find(upload(shares, MANY_BYTES).file_id) for _ in range(2))
    opened = threading.Event()

    def around(call: Call, proceed: Proceed) -> Any:
        if call.verb == verb and hanging.record.file_id in call.key:
            assert opened.wait(60)
        return proceed()

    async def run(threads: Executor) -> None:
        # Each request begins a job of its own, as if they came far apart.
        files = files_over(shares, threads, patience=0)
        store.begin(around)
        try:
            waiting = []
            for _ in range(2 * AT_ONCE):
                waiting += await begun(ask(files, hanging))
                # As many rounds of the event loop as a job takes to begin.
                for _ in range(CALM + 3):
                    await asyncio.sleep(0)
            file_id = other.record.file_id
            assert await files.read(await files.find(file_id), 0, 5) == b"hello"
            await files.count(other)
            assert (await files.describe(file_id)).file_id == file_id
            assert not any(each.done() for each in waiting)
        finally:
            opened.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 60)

    with ThreadPoolExecutor(AT_ONCE + 1) as threads:
        asyncio.run(asyncio.wait_for(run(threads), 60))
    assert counted(shares, other.record.file_id) == 1


def test_nobody_gets_what_was_read_before_they_asked(
    files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    file_id = upload(shares).file_id

    def around(call: Call, proceed: Proceed) -> Any:
        # Read first, then hold the result.
        outcome = proceed()
        return gate(call, lambda: outcome)

    gate = Gate("read", file_id)

    async def run() -> list[type]:
        async with held(store, gate):
            store.around = around
            first = await begun(files.find(file_id))
            await gate.reached()
            shares.delete(file_id)
            later = await begun(files.find(file_id), files.find(file_id))
            gate.open()
            return await outcomes([*first, *later])

    assert asyncio.run(run()) == [
        Stored.__origin__ if hasattr(Stored, "__origin__") else Stored,
        UnknownFile,
        UnknownFile,
    ]


def test_what_is_slow_to_be_read_is_not_waited_for_twice(
    files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    file_id = upload(shares).file_id

    async def run() -> None:
        async with held(store, Gate("read", file_id)) as gate:
            first = await begun(files.find(file_id))
            await gate.reached()
            stored = await files.find(file_id)
            async with held(store, Gate("open", file_id)) as second:
                reading = await begun(files.read(stored, 0, 5))
                await second.reached()
                assert await files.read(stored, 0, 5) == b"hello"
                assert not first[0].done()
                assert not reading[0].done()
                gate.open()
                second.open()
                await asyncio.gather(*first, *reading)

    asyncio.run(run())


def test_a_slow_record_is_not_waited_for_twice(files: AsyncShares, shares: Shares, store: InterposedStore) -> None:
    file_id = upload(shares).file_id

    async def run() -> None:
        async with held(store, Gate("read", file_id)) as gate:
            first = await begun(files.describe(file_id))
            await gate.reached()
            assert (await files.describe(file_id)).file_id == file_id
            assert not first[0].done()
            gate.open()
            await asyncio.gather(*first)

    asyncio.run(run())


@pytest.fixture
def patient_files(shares: Shares) -> Iterator[AsyncShares]:
    """All requests that come during a read wait for its end, however slow the machine is."""
    with ThreadPoolExecutor(8) as threads:
        yield files_over(shares, threads, patience=60)


def test_those_who_meet_have_record_and_bytes_read_once(
    patient_files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    files, file_id = patient_files, upload(shares).file_id

    async def download() -> bytes:
        stored = await files.find(file_id)
        data = await files.read(stored, 0, 5)
        await files.count(stored)
        return data

    async def run() -> list[bytes]:
        async with held(store, Gate("read", file_id)) as gate:
            first = await begun(files.find(file_id))
            await gate.reached()
            waiting = await begun(*(download() for _ in range(BURST)))
            gate.open()
            await asyncio.gather(*first)
            return list(await asyncio.gather(*waiting))

    assert asyncio.run(run()) == [b"hello"] * BURST
    assert (store.count("read"), store.count("open"), store.puts) == (2, 1, 1)
    assert counted(shares, file_id) == BURST


def test_those_who_meet_get_the_bytes_that_they_asked_for(
    patient_files: AsyncShares, shares: Shares, store: InterposedStore
) -> None:
    stored = shares.find(upload(shares).file_id)
    ranges = [(0, 5), (0, 2), (3, 5), (0, 2)]

    async def run() -> list[bytes]:
        async with held(store, Gate("open", stored.record.file_id)) as gate:
            first = await begun(patient_files.read(stored, 0, 5))
            await gate.reached()
            waiting = await begun(*(patient_files.read(stored, *each) for each in ranges))
            gate.open()
            await asyncio.gather(*first)
            return list(await asyncio.gather(*waiting))

    assert asyncio.run(run()) == [b"hello"[start:stop] for start, stop in ranges]


class Waits(AssertionError):
    pass


def finish(request: Coroutine[Any, Any, Any]) -> Any:
    """The result of a request that never yields to the event loop."""

    async def run() -> Any:
        try:
            request.send(None)
        except StopIteration as end:
            return end.value
        raise Waits

    return asyncio.run(run())


def test_on_lambda_a_lane_is_a_plain_call(shares: Shares) -> None:
    files = files_over(shares, Inline())
    file_id = upload(shares, max_downloads=1).file_id
    stored = finish(files.find(file_id))
    assert finish(files.read(stored, 0, 5)) == b"hello"
    finish(files.count(stored))
    with pytest.raises(UsedUp):
        finish(files.count(stored))
    assert finish(files.describe(file_id)).download_count == 1


class NoThreads(Executor):
    """Accepts work, but never does it."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        return Future()


def without_thread(shares: Shares, file_id: str, request: Callable[[AsyncShares], Coroutine[Any, Any, Any]]) -> Any:
    """The result of a request for a file. The kernel can forget where it is at any time, so this looks there again."""
    for _ in range(20):
        with contextlib.suppress(Waits):
            return finish(request(files_over(shares, NoThreads())))
        shares.check()
        with contextlib.suppress(UnknownFile):
            shares.find(file_id)
    raise AssertionError("a thread is used")


def test_what_lies_in_memory_is_read_without_a_thread(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "data")
    if store.ready is None:
        pytest.skip("no file can be read here without waiting")
    shares = shares_over(store, Clock())
    file_id = upload(shares).file_id
    stored = without_thread(shares, file_id, lambda files: files.find(file_id))
    assert stored == shares.find(file_id)
    assert without_thread(shares, file_id, lambda files: files.read(stored, 1, 4)) == b"ell"
    assert without_thread(shares, file_id, lambda files: files.describe(file_id)) == shares.describe(file_id)
    without_thread(shares, file_id, lambda files: files.check())
    shares.delete(file_id)
    with pytest.raises(UnknownFile):
        without_thread(shares, file_id, lambda files: files.find(file_id))
