"""Streams files between a socket and storage.

The event loop never waits for storage: a call that may wait runs in a thread while the event loop serves the socket, so
hashing, writing and the network overlap. Memory is limited to a few batches, however large the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, Generic, Protocol, Self, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

BATCH_SIZE = 1024 * 1024
CHUNK_SIZE = 512 * 1024
# More than all batches of one upload together.
REUSED_SIZE = 8 * 1024 * 1024

T = TypeVar("T")
A = TypeVar("A")


def reuse_memory() -> None:
    """Make the C library keep the memory of each batch for the next, instead of returning it and faulting it in again.

    After a block above its thresholds is freed, glibc keeps blocks of that size, and twice as much at the end of the
    heap (mallopt(3), M_MMAP_THRESHOLD). The pages are never touched, so this costs nothing; elsewhere it does nothing.
    """
    bytes(REUSED_SIZE)


class Inline(Executor):
    """Runs work in the thread that submits it: on Lambda, a process serves one request at a time."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


async def in_thread(threads: Executor, work: Callable[[], T]) -> T:
    """Run blocking work outside the event loop, if the executor has threads."""
    return await _result(threads.submit(work))


async def _result(future: Future[T]) -> T:
    # Waiting for a finished future would take two more turns of the event loop.
    return future.result() if future.done() else await asyncio.wrap_future(future)


class Sink(Protocol):
    """The destination of a body: a file, or one part of a file."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...


S = TypeVar("S", bound=Sink)


class Incoming(Generic[S]):
    """Writes a body into the sink that `begin` makes. Leaving the context without `finish` discards everything.

    What a body of one batch needs is done in the threads for `short` work.
    """

    def __init__(self, begin: Callable[[], S], threads: Executor, short: Executor) -> None:
        self._begin = begin
        self._threads = threads
        self._executor = short
        self._sink: S | None = None
        self._batch: list[bytes] = []
        self._size = 0
        self._pending: Future[Any] | None = None
        self._finished = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if not self._finished:
            # Shielded, because it matters most when the task is being cancelled. Submitted outside the shield, which
            # starts a task: a server that stops can shut down the threads before that task runs.
            await asyncio.shield(_result(self._threads.submit(self._abort)))

    async def begin(self) -> None:
        """Make the sink now, not with the first batch, to refuse before the body. Raises what `write` raises."""
        await self._settle()
        self._pending = self._executor.submit(self._store, b"")
        await self._settle()

    async def write(self, data: bytes) -> None:
        """Append data. Raises the errors of writing into the sink, in this call or a later one."""
        self._batch.append(data)
        self._size += len(data)
        if self._size >= BATCH_SIZE:
            await self._settle()
            self._executor = self._threads
            self._pending = self._executor.submit(self._store, self._take())

    async def finish(self, finish: Callable[[S], T], answer: Callable[[T], A], *, computes: bool = False) -> A:
        """Store the rest, call `finish` with the sink, and pass its result to `answer`, which makes the answer.

        `computes` says that this is no short work.

        Raises the errors of all three; if `answer` fails, the stored bytes stay.
        """
        threads = self._threads if computes else self._executor
        await self._settle()
        batch = self._take()

        def work() -> A:
            result = finish(self._store(batch))
            self._finished = True
            return answer(result)

        self._pending = finishing = threads.submit(work)
        return await _result(finishing)

    def _take(self) -> bytes:
        batch, self._batch, self._size = b"".join(self._batch), [], 0
        return batch

    def _store(self, batch: bytes) -> S:
        if self._sink is None:
            self._sink = self._begin()
        self._sink.write(batch)
        return self._sink

    async def _settle(self) -> None:
        if self._pending is not None:
            await _result(self._pending)

    def _abort(self) -> None:
        if self._pending is not None:
            wait([self._pending])
        if self._sink is not None and not self._finished:
            self._sink.abort()


class Source(Protocol):
    """The bytes of a download."""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Empty only at the end."""

    def read_ready(self, size: int) -> memoryview | None:
        """Read up to `size` bytes, perhaps fewer, without waiting. None if that is impossible, and at the end."""

    def close(self) -> None: ...


class Outgoing:
    """Bytes being downloaded. Reads one chunk ahead, and closes the source however the download ends.

    Bytes that are available at once are read on the event loop, because a thread would cost more than reading them.
    """

    def __init__(self, source: Source, first: bytes, threads: Executor) -> None:
        self._source = source
        self._first = first
        self._threads = threads
        self._ahead: Future[bytes] | None = None

    @classmethod
    async def begin(cls, open_source: Callable[[], Source], threads: Executor) -> Outgoing:
        """Open the source and read its first chunk. Raises the errors of both."""

        def work() -> Outgoing:
            source = open_source()
            try:
                return cls(source, source.read(CHUNK_SIZE), threads)
            except BaseException:
                source.close()
                raise

        opening = threads.submit(work)
        try:
            return await _result(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise

    async def chunks(self) -> AsyncGenerator[bytes | memoryview, None]:
        chunk: bytes | memoryview
        chunk, self._first = self._first, b""
        while chunk:
            ready = self._source.read_ready(CHUNK_SIZE)
            if ready is not None:
                yield chunk
                # A server does not suspend while its socket accepts everything, or after the client disconnects.
                # Without this, nothing else would run until the end of the file, and no cancellation would arrive.
                await asyncio.sleep(0)
                chunk = ready
            else:
                self._ahead = self._threads.submit(self._source.read, CHUNK_SIZE)
                yield chunk
                chunk = await _result(self._ahead)
                self._ahead = None

    async def close(self) -> None:
        await asyncio.shield(_result(self._threads.submit(self._finish)))

    def _finish(self) -> None:
        if self._ahead is not None:
            wait([self._ahead])
        self._source.close()


def _close_opened(opening: Future[Outgoing]) -> None:
    """Close the source of a client that has disconnected."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()._finish()


class OutgoingResponse(StreamingResponse):
    """An answer that streams an `Outgoing`, and stops reading when the client disconnects."""

    def __init__(self, outgoing: Outgoing, status: int, headers: dict[str, str]) -> None:
        super().__init__(outgoing.chunks(), status, headers)
        self._outgoing = outgoing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._outgoing.close()
