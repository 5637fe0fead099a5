"""Which jobs run when, and what becomes of those who wait. An executor without threads runs them one by one."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import pytest

from shared.http.lanes import CALM, Lanes
from shared.http.threads import AT_ONCE

T = TypeVar("T")
HELD = 5


class Jobs(Executor):
    """Jobs that begin and end when the test says so."""

    def __init__(self) -> None:
        self.running: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.items: list[list[str]] = []
        """Those of each job, in the order in which jobs began."""
        self.former: list[Sequence[object]] = []
        self.refusal: Exception | None = None

    def submit(self, fn: Callable[..., T], /, *args: Any, **_options: Any) -> Future[T]:
        if self.refusal is not None:
            raise self.refusal
        items, former = args
        job: Future[T] = Future()
        self.running.append((job, lambda: fn(items, former)))
        self.items.append(items)
        self.former.append(former)
        return job

    async def end(self, number: int = 0) -> None:
        job, work = self.running.pop(number)
        job.set_result(work())
        await settled()


async def settled() -> None:
    """All that can happen by itself has happened."""
    for _ in range(2 * CALM + 4):
        await asyncio.sleep(0)


def echo(items: Sequence[str], _former: Sequence[object]) -> Sequence[str]:
    return [item.upper() for item in items]


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def lanes(jobs: Jobs) -> Lanes[str, str]:
    return Lanes(jobs, echo)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


async def joined(lanes: Lanes[str, str], file_id: str, *parts: str) -> list[asyncio.Task[str]]:
    """Requests for these parts, each of which has asked for its name."""
    tasks = [asyncio.create_task(lanes.join(file_id, part, part)) for part in parts]
    await settled()
    return tasks


PARTS = [f"part {number}" for number in range(AT_ONCE + HELD)]


def test_only_so_many_jobs_of_a_file_run_at_once_and_the_rest_in_order(jobs: Jobs, lanes: Lanes[str, str]) -> None:
    async def test() -> None:
        waiting = await joined(lanes, "a file", *PARTS)
        assert len(jobs.running) == AT_ONCE
        other = await joined(lanes, "another", "x")
        assert jobs.items[-1] == ["x"]
        await jobs.end(AT_ONCE)
        assert await other[0] == "X"
        for ended in range(1, len(PARTS) + 1):
            await jobs.end()
            assert len(jobs.running) == min(AT_ONCE, len(PARTS) - ended)
        assert await asyncio.gather(*waiting) == [part.upper() for part in PARTS]
        assert [items for items in jobs.items if items != ["x"]] == [[part] for part in PARTS]

    run(test())


def test_the_limit_holds_again_after_all_jobs_but_one_have_ended(jobs: Jobs, lanes: Lanes[str, str]) -> None:
    async def test() -> None:
        waiting = await joined(lanes, "a file", *PARTS[:2])
        await jobs.end()
        waiting += await joined(lanes, "a file", *PARTS[2:])
        assert len(jobs.running) == AT_ONCE
        while jobs.running:
            await jobs.end()
        assert await asyncio.gather(*waiting) == [part.upper() for part in PARTS]

    run(test())


def test_clients_that_leave_meanwhile_take_no_job(jobs: Jobs, lanes: Lanes[str, str]) -> None:
    async def test() -> None:
        waiting = await joined(lanes, "a file", *PARTS)
        for gone in waiting[AT_ONCE:-1]:
            gone.cancel()
        await settled()
        await jobs.end()
        assert jobs.items[-1] == [PARTS[-1]]
        while jobs.running:
            await jobs.end()
        assert await waiting[-1] == PARTS[-1].upper()
        assert len(jobs.items) == AT_ONCE + 1

    run(test())


def test_those_who_waited_for_a_free_job_learn_of_the_one_before(jobs: Jobs, lanes: Lanes[str, str]) -> None:
    async def test() -> None:
        waiting = await joined(lanes, "a file", *PARTS)
        waiting += await joined(lanes, "a file", PARTS[0])
        await jobs.end()
        # All others of the file come first.
        for _ in range(HELD):
            await jobs.end()
        assert (jobs.items[-1], jobs.former[-1]) == ([PARTS[0]], [PARTS[0].upper()])
        while jobs.running:
            await jobs.end()
        await asyncio.gather(*waiting)

    run(test())


def test_a_job_that_is_cancelled_is_an_error_for_those_who_wait(jobs: Jobs, lanes: Lanes[str, str]) -> None:
    async def test() -> None:
        waiting = await joined(lanes, "a file", "a", "a")
        job, _ = jobs.running.pop()
        assert job.cancel()
        await settled()
        assert all(isinstance(each.exception(), Exception) for each in waiting)
        later = await joined(lanes, "a file", "a")
        await jobs.end()
        assert await later[0] == "A"

    run(test())


def test_whatever_prevents_a_job_those_who_wait_learn_it(jobs: Jobs, lanes: Lanes[str, str]) -> None:
    async def test() -> None:
        jobs.refusal = LookupError("no job")
        waiting = await joined(lanes, "a file", "a", "a")
        assert [each.exception() for each in waiting] == [jobs.refusal] * 2
        jobs.refusal = None
        later = await joined(lanes, "a file", "a")
        await jobs.end()
        assert await later[0] == "A"

    run(test())


class Name(str):
    """A text that others can refer to weakly."""

    __slots__ = ("__weakref__",)


def test_nothing_remains_of_a_file_once_all_are_answered(jobs: Jobs, lanes: Lanes[str, str]) -> None:
    async def test() -> weakref.ref[Name]:
        file_id = Name("a file")
        waiting = await joined(lanes, file_id, *PARTS)
        while jobs.running:
            await jobs.end()
        await asyncio.gather(*waiting)
        return weakref.ref(file_id)

    assert asyncio.run(asyncio.wait_for(test(), 60))() is None
