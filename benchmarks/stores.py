"""An in-memory object store with the latency of S3, in simulated time.

Users of the store run as actors of a `Simulation`: threads that run one at a time, each until it sleeps or calls
storage. So thousands of clients can compete on a machine with few processors, and every run can be repeated from its
seed.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from shared.storage.contract import ABSENT, ANYTHING, AlreadyExists, Changed, Condition, Matches, NotFound

READ_SECONDS = 0.018
WRITE_SECONDS = 0.028
# Durations of calls vary by this fraction, up and down.
SPREAD = 0.2
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
STACK_SIZE = 256 * 1024

T = TypeVar("T")


class Simulation:
    """Actors that take turns, and a clock that stands still while an actor runs."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self._waiting: list[tuple[float, int, threading.Semaphore]] = []
        self._number = 0
        self._idle = threading.Semaphore(0)
        self._actor = threading.local()
        self._failures: list[BaseException] = []

    def clock(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now)

    def monotonic(self) -> float:
        return self.now

    def start(self, at: float, work: Callable[[], object]) -> None:
        """Schedule an actor to start at this time."""
        turn = threading.Semaphore(0)

        def run() -> None:
            turn.acquire()
            self._actor.turn = turn
            try:
                work()
            except BaseException as error:
                self._failures.append(error)
            finally:
                self._idle.release()

        previous = threading.stack_size(STACK_SIZE)
        try:
            threading.Thread(target=run, daemon=True).start()
        finally:
            threading.stack_size(previous)
        self._wait_until(at, turn)

    def sleep(self, seconds: float) -> None:
        """Let other actors run for this time. Only actors can call it."""
        turn: threading.Semaphore = self._actor.turn
        self._wait_until(self.now + seconds, turn)
        self._idle.release()
        turn.acquire()

    def run(self) -> None:
        """Run until all actors are done. Raises the first exception of an actor."""
        while self._waiting:
            self.now, _, turn = heapq.heappop(self._waiting)
            turn.release()
            self._idle.acquire()
        if self._failures:
            raise self._failures[0]

    def _wait_until(self, at: float, turn: threading.Semaphore) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (at, self._number, turn))


class MemoryStore:
    """The methods of an `ObjectStore` for small objects, without streams."""

    ready = None
    can_be_ambiguous = True

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.conflicts = 0
        self._version = 0

    def read(self, key: str) -> tuple[bytes, str]:
        try:
            return self.objects[key]
        except KeyError as error:
            raise NotFound(key) from error

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for key in keys:
            try:
                yield key, self.read(key)[0]
            except NotFound:
                continue

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        match = self.objects.get(key)
        if isinstance(when, Matches) and match is None:
            raise NotFound(key)
        if when is ABSENT and match is not None:
            self.conflicts += 1
            raise AlreadyExists(key)
        if isinstance(when, Matches) and match is not None and match[1] != when.etag:
            self.conflicts += 1
            raise Changed(key)
        self._version += 1
        self.objects[key] = (data, str(self._version))
        return str(self._version)

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return iter(sorted(key for key in self.objects if key.startswith(prefix) and key > after))


class SlowStore(MemoryStore):
    """A store as distant as S3: each call takes time, and takes effect in the middle of that time."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation

    def read(self, key: str) -> tuple[bytes, str]:
        return self._during(READ_SECONDS, lambda: super(SlowStore, self).read(key))

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        return self._during(WRITE_SECONDS, lambda: super(SlowStore, self).put(key, data, when))

    def _during(self, seconds: float, work: Callable[[], T]) -> T:
        half = seconds / 2 * self._simulation.random.uniform(1 - SPREAD, 1 + SPREAD)
        self._simulation.sleep(half)
        try:
            return work()
        finally:
            self._simulation.sleep(half)
