"""Threads for short storage work: few while the processor is busy, as many as there is work while storage is slow."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

# Python runs one thread at a time. With more threads than two, nearly every system call hands the interpreter to
# another thread, which takes longer than the call.
FEW = 2
PERIOD = 0.01  # seconds
# Of one processor. With less, the process waits for a disk, or for processors that others use: the system divides them
# between threads, so that few would get little.
BUSY = 0.9

T = TypeVar("T")


class FewThreads(Executor):
    """Runs short work in a few threads of its own if that is enough, and otherwise in `others`.

    It is enough while the processor is busy and work finishes. If either was not so in the last period, storage is slow
    or hangs. Then all work goes to the others, including what still waits. Submit work from an event loop.
    `processor_time` is that of this process, in seconds.
    """

    def __init__(self, others: Executor, *, processor_time: Callable[[], float] = time.process_time) -> None:
        self._processor_time = processor_time
        self._few = ThreadPoolExecutor(FEW, thread_name_prefix="short")
        self._others = others
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._enough = False
        # Submitted to the few since the others last had to help.
        self._submitted = 0
        self._finished = 0
        self._watched: asyncio.AbstractEventLoop | None = None

    def submit(self, work: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        future: Future[T] = Future()
        self._waiting.append((future, lambda: work(*arguments, **options)))
        if self._enough:
            self._submitted += 1
            self._few.submit(self._run_next, True)
        else:
            self._others.submit(self._run_next, False)
        self._watch()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down the few threads, but not the others."""
        self._few.shutdown(wait, cancel_futures=cancel_futures)

    def _run_next(self, in_few: bool) -> None:
        try:
            future, work = self._waiting.popleft()
        except IndexError:
            # One of the others has helped.
            return
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
                # Break the cycle of the future, its error and this frame.
                del future
        # While the few have to be enough, only they tell whether they hang.
        if in_few or not self._enough:
            self._finished += 1

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        if self._watched is not loop:
            self._watched = loop
            loop.call_later(PERIOD, self._decide, time.monotonic(), self._processor_time(), self._finished)

    def _decide(self, since: float, processor: float, finished: int) -> None:
        self._watched = None
        busy = self._processor_time() - processor >= BUSY * (time.monotonic() - since)
        self._enough = busy and self._finished != finished
        if not self._enough:
            for _ in range(min(self._submitted, len(self._waiting))):
                self._others.submit(self._run_next, False)
            self._submitted = 0
        if self._waiting:
            self._watch()
