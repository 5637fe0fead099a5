"""Threads for storage work: some on any processor, some on that of the event loop, and not all of them for one file."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Set
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from shared.http.streams import Inline

# Seconds on one processor, and then on any, so that the system can move the event loop away from other programs.
STAY = 1.0
MOVE = 0.01
# Jobs for one file that can run at once. If a file hangs, it takes so many threads and no more.
AT_ONCE = 16

# In it, field 39 is the processor. Field 2 is the name of the thread in parentheses, and can contain spaces (proc(5)).
STATUS = Path("/proc/thread-self/stat")
_PROCESSOR = 39 - 3

T = TypeVar("T")


class Threads(ThreadPoolExecutor):
    """A pool that makes do with the threads it has if the system refuses to start another, as in a small container."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                # It was queued first. Its caller gets an error, so it must not run later.
                self._work_queue.get_nowait()
                raise


class SameProcessor(Threads):
    """Threads that run on the same processor as the event loop. Submit work, and shut them down, from there.

    Python runs one thread at a time. A thread lets another run during each system call, and if that one sleeps on
    another processor, waking it takes longer than most calls. On the same processor, it begins only if the first one
    waits. So this is for work that is short or waits, and computes little.

    The workers of one `server` stay on different processors if there are enough. By default, they have the same parent.
    """

    def __init__(
        self, count: int, name: str, *, stay: float = STAY, status: Path = STATUS, server: int | None = None
    ) -> None:
        super().__init__(count, name)
        self._status = status
        self._server = os.getppid() if server is None else server
        self._release: Callable[[], object] = lambda: None
        self._all = _processors()
        self._chosen = self._all
        self._stay_for = stay
        self._staying: asyncio.AbstractEventLoop | None = None
        self._thread = threading.local()

    def submit(self, work: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        if len(self._all) > 1:
            self._stay()
        return super().submit(self._run, work, *arguments, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._staying is not None:
            _run_on(self._all)
        self._release()
        super().shutdown(wait, cancel_futures=cancel_futures)

    def _run(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        chosen = self._chosen
        if getattr(self._thread, "chosen", None) is not chosen:
            self._thread.chosen = chosen
            _run_on(chosen)
        return work(*arguments, **options)

    def _stay(self) -> None:
        loop = asyncio.get_running_loop()
        if self._staying is not loop:
            self._staying = loop
            # Not all containers have /proc. Then the system chooses.
            with contextlib.suppress(OSError):
                current = int(self._status.read_bytes().rpartition(b")")[2].split()[_PROCESSOR])
                self._chosen = {self._claimed(current)}
                _run_on(self._chosen)
            loop.call_later(self._stay_for, self._leave, loop)

    def _claimed(self, current: int) -> int:
        """Claim a processor: the current one, if no other worker of this server stays there."""
        for processor in (current, *self._all - {current}):
            self._release()
            # A system can forbid such sockets.
            with contextlib.suppress(OSError):
                claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                # Not all who use an application shut it down.
                self._release = weakref.finalize(self, claim.close)
                # A name in no file system, which only one can have and which ends with its process (unix(7)).
                claim.bind(f"\0simple-file-sharing-{self._server}-{processor}")
                return processor
        return current

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        _run_on(self._all)
        self._release()
        loop.call_later(MOVE, self._end)

    def _end(self) -> None:
        self._staying = None


class PerFile:
    """Divides threads among files, so that one that hangs leaves most of them for the others."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._parts: weakref.WeakValueDictionary[str, Executor] = weakref.WeakValueDictionary()

    def of(self, subject: str) -> Executor:
        """At most `AT_ONCE` of the threads for this subject, such as a file ID. Further work for it waits, in order.

        Each job takes its turn among all others, so busy files do not hold up others either.
        """
        if isinstance(self._threads, Inline):
            return self._threads
        part = self._parts.get(subject)
        if part is None:
            part = self._parts[subject] = _Part(self._threads)
        return part


class _Part(Executor):
    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._guard = threading.Lock()
        self._unused = AT_ONCE
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, work: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        future: Future[T] = Future()
        with self._guard:
            self._waiting.append((future, functools.partial(work, *arguments, **options)))
            if self._unused == 0:
                return future
            self._unused -= 1
        try:
            self._threads.submit(self._work)
        except Exception:
            with self._guard:
                self._unused += 1
            # Unless another thread has begun it, it must not run later, because its caller gets an error.
            if future.cancel():
                raise
        return future

    def _work(self) -> None:
        while True:
            with self._guard:
                if not self._waiting:
                    self._unused += 1
                    return
                future, work = self._waiting.popleft()
            _complete(future, work)
            # An error refers to this frame, too, and must not refer to its future.
            del future
            if self._waiting:
                # If the pool takes no more work, as after a shutdown, nobody else would do what was accepted.
                with contextlib.suppress(Exception):
                    self._threads.submit(self._work)
                    return


def _complete(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
        del future


def any_processor(count: int, name: str) -> Threads:
    """Threads that run on any processor, even if the thread that starts them stays on one."""
    return Threads(count, name, _run_on, (_processors(),))


def _processors() -> Set[int]:
    """Those that this thread can run on; none if the system cannot say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else frozenset()


def _run_on(processors: Set[int]) -> None:
    """Let this thread run only on these."""
    # A container can forbid it, or may have lost these processors. Then the system chooses.
    with contextlib.suppress(OSError):
        if processors:
            os.sched_setaffinity(0, processors)
