"""Storage that goes wrong by plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from shared.storage.contract import (
    ANYTHING,
    Condition,
    Info,
    ObjectStore,
    Piece,
    Reader,
    Writer,
)
from shared.storage.links import Links
from shared.storage.multipart import Multipart

Put = Callable[[], str]
Fault = Callable[[Put], str]
"""What becomes of one put: it is given the put that was asked for, and returns or raises in its place."""


def _nothing() -> None:
    """What most often happens meanwhile."""


def before(error: Exception, meanwhile: Callable[[], object] = _nothing) -> Fault:
    """The put fails without any effect."""

    def fail(put: Put) -> str:
        meanwhile()
        raise error

    return fail


def after(error: Exception, meanwhile: Callable[[], object] = _nothing) -> Fault:
    """The put takes effect, then something happens, and the answer is an error."""

    def fail(put: Put) -> str:
        put()
        meanwhile()
        raise error

    return fail


def behind(action: Callable[[], object]) -> Fault:
    """Something happens just before the put, which then goes on as if nothing had."""

    def delay(put: Put) -> str:
        action()
        return put()

    return delay


class FaultyStore:
    """An `ObjectStore` in front of another: the n-th put, counted from 1, meets the fault that `script` has for n.

    Where there is none, it meets `otherwise`, and that is no fault by default. What does not put goes through.
    """

    def __init__(
        self, store: ObjectStore, script: Mapping[int, Fault] | None = None, otherwise: Fault | None = None
    ) -> None:
        self.store = store
        self.script = dict(script or {})
        self.otherwise = otherwise
        self.puts = 0
        self.reads = 0
        self.batches = 0
        self.multipart: Multipart = store.multipart
        self.links: Links | None = store.links

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        self.puts += 1
        fault = self.script.get(self.puts, self.otherwise)
        if fault is None:
            return self.store.put(key, data, when)
        return fault(lambda: self.store.put(key, data, when))

    def read(self, key: str) -> tuple[bytes, str]:
        self.reads += 1
        return self.store.read(key)

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        self.batches += 1
        return self.store.read_many(keys)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        return self.store.open(key, start, stop)

    def writer(self, key: str, reserve: int = 0) -> Writer:
        return self.store.writer(key, reserve)

    def delete(self, *keys: str) -> None:
        self.store.delete(*keys)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return self.store.list(prefix, after)

    def discard_unfinished(self, before: datetime) -> int:
        return self.store.discard_unfinished(before)

    def check(self) -> None:
        self.store.check()

    def stat(self, key: str) -> Info:
        return self.store.stat(key)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        self.store.compose(key, pieces, within)
