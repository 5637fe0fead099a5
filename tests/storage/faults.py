"""Storage that goes wrong by plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from shared.storage.contract import (
    ANYTHING,
    Condition,
    Info,
    ObjectStore,
    Part,
    PartWriter,
    Piece,
    Reader,
    Slice,
    Writer,
)

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

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def delete_many(self, keys: Sequence[str]) -> None:
        self.store.delete_many(keys)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return self.store.list(prefix, after)

    def discard_unfinished(self, before: datetime) -> int:
        return self.store.discard_unfinished(before)

    def check(self) -> None:
        self.store.check()

    @property
    def signs(self) -> bool:
        return self.store.signs

    def stat(self, key: str) -> Info:
        return self.store.stat(key)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        self.store.compose(key, pieces, within)

    def start_parts(self, key: str) -> str:
        return self.store.start_parts(key)

    def list_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        return self.store.list_parts(key, upload_id)

    def finish_parts(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        return self.store.finish_parts(key, upload_id, parts, allow)

    def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        self.store.abort_parts(key, upload_id)

    def signed_part_url(self, key: str, upload_id: str, number: int, expires_in: int) -> str:
        return self.store.signed_part_url(key, upload_id, number, expires_in)

    def signed_url(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        return self.store.signed_url(key, expires_in, disposition=disposition, content_type=content_type, range=range)

    def part_writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        return self.store.part_writer(key, upload_id, number, limit)
