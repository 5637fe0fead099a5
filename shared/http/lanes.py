"""Lanes do simultaneous storage work together; requests wait for it on the event loop instead of in threads."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.http.streams import Inline
from shared.http.threads import AT_ONCE

MOST = 256  # requests that one job serves
# Rounds of the event loop without a new request before a job begins.
CALM = 3

T = TypeVar("T")
R = TypeVar("R")


class Lanes(Generic[T, R]):
    """Work of one kind, with one lane per file or part of it. Requests wait during a job; the next job serves them all.

    `work` runs in a thread. It gets the items of the requests, in order of arrival, and the outcomes of the job that
    they waited for. It returns an outcome for each request, a result or an error; if it raises, they all get that
    error. A job begins once no more requests arrive, so no request gets data that was read before it arrived.

    With `patience`, in seconds, the next job begins after that time at the latest, so no request waits for two slow
    jobs, unless `AT_ONCE` of them run.
    """

    def __init__(
        self,
        threads: Executor,
        work: Callable[[Sequence[T], Sequence[R | BaseException]], Sequence[R | BaseException]],
        patience: float | None = None,
    ) -> None:
        self._threads = threads
        self._work = work
        self._patience = patience
        self._taken: dict[_Key, _Lane[T, R]] = {}
        self._files: defaultdict[str, _File[T, R]] = defaultdict(_File)

    async def join(self, file_id: str, item: T, part: Hashable = None) -> R:
        """Add an item to the lane of this file or part of it, and return its result. Raises its error."""
        if isinstance(self._threads, Inline):
            [outcome] = self._work([item], ())
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        key = file_id, part
        if key in self._taken:
            self._taken[key].waiting.append((item, future))
        else:
            lane = self._taken[key] = _Lane([(item, future)])
            loop.call_soon(self._gather, key, lane, ())
        return await future

    def _begin(self, key: _Key, requests: list[_Request[T, R]], former: Sequence[R | BaseException]) -> None:
        loop = asyncio.get_running_loop()
        requests, waiting = requests[:MOST], requests[MOST:]
        lane = self._taken[key] = _Lane(waiting)
        self._files[key[0]].jobs += 1
        try:
            job = self._threads.submit(self._work, [item for item, _ in requests], former)
        except Exception as error:
            # Perhaps the threads were shut down. Unless this ends like a failed job, the requests would wait forever.
            job = Future()
            job.set_exception(error)
        if self._patience is not None:
            lane.timer = loop.call_later(self._patience, self._free, key, lane)
        job.add_done_callback(lambda job: loop.call_soon_threadsafe(self._end, key, lane, requests, job))

    def _end(
        self,
        key: _Key,
        lane: _Lane[T, R],
        requests: list[_Request[T, R]],
        job: Future[Sequence[R | BaseException]],
    ) -> None:
        if lane.timer is not None:
            lane.timer.cancel()
        outcomes: Sequence[R | BaseException]
        try:
            outcomes = job.result()
        except BaseException as error:
            outcomes = [error] * len(requests)
        self._gather(key, lane, outcomes)
        for (_, future), outcome in zip(requests, outcomes, strict=True):
            if future.cancelled():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        file = self._files[key[0]]
        file.jobs -= 1
        while file.held and file.jobs < AT_ONCE:
            self._free(*file.held.popleft())
        if file.jobs == 0:
            del self._files[key[0]]

    def _gather(
        self, key: _Key, lane: _Lane[T, R], outcomes: Sequence[R | BaseException], count: int = 0, calm: int = 0
    ) -> None:
        """Begin the next job once no more requests arrive.

        Clients that are answered together also ask again together. Without this pause, half of them would wait for a
        job that serves the other half.
        """
        calm = calm + 1 if len(lane.waiting) == count else 0
        count = len(lane.waiting)
        if 0 < count < MOST and calm < CALM:
            asyncio.get_running_loop().call_soon(self._gather, key, lane, outcomes, count, calm)
        else:
            self._free(key, lane, outcomes)

    def _free(self, key: _Key, lane: _Lane[T, R], outcomes: Sequence[R | BaseException] = ()) -> None:
        """Begin a job for the requests that wait in this lane, unless it has begun, or once another one has ended."""
        if self._taken.get(key) is not lane:
            return
        waiting = [request for request in lane.waiting if not request[1].cancelled()]
        if not waiting:
            del self._taken[key]
        elif self._files[key[0]].jobs < AT_ONCE:
            self._begin(key, waiting, outcomes)
        else:
            self._files[key[0]].held.append((key, lane, outcomes))


_Key = tuple[str, Hashable]
_Request = tuple[T, "asyncio.Future[R]"]


@dataclass(eq=False, slots=True)
class _Lane(Generic[T, R]):
    """Waiting requests, perhaps for a running job; `timer` ends their patience."""

    waiting: list[_Request[T, R]]
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class _File(Generic[T, R]):
    """How many jobs run for a file, and the lanes whose next job waits until one of them ends."""

    jobs: int = 0
    held: deque[tuple[_Key, _Lane[T, R], Sequence[R | BaseException]]] = field(default_factory=deque)
