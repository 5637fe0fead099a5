"""Wraps a store. Any of its calls can fail, wait, or trigger something else."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from shared.errors import StorageUnavailable
from shared.storage.contract import (
    ANYTHING,
    Condition,
    Info,
    Links,
    ObjectStore,
    Piece,
    Reader,
    Slice,
    Writer,
)
from shared.storage.directory.writer import DirectoryWriter
from shared.storage.multipart import Part, PartWriter

T = TypeVar("T")
Held = TypeVar("Held", Reader, Writer)

# Calls that change what other processes see. Between any two of them, this process can die, or another one act.
CHANGES = frozenset({"put", "put if", "commit", "delete", "discard", "compose", "start", "finish", "abort parts"})


@dataclass(frozen=True)
class Call:
    """One call of a store. `put if` is a conditional put."""

    number: int
    """The number of calls before this one."""
    verb: str
    key: str
    change: int | None
    """The number of changes before this one; None for a call that changes nothing."""
    put: int | None
    """The number of this put, from 1; None for any other call."""


Proceed = Callable[[], Any]
Around = Callable[[Call, Proceed], Any]
"""Gets a call and a function that carries it out. Its result or exception is the outcome of the call."""


def undisturbed(_call: Call, proceed: Proceed) -> Any:
    return proceed()


class InterposedStore:
    """An `ObjectStore` that passes every call to another one through `around`, including those of readers and writers.

    `changes` has the verb and key of each change, including refused ones.
    """

    # Without this shortcut, every read goes through `around`.
    ready = None
    # Tests let it raise `Ambiguous`.
    can_be_ambiguous = True

    def __init__(self, store: ObjectStore, around: Around = undisturbed) -> None:
        self.store = store
        self.around = around
        self.calls: list[Call] = []
        self.changes: list[tuple[str, str]] = []
        self.puts = 0
        self._guard = threading.Lock()
        self._held: list[Reader | Writer] = []
        self.multipart = _Multipart(self)
        self.links: Links | None = store.links

    def release(self) -> None:
        """Close the handles that a killed process held, as the system would have."""
        for held in self._held:
            (held._close if isinstance(held, DirectoryWriter) else getattr(held, "close", lambda: None))()
        self._held.clear()

    def _hold(self, held: Held) -> Held:
        self._held.append(held)
        return held

    def begin(self, around: Around) -> None:
        """Restart all counters, and send further calls through `around`."""
        self.calls = []
        self.changes = []
        self.puts = 0
        self.around = around

    def count(self, verb: str) -> int:
        return sum(call.verb == verb for call in self.calls)

    def call(self, verb: str, key: str, proceed: Callable[[], T]) -> T:
        plain = verb.removesuffix(" if")
        # A sweep calls from several threads, and every call needs its own number.
        with self._guard:
            self.puts += plain == "put"
            change = len(self.changes) if verb in CHANGES else None
            call = Call(len(self.calls), verb, key, change, self.puts if plain == "put" else None)
            self.calls.append(call)
            if change is not None:
                self.changes.append((plain, key))
        result: T = self.around(call, proceed)
        return result

    def read(self, key: str) -> tuple[bytes, str]:
        return self.call("read", key, lambda: self.store.read(key))

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return self.call("read many", "", lambda: self.store.read_many(keys))

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        verb = "put" if when is ANYTHING else "put if"
        return self.call(verb, key, lambda: self.store.put(key, data, when))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        return _Reader(self, key, self.call("open", key, lambda: self._hold(self.store.open(key, start, stop))))

    def writer(self, key: str, reserve: int = 0) -> Writer:
        return _Writer(self, key, self.call("writer", key, lambda: self._hold(self.store.writer(key, reserve))))

    def delete(self, *keys: str) -> None:
        # One by one, so that a process can be killed in between.
        failures: list[StorageUnavailable] = []
        for key in keys:
            try:
                self.call("delete", key, functools.partial(self.store.delete, key))
            except StorageUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return self.call("list", prefix, lambda: self.store.list(prefix, after))

    def discard_unfinished(self, before: datetime) -> int:
        return self.call("discard", "", lambda: self.store.discard_unfinished(before))

    def stat(self, key: str) -> Info:
        return self.call("stat", key, lambda: self.store.stat(key))

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        self.call("compose", key, lambda: self.store.compose(key, pieces, within))

    def check(self) -> None:
        self.call("check", "", self.store.check)


class _Multipart:
    def __init__(self, store: InterposedStore) -> None:
        self._store = store
        self._multipart = store.store.multipart

    def start(self, key: str) -> str:
        return self._store.call("start", key, lambda: self._multipart.start(key))

    def list(self, key: str, upload_id: str) -> Sequence[Part]:
        return self._store.call("list parts", key, lambda: self._multipart.list(key, upload_id))

    def writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        writer = self._store.call("writer", key, lambda: self._multipart.writer(key, upload_id, number, limit))
        return _PartWriter(self._store, key, writer)

    def finish(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        return self._store.call("finish", key, lambda: self._multipart.finish(key, upload_id, parts, allow))

    def abort(self, key: str, upload_id: str | None = None) -> None:
        self._store.call("abort parts", key, lambda: self._multipart.abort(key, upload_id))


class _Reader:
    def __init__(self, store: InterposedStore, key: str, reader: Reader) -> None:
        self._store = store
        self._key = key
        self._reader = reader
        self.close = reader.close

    @property
    def object_size(self) -> int:
        return self._reader.object_size

    def read(self, size: int) -> bytes:
        return self._store.call("read on", self._key, lambda: self._reader.read(size))

    def read_ready(self, size: int) -> memoryview | None:
        return self._store.call("read on", self._key, lambda: self._reader.read_ready(size))


class _Writer:
    def __init__(self, store: InterposedStore, key: str, writer: Writer) -> None:
        self._store = store
        self._key = key
        self._writer = writer

    def write(self, data: bytes) -> None:
        self._store.call("write", self._key, lambda: self._writer.write(data))

    def commit(self, head: bytes = b"") -> None:
        self._store.call("commit", self._key, lambda: self._writer.commit(head))

    def abort(self) -> None:
        self._store.call("abort", self._key, self._writer.abort)


class _PartWriter:
    def __init__(self, store: InterposedStore, key: str, writer: PartWriter) -> None:
        self._store = store
        self._key = key
        self._writer = writer

    def write(self, data: bytes) -> None:
        self._store.call("write", self._key, lambda: self._writer.write(data))

    def commit(self) -> Part:
        return self._store.call("commit part", self._key, self._writer.commit)

    def abort(self) -> None:
        self._store.call("abort", self._key, self._writer.abort)


Fault = Callable[[Proceed], Any]
"""Carries out one put, or does something else. Its result or exception is the outcome of the put."""


def _nothing() -> None:
    """By default, nothing happens meanwhile."""


def before(error: Exception, meanwhile: Callable[[], object] = _nothing) -> Fault:
    """The put fails without any effect."""

    def fail(_proceed: Proceed) -> Any:
        meanwhile()
        raise error

    return fail


def after(error: Exception, meanwhile: Callable[[], object] = _nothing) -> Fault:
    """The put takes effect, then `meanwhile` runs, and the answer is an error."""

    def fail(proceed: Proceed) -> Any:
        proceed()
        meanwhile()
        raise error

    return fail


def preceded_by(action: Callable[[], object]) -> Fault:
    """Something happens just before the put, which then succeeds or fails as usual."""

    def act(proceed: Proceed) -> Any:
        action()
        return proceed()

    return act


def on_puts(faults: Mapping[int, Fault] | None = None, otherwise: Fault = lambda proceed: proceed()) -> Around:
    """The n-th put, counted from 1, meets the fault for n, and every other put meets `otherwise`."""

    def around(call: Call, proceed: Proceed) -> Any:
        if call.put is None:
            return proceed()
        return (faults or {}).get(call.put, otherwise)(proceed)

    return around


class Killed(BaseException):
    """The process ends here, as far as storage can tell."""


class Kill:
    """Ends the process at call `number`, before it takes effect or after. All later calls fail, too."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._number = number
        self._after = after
        self.struck = False

    def __call__(self, call: Call, proceed: Proceed) -> Any:
        if self.struck:
            raise Killed
        if call.number < self._number:
            return proceed()
        self.struck = True
        if self._after:
            proceed()
        raise Killed


def dies_after(changes: int) -> Around:
    """This many changes still happen, and none after them."""

    def die(call: Call, proceed: Proceed) -> Any:
        if call.change is not None and call.change >= changes:
            raise Killed
        return proceed()

    return die


def once_after(changes: int, action: Callable[[], object]) -> Around:
    """Runs `action` between two changes."""
    done = threading.Lock()  # never released

    def act(call: Call, proceed: Proceed) -> Any:
        if call.change is not None and call.change >= changes and done.acquire(blocking=False):
            action()
        return proceed()

    return act
