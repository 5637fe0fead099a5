"""Short work shares a few threads while the processor is busy, but does not wait for work that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from shared.http.threads import FEW, PERIOD, FewThreads

MANY = 20

T = TypeVar("T")


@contextlib.contextmanager
def few_threads(*, busy: bool) -> Iterator[FewThreads]:
    """The few threads of a process that keeps the processor busy all the time, or never."""
    with ThreadPoolExecutor(MANY) as others:
        threads = FewThreads(others, processor_time=time.monotonic if busy else lambda: 0.0)
        try:
            yield threads
        finally:
            threads.shutdown()


@contextlib.contextmanager
def hanging(threads: FewThreads) -> Iterator[None]:
    """Let each of the few threads hang."""
    opened = threading.Event()
    try:
        for _ in range(FEW):
            threads.submit(opened.wait, 60)
        yield
    finally:
        opened.set()


async def done(threads: FewThreads, work: Callable[[], T]) -> T:
    return await asyncio.wait_for(asyncio.wrap_future(threads.submit(work)), 60)


def is_one_of_few() -> bool:
    return threading.current_thread().name.startswith("short")


async def until_few(threads: FewThreads) -> None:
    """Submit work until one of the few threads does it."""
    async with asyncio.timeout(60):
        while not await done(threads, is_one_of_few):
            pass


def test_work_that_waits_for_storage_runs_all_at_once() -> None:
    async def run() -> None:
        with few_threads(busy=False) as threads:
            meeting = threading.Barrier(MANY)
            await asyncio.gather(*(done(threads, lambda: meeting.wait(60)) for _ in range(MANY)))

    asyncio.run(run())


def test_an_idle_processor_needs_no_few_threads() -> None:
    async def run() -> None:
        with few_threads(busy=False) as threads:
            since = time.monotonic()
            while time.monotonic() < since + 3 * PERIOD:
                assert not await done(threads, is_one_of_few)

    asyncio.run(run())


def test_work_does_not_wait_for_work_that_hangs() -> None:
    async def run() -> None:
        with few_threads(busy=True) as threads:
            await until_few(threads)
            with hanging(threads):
                assert not await done(threads, is_one_of_few)

    asyncio.run(run())


def test_an_error_reaches_the_waiting_caller() -> None:
    async def run() -> None:
        with few_threads(busy=False) as threads:
            with pytest.raises(ZeroDivisionError):
                await done(threads, lambda: 1 // 0)
            assert await done(threads, lambda: 1) == 1

    asyncio.run(run())


def test_cancelled_work_is_left_out() -> None:
    async def run() -> None:
        with few_threads(busy=True) as threads:
            ran: list[int] = []
            async with asyncio.timeout(60):
                while True:
                    await until_few(threads)
                    del ran[:]
                    with hanging(threads):
                        # This starts at once if the other threads work again, which can have happened since the last
                        # check.
                        if threads.submit(ran.append, 1).cancel():
                            break
            await done(threads, lambda: None)
            assert ran == []

    asyncio.run(run())


def test_it_serves_one_event_loop_after_another() -> None:
    with few_threads(busy=True) as threads:
        for _ in range(2):
            asyncio.run(until_few(threads))
            # End an event loop while the watcher still runs in it.
            asyncio.run(done(threads, lambda: None))
