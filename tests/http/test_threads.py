"""Where storage work runs: short work on the processor of the event loop, and that of one file in some threads only."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shared.http.threads import AT_ONCE, PerFile, SameProcessor, any_processor

MANY = 20

T = TypeVar("T")

here = os.sched_getaffinity if hasattr(os, "sched_getaffinity") else lambda _thread: {0}
needs_two = pytest.mark.skipif(len(here(0)) < 2, reason="needs two processors, and a system that lets threads choose")


def same_processor(count: int = 1, **options: Any) -> SameProcessor:
    """As if on a server of its own, so that no parallel test has taken its processors."""
    return SameProcessor(count, "test", **{"server": uuid.uuid4().int, **options})


def run(work: Callable[[SameProcessor], Coroutine[Any, Any, T]], stay: float = 60, **options: int) -> T:
    async def main() -> T:
        threads = same_processor(MANY, stay=stay, **options)
        try:
            return await work(threads)
        finally:
            threads.shutdown(wait=False)

    return asyncio.run(asyncio.wait_for(main(), 60))


async def done(threads: Executor, work: Callable[[], T]) -> T:
    return await asyncio.wrap_future(threads.submit(work))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.to_thread(time.sleep, 0.001)


@needs_two
def test_short_work_and_the_event_loop_stay_on_one_processor() -> None:
    async def main(threads: SameProcessor) -> None:
        for _ in range(MANY):
            assert await done(threads, lambda: here(0)) == here(0)
        assert len(here(0)) == 1

    run(main)


@needs_two
def test_other_work_runs_on_any_processor_meanwhile() -> None:
    before = here(0)

    async def main(threads: SameProcessor) -> None:
        others = any_processor(1, "other")
        await done(threads, lambda: None)
        assert await done(others, lambda: here(0)) == before
        others.shutdown()

    run(main)


@needs_two
def test_after_a_while_the_event_loop_runs_on_any_processor() -> None:
    """Otherwise, a program that also stays on this processor could take half of it forever, beside an idle one."""
    before = here(0)

    async def main(threads: SameProcessor) -> None:
        await done(threads, lambda: None)
        await until(lambda: here(0) == before)

    run(main, stay=0.01)


@needs_two
@pytest.mark.parametrize("choose", [min, max])
def test_later_work_follows_the_event_loop_to_another_processor(choose: Callable[[set[int]], int]) -> None:
    before = here(0)
    other = {choose(before)}

    async def main(threads: SameProcessor) -> None:
        await done(threads, lambda: None)
        await until(lambda: here(0) == before)
        while await done(threads, lambda: here(0)) != other:
            os.sched_setaffinity(0, other)
            await asyncio.to_thread(time.sleep, 0.001)

    run(main, stay=0.01)


@needs_two
def test_workers_of_one_server_stay_on_different_processors_while_there_are_enough() -> None:
    """Two that began on the same one once took turns there, beside an idle one, and were no faster than one."""
    before, server = here(0), uuid.uuid4().int
    *workers, one_more, successor = (same_processor(server=server) for _ in range(len(before) + 2))

    async def begin(threads: SameProcessor, beside: set[int]) -> set[int]:
        os.sched_setaffinity(0, beside)
        return await done(threads, lambda: here(0))

    try:
        first, *others = (asyncio.run(begin(threads, {min(before)})) for threads in workers)
        assert first == {min(before)}
        assert first.union(*others) == before
        assert asyncio.run(begin(one_more, others[0])) == others[0]
        workers[0].shutdown()
        assert asyncio.run(begin(successor, others[0])) == first
    finally:
        for threads in (*workers, one_more, successor):
            threads.shutdown()
        os.sched_setaffinity(0, before)


@needs_two
def test_a_worker_that_stays_nowhere_keeps_no_processor() -> None:
    before, server = here(0), uuid.uuid4().int
    other = same_processor(server=server)

    async def main(threads: SameProcessor) -> None:
        first = await done(threads, lambda: here(0))
        await until(lambda: here(0) == before)
        os.sched_setaffinity(0, first)
        assert await done(other, lambda: here(0)) == first

    try:
        run(main, stay=0.01, server=server)
    finally:
        other.shutdown()


@needs_two
def test_at_the_end_the_thread_of_the_event_loop_runs_on_any_processor() -> None:
    before = here(0)
    run(lambda threads: done(threads, lambda: None))
    assert here(0) == before


@needs_two
def test_a_new_event_loop_stays_too() -> None:
    before = here(0)
    threads = same_processor(stay=60)
    try:
        for _ in range(2):
            os.sched_setaffinity(0, before)
            assert asyncio.run(done(threads, lambda: here(0))) == here(0)
            assert len(here(0)) == 1
    finally:
        threads.shutdown()


def test_work_runs_where_threads_cannot_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: int, _processors: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    assert run(lambda threads: done(threads, lambda: 1)) == 1


def test_work_runs_where_the_system_knows_no_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert run(lambda threads: done(threads, lambda: 1)) == 1


def test_work_runs_where_the_system_does_not_tell_the_processor(tmp_path: Path) -> None:
    async def main() -> object:
        threads = same_processor(status=tmp_path / "missing")
        try:
            return await done(threads, lambda: here(0)), here(0)
        finally:
            threads.shutdown()

    before = here(0)
    assert asyncio.run(main()) == (before, before)


def test_work_that_hangs_does_not_hold_up_other_work() -> None:
    async def main(threads: SameProcessor) -> int:
        opened = threading.Event()
        try:
            for _ in range(MANY - 1):
                threads.submit(opened.wait, 60)
            return await done(threads, lambda: 1)
        finally:
            opened.set()

    assert run(main) == 1


def test_errors_reach_the_caller() -> None:
    async def main(threads: SameProcessor) -> None:
        with pytest.raises(ZeroDivisionError):
            await done(threads, lambda: 1 // 0)

    run(main)


KINDS: dict[str, Callable[[int], Executor]] = {
    "same processor": same_processor,
    "any processor": lambda count: any_processor(count, "test"),
}


def refused(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("kind", KINDS)
def test_if_the_system_gives_no_more_threads_the_existing_ones_do_the_work(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def main() -> None:
        opened = threading.Event()
        with KINDS[kind](MANY) as threads:
            try:
                waiting = threads.submit(opened.wait, 60)
                with monkeypatch.context() as patch:
                    patch.setattr(threading.Thread, "start", refused)
                    others = [threads.submit(abs, -number) for number in range(MANY)]
            finally:
                opened.set()
            assert await asyncio.wrap_future(waiting)
            assert [await asyncio.wrap_future(other) for other in others] == [*range(MANY)]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_thread_could_do_is_refused_and_never_done(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        with KINDS[kind](MANY) as threads:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refused)
                for number in range(3):
                    with pytest.raises(RuntimeError, match="can't start"):
                        threads.submit(seen.append, number)
            await asyncio.wrap_future(threads.submit(seen.append, 3))
        return seen

    assert asyncio.run(main()) == [3]


def test_any_name_of_the_process_will_do(tmp_path: Path) -> None:
    # The name of the thread is in parentheses, and in no encoding.
    (tmp_path / "stat").write_bytes(b"1 (\xff) (\n) " + b" ".join(b"%d" % field for field in range(3, 53)))
    threads = same_processor(status=tmp_path / "stat")

    async def main() -> int:
        try:
            return await done(threads, lambda: 1)
        finally:
            threads.shutdown()

    assert asyncio.run(main()) == 1


class Held(Executor):
    """Threads that do each work when the test says so."""

    def __init__(self) -> None:
        self.works: list[Callable[[], object]] = []
        self.refusal: Exception | None = None

    def submit(self, fn: Callable[..., T], /, *args: Any, **_options: Any) -> Future[T]:
        if self.refusal is not None:
            raise self.refusal
        self.works.append(functools.partial(fn, *args))
        return Future()

    def go_on(self) -> None:
        while self.works:
            self.works.pop(0)()


BEYOND = range(AT_ONCE + 5)


def test_one_file_takes_only_some_threads_and_further_work_waits_in_order() -> None:
    threads, done = Held(), list[int]()
    files = PerFile(threads)
    # Again, because the limit holds after all have ended, too.
    for _ in range(2):
        file, other = files.of("a file"), files.of("another")
        for number in BEYOND:
            assert files.of("a file") is file
            file.submit(done.append, number)
        assert len(threads.works) == AT_ONCE
        other.submit(done.append, -1)
        assert len(threads.works) == AT_ONCE + 1
        threads.go_on()
        assert done == [*range(AT_ONCE), -1, *range(AT_ONCE, len(BEYOND))]
        done.clear()


def test_a_busy_file_takes_turns_with_others() -> None:
    """On S3, four files with 40 downloads each once kept all threads, and nothing else was done."""
    threads, done = Held(), list[int]()
    file = PerFile(threads).of("a file")
    for number in BEYOND:
        file.submit(done.append, number)
    threads.submit(done.append, -1)
    threads.go_on()
    assert done == [*range(AT_ONCE), -1, *range(AT_ONCE, len(BEYOND))]


@pytest.mark.parametrize("refusal", [RuntimeError("cannot schedule new futures after shutdown"), MemoryError()])
def test_all_work_of_a_file_that_was_accepted_is_done_even_if_it_gets_no_more_turns(refusal: Exception) -> None:
    threads, done = Held(), list[int]()
    file = PerFile(threads).of("a file")
    for number in BEYOND:
        file.submit(done.append, number)
    threads.refusal = refusal
    threads.go_on()
    assert sorted(done) == [*BEYOND]
    threads.refusal = None
    file.submit(done.append, -1)
    threads.go_on()
    assert done[-1] == -1


def test_work_of_a_file_that_is_cancelled_while_it_waits_is_not_done() -> None:
    threads, done = Held(), list[int]()
    file = PerFile(threads).of("a file")
    futures = [file.submit(done.append, number) for number in BEYOND]
    assert futures[-2].cancel()
    threads.go_on()
    assert done == [number for number in BEYOND if number != BEYOND[-2]]


def test_work_of_a_file_that_no_thread_can_do_is_refused_and_never_done() -> None:
    threads, done = Held(), list[int]()
    file = PerFile(threads).of("a file")
    threads.refusal = RuntimeError("can't start new thread")
    for number in range(AT_ONCE):
        with pytest.raises(RuntimeError, match="can't start"):
            file.submit(done.append, -number)
    threads.refusal = None
    for number in BEYOND:
        file.submit(done.append, number)
    assert len(threads.works) == AT_ONCE
    threads.go_on()
    assert done == [*BEYOND]


def test_work_of_a_file_that_a_thread_has_begun_is_not_refused() -> None:
    """Its caller would do it again, and count a download twice."""
    threads, done = Held(), list[int]()
    file = PerFile(threads).of("a file")
    file.submit(done.append, 1)

    class Refusing(Held):
        def submit(self, fn: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
            # Before the system refuses another thread, the one at work takes this from the queue.
            self.go_on()
            raise RuntimeError("can't start new thread")

    threads.__class__ = Refusing
    assert file.submit(done.append, 2).done()
    assert done == [1, 2]


def test_an_error_of_a_file_reaches_the_caller_and_leaves_no_garbage() -> None:
    threads = Held()
    future = PerFile(threads).of("a file").submit(lambda: 1 // 0)
    threads.go_on()
    with pytest.raises(ZeroDivisionError):
        future.result(0)
    gone = weakref.ref(future)
    gc.disable()
    try:
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_nothing_remains_of_a_file_without_work() -> None:
    threads = Held()
    files = PerFile(threads)
    files.of("a file").submit(abs, 1)
    kept = weakref.ref(files.of("a file"))
    assert kept() is not None
    threads.go_on()
    assert kept() is None
