"""The contract of an object store: the only thing that everything above storage relies on.

It is written twice, for a directory and for S3, and is smaller than a file system on purpose: an object is written
whole or not at all, and the only coordination is a conditional `put`, which S3 offers and a directory can offer with a
lock.

Reading is split in two. `read` serves the small documents that are changed by comparing etags, `open` the large ones
that are streamed by byte range and never change: only the first needs an etag, and only the second must not fill
memory. Writing is pushed (`writer`) and not pulled from an iterator, so that a slow uploader holds no thread.

What clients send in parts is a protocol of its own (`multipart`), and so are the links by which they reach objects
without us (`links`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, Protocol

from shared.storage.links import Links

if TYPE_CHECKING:
    from shared.storage.multipart import Multipart


class ObjectError(Exception):
    """Root of what an object store reports about one key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class NotFound(ObjectError):
    """No object has this key."""


class AlreadyExists(ObjectError):
    """A `put` on condition that the key is absent met an object there."""


class Changed(ObjectError):
    """A conditional `put` lost to another writer, or a source is not the version that a `compose` requires."""


class TooSoon(Changed):
    """A `put` came too soon after another one of its key; nothing was written."""


class RangeNotSatisfiable(ObjectError):
    """The range begins past the end of the object."""


class Ambiguous(ObjectError):
    """A `put` was sent, and no answer says whether it took effect."""


class NotSent(ObjectError):
    """A `put` never left, since there was no connection to send it on; `reason` is for the log only."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key)
        self.reason = reason


class Unfinished(ObjectError):
    """A `compose` ran out of time; calling it again continues it."""


class WouldWait(Exception):
    """A `ready` store cannot answer without waiting."""


class Existence(Enum):
    """Conditions that do not depend on an etag."""

    ANYTHING = "anything"
    ABSENT = "absent"


ANYTHING: Final[Literal[Existence.ANYTHING]] = Existence.ANYTHING
ABSENT: Final[Literal[Existence.ABSENT]] = Existence.ABSENT


@dataclass(frozen=True, slots=True)
class Matches:
    """The condition that the object still is the one that was read with this etag."""

    etag: str


Condition = Existence | Matches


@dataclass(frozen=True, slots=True)
class Info:
    """What `stat` says. The etag changes whenever the bytes do; compare it with those of `stat` and in `Slice` only."""

    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes `[start, stop)` of an object; with an etag, of exactly that version of it."""

    key: str
    start: int
    stop: int
    etag: str | None = None

    @property
    def size(self) -> int:
        return self.stop - self.start


Piece = bytes | Slice


class Reader(Protocol):
    """One object, or a range of it, being read. Close it when done."""

    @property
    def object_size(self) -> int:
        """Bytes of the whole object, whatever range is read."""
        ...

    def read(self, size: int) -> bytes:
        """At most `size` next bytes of the range; empty at its end.

        Raises `StorageUnavailable` if storage stops answering in the middle.
        """
        ...

    def read_ready(self, size: int) -> memoryview | None:
        """At most `size` next bytes that can be had without waiting, perhaps fewer than there are; else None.

        That is also at the end, and where it cannot be told or goes wrong: only `read` tells these apart.
        """
        ...

    def close(self) -> None: ...


class Writer(Protocol):
    """One object being written. It is invisible before `commit`; `abort` leaves nothing behind."""

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageUnavailable`, after which only `abort` may follow."""
        ...

    def commit(self, head: bytes = b"") -> None:
        """Put `head` into the bytes reserved in front, and make the whole object visible and durable."""
        ...

    def abort(self) -> None:
        """Forget everything written. May be called at any time, also twice or after a failed `commit`."""
        ...


class ObjectStore(Protocol):
    """Objects by key. Keys are ASCII segments joined by `/`, of our own making and never a user's text.

    Every method may raise `StorageUnavailable`. All are safe to call from many threads and processes at once.
    """

    @property
    def multipart(self) -> Multipart:
        """Uploads that clients send in parts."""
        ...

    @property
    def links(self) -> Links | None:
        """Links by which clients reach storage itself; None where everything passes through us."""
        ...

    @property
    def ready(self) -> ObjectStore | None:
        """The same objects for an event loop, where `read`, `read_many` and `open` raise `WouldWait` rather than wait.

        Nothing else may be called of it. None where reading always waits, or nobody can tell.
        """
        ...

    def read(self, key: str) -> tuple[bytes, str]:
        """A small object and its etag; the etag changes whenever the bytes do. Raises `NotFound`."""
        ...

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Small objects in the order of `keys`, without those that are not there; as parallel as the store likes."""
        ...

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        """Write a small object if the condition holds, durably, and return its new etag.

        Atomic against every other `put` and `delete` of the key. Raises `AlreadyExists` (the condition was ABSENT),
        `Changed` (it was `Matches`, or another write was under way or is too recent), `NotFound` (it was `Matches`
        and the key is gone; some S3 servers say `Changed` here, so read again), `Ambiguous` (repeat the same bytes on
        the same condition, or read to find out), `NotSent` (only with a condition; repeat it) and `StorageFull`.
        """
        ...

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """Stream the bytes `[start, stop)`, clipped at the object's end.

        Raises `NotFound`, and `RangeNotSatisfiable` if `start` is at or past the end.
        """
        ...

    def writer(self, key: str, reserve: int = 0) -> Writer:
        """Begin an object of unknown length whose first `reserve` bytes are passed last, to `commit`."""
        ...

    def delete(self, *keys: str) -> None:
        """Remove objects, in any order and in as few requests as the store can. One that is not there is no error.

        One that cannot be removed does not keep the others, and then raises `StorageUnavailable`.
        """
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        """Keys that start with `prefix` and sort after `after`, in byte order. Unfinished writes are not among them.

        `prefix` ends in `/`.
        """
        ...

    def stat(self, key: str) -> Info:
        """Size and version, without reading the object. Raises `NotFound`."""
        ...

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        """Make an object out of literal bytes and ranges of other objects, moving no bytes where the store can help it.

        Whole or not at all, durable, in place of what is there. May be called again, or twice at once, with the same
        pieces: it continues what an earlier call began. Raises `NotFound`, `RangeNotSatisfiable` (a source is gone, or
        shorter), `Changed` (a source is not the version that its etag names), `StorageFull`, and `Unfinished` where
        `within` seconds were not enough; a directory, which could not continue, takes the time it needs.
        """
        ...

    def discard_unfinished(self, before: datetime) -> int:
        """Remove what writers left that were neither committed nor aborted, and say how many there were.

        Only where nothing was written since that time: a directory goes by the last write, S3 by the newest part. The
        multipart uploads of clients are not among them.
        """
        ...

    def check(self) -> None:
        """Raise `StorageUnavailable` unless the store answers now."""
        ...
