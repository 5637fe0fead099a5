"""Runs functions in separate processes, with AWS's runtime client and an emulated Runtime API.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html

Differences from Lambda: memory is not limited, a start can take longer, and an event waits for a free process instead
of being throttled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from local.template import Function
from local.worker import PAYLOAD_LIMIT, Worker


class EventTooLarge(Exception):
    """The event is larger than Lambda accepts."""


class Runtime:
    """Functions that can be invoked from one event loop until they are closed.

    Processes get `environment`, overridden by the variables of their function in the template and those of Lambda.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        environment: Mapping[str, str],
        *,
        concurrency: int,
        interpreter: Sequence[str],
    ) -> None:
        self._pools = {
            name: _Pool(function, environment, interpreter, concurrency) for name, function in functions.items()
        }

    async def invoke(self, function: str, event: bytes) -> bytes:
        """Invoke a function; event and result are JSON. Raises `EventTooLarge` and `FunctionFailed`."""
        if len(event) > PAYLOAD_LIMIT:
            raise EventTooLarge(f"{len(event)} bytes")
        return await self._pools[function].invoke(event)

    def kill(self) -> None:
        """Kill all processes, without the event loop."""
        for pool in self._pools.values():
            pool.kill()

    async def close(self) -> None:
        """Kill all processes, and wait until they have ended."""
        self.kill()
        await asyncio.gather(*(worker.ended() for pool in self._pools.values() for worker in list(pool.workers)))


class _Pool:
    """The processes of one function: started on demand, reused, at most `limit`."""

    def __init__(
        self, function: Function, environment: Mapping[str, str], interpreter: Sequence[str], limit: int
    ) -> None:
        self._function = function
        self._environment = environment
        self._interpreter = interpreter
        self._free = asyncio.Semaphore(limit)
        self._idle: list[Worker] = []
        self._closed = False
        self.workers: set[Worker] = set()

    async def invoke(self, event: bytes) -> bytes:
        async with self._free:
            worker = await self._take()
            try:
                return await worker.invoke(event)
            finally:
                if worker.usable:
                    self._idle.append(worker)
                else:
                    await self._end(worker)

    async def _take(self) -> Worker:
        while self._idle:
            # The most recent one is the warmest.
            worker = self._idle.pop()
            if worker.usable:
                return worker
            await self._end(worker)
        worker = Worker(self._function)
        self.workers.add(worker)
        try:
            await worker.start(self._environment, self._interpreter)
        except BaseException:
            await self._end(worker)
            raise
        if self._closed:
            # Closed during the start, when there was nothing to kill yet.
            worker.kill()
        return worker

    async def _end(self, worker: Worker) -> None:
        worker.kill()
        await worker.ended()
        self.workers.discard(worker)

    def kill(self) -> None:
        self._closed = True
        for worker in self.workers:
            worker.kill()
