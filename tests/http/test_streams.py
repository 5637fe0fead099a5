"""Files in transit between a socket and storage."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from starlette.types import Message

from shared.http.streams import BATCH_SIZE, Incoming, Inline, Outgoing, OutgoingResponse

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PAGES = 1024  # pages of 4 KiB in one batch below


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc decides by the blocks that were freed")
def test_memory_for_batches_is_faulted_in_only_once() -> None:
    program = """
import resource
from shared.http.streams import reuse_memory

def batch():
    return [b"x" * 262_144 for _ in range(16)]

reuse_memory()
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert int(run.stdout) < PAGES


class Pieces:
    """A source of these pieces. memoryviews are ready; reading others takes a moment in a thread."""

    def __init__(self, *pieces: bytes | memoryview) -> None:
        self.left = list(pieces)
        self.threads: list[threading.Thread] = []
        self.reading = False
        self.closed_while_reading: bool | None = None

    def read(self, size: int) -> bytes:
        self.threads.append(threading.current_thread())
        self.reading = True
        time.sleep(0.05)
        self.reading = False
        return bytes(self.left.pop(0)) if self.left else b""

    def read_ready(self, size: int) -> memoryview | None:
        self.threads.append(threading.current_thread())
        piece = self.left[0] if self.left else None
        if not isinstance(piece, memoryview):
            return None
        del self.left[0]
        return piece

    def close(self) -> None:
        self.closed_while_reading = self.reading


async def sent(source: Pieces, most: int) -> list[bytes]:
    """Up to `most` chunks of a download, which then ends."""
    parts: list[bytes] = []
    with ThreadPoolExecutor(2) as threads:
        outgoing = Outgoing(source, b"first", threads)
        async with contextlib.aclosing(outgoing.chunks()) as chunks:
            async for chunk in chunks:
                parts.append(bytes(chunk))
                if len(parts) == most:
                    break
        await outgoing.close()
    return parts


def test_what_is_ready_is_sent_without_a_thread_and_the_rest_in_its_order() -> None:
    source = Pieces(memoryview(b"1"), memoryview(b"2"), b"3", memoryview(b"4"), b"5")
    assert asyncio.run(sent(source, 100)) == [b"first", b"1", b"2", b"3", b"4", b"5"]
    assert source.closed_while_reading is False
    here = threading.current_thread()
    assert [thread is here for thread in source.threads] == [True] * 3 + [False] + [True] * 2 + [False, True, False]


@pytest.mark.parametrize("piece", [b"1", memoryview(b"1")], ids=["read ahead", "ready"])
@pytest.mark.parametrize("most", [1, 2])
def test_a_download_that_ends_early_is_closed_once_nothing_is_being_read(piece: bytes | memoryview, most: int) -> None:
    source = Pieces(piece, b"2", b"3")
    assert asyncio.run(sent(source, most)) == [b"first", b"1"][:most]
    assert source.closed_while_reading is False


# uvicorn does not suspend while the socket accepts everything, nor after the connection is lost.
async def respond(source: Pieces, *, gone_after: int | None) -> int:
    """Send an answer to a server that never suspends. Returns the number of chunks. The client can leave meanwhile."""
    sends = 0
    gone = asyncio.Event()

    async def send(message: Message) -> None:
        nonlocal sends
        sends += message["type"] == "http.response.body" and bool(message["body"])
        if sends == gone_after:
            gone.set()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    with ThreadPoolExecutor(1) as threads:
        response = OutgoingResponse(Outgoing(source, b"first", threads), 200, {})
        await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    return sends


def test_others_have_their_turn_while_everything_is_ready() -> None:
    turns: list[int] = []
    source = Pieces(*[memoryview(b"x")] * 1_000)

    async def other() -> None:
        while True:
            turns.append(len(source.left))
            await asyncio.sleep(0)

    async def both() -> None:
        task = asyncio.create_task(other())
        assert await respond(source, gone_after=None) == 1_001
        task.cancel()

    asyncio.run(both())
    assert len(set(turns)) > 900


def test_nothing_more_is_read_once_the_client_has_gone() -> None:
    source = Pieces(*[memoryview(b"x")] * 1_000)
    assert asyncio.run(respond(source, gone_after=10)) < 20
    assert len(source.left) > 980
    assert source.closed_while_reading is False


class Counting(Inline):
    """Counts the jobs."""

    def __init__(self) -> None:
        self.jobs = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.jobs += 1
        return super().submit(fn, *args, **kwargs)


class Size:
    """A sink that keeps nothing."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def abort(self) -> None: ...


@pytest.mark.parametrize(
    ("size", "early", "computes", "short", "other"),
    [
        (10, False, False, 1, 0),
        (10, True, False, 2, 0),
        (10, False, True, 0, 1),
        (BATCH_SIZE + 1, False, False, 0, 2),
        (BATCH_SIZE + 1, True, False, 1, 2),
    ],
    ids=["small", "small with an early sink", "small with a password", "large", "large with an early sink"],
)
def test_only_short_work_is_done_by_the_threads_for_it(
    size: int, early: bool, computes: bool, short: int, other: int
) -> None:
    for_short, others = Counting(), Counting()

    async def receive() -> int:
        async with Incoming(Size, others, for_short) as incoming:
            if early:
                await incoming.begin()
            for start in range(0, size, BATCH_SIZE):
                await incoming.write(bytes(min(BATCH_SIZE, size - start)))
            return await incoming.finish(lambda sink: sink.size, lambda total: total, computes=computes)

    assert asyncio.run(receive()) == size
    assert (for_short.jobs, others.jobs) == (short, other)


class Discards(Size):
    """A sink that says whether it was discarded."""

    def __init__(self) -> None:
        super().__init__()
        self.discarded = False

    def abort(self) -> None:
        self.discarded = True


def test_a_cancelled_upload_is_discarded_even_if_the_threads_are_shut_down_at_once() -> None:
    """As when a server stops without waiting for a request any longer."""
    sink = Discards()

    async def stop() -> None:
        waiting = asyncio.Event()
        threads = ThreadPoolExecutor(2)

        async def receive() -> None:
            async with Incoming(lambda: sink, threads, threads) as incoming:
                await incoming.begin()
                waiting.set()
                await asyncio.Event().wait()

        upload = asyncio.create_task(receive())
        await waiting.wait()
        upload.cancel()
        # Until the cancellation has arrived.
        await asyncio.sleep(0)
        threads.shutdown(wait=False)
        with pytest.raises(asyncio.CancelledError):
            await upload

    asyncio.run(stop())
    assert sink.discarded


def test_a_download_closes_its_source_even_if_the_threads_are_shut_down_at_once() -> None:
    source = Pieces()

    async def stop() -> None:
        threads = ThreadPoolExecutor(1)
        closing = asyncio.create_task(Outgoing(source, b"first", threads).close())
        await asyncio.sleep(0)
        threads.shutdown(wait=False)
        await closing

    asyncio.run(stop())
    assert source.closed_while_reading is False
