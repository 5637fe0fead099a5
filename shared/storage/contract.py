"""The contract of an object store, on which all other code relies.

There are two implementations, for a directory and for S3. The contract is deliberately smaller than a file system: an
object is written completely or not at all, and a conditional `put` is the only coordination. S3 offers that, and a
directory does it with a lock.

There are two ways to read. `read` is for small documents that are changed by comparing etags, `open` for large objects
that are streamed by byte range and never change: only the former need an etag, only the latter must not fill memory.
Writing is pushed (`writer`), not pulled from an iterator, so that a slow upload occupies no thread.

Uploads in parts have a protocol of their own (`multipart`), and so have links (`Links`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from shared.storage.multipart import Multipart


class ObjectError(Exception):
    """Base class of errors about one key of an object store."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class NotFound(ObjectError):
    """No object has this key."""


class AlreadyExists(ObjectError):
    """A `put` required the key to be absent, but there is an object."""


class Changed(ObjectError):
    """A conditional `put` lost to another writer, or a source of a `compose` is not the required version."""


class TooSoon(Changed):
    """A `put` came too soon after another one to the same key; nothing was written."""


class RangeNotSatisfiable(ObjectError):
    """The range begins past the end of the object."""


class Ambiguous(ObjectError):
    """A `put` was sent, but no answer says whether it took effect."""


class NotSent(ObjectError):
    """A `put` was never sent, because there was no connection; `reason` is for the log only."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key)
        self.reason = reason


class Unfinished(ObjectError):
    """A `compose` ran out of time; call it again to continue."""


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
    """The condition that the object still has this etag."""

    etag: str


Condition = Existence | Matches


@dataclass(frozen=True, slots=True)
class Info:
    """The result of `stat`. The etag changes whenever the bytes do; use it only with `stat` and `Slice`."""

    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes `[start, stop)` of an object; with an etag, of exactly that version."""

    key: str
    start: int
    stop: int
    etag: str | None = None

    @property
    def size(self) -> int:
        return self.stop - self.start


Piece = bytes | Slice


class Reader(Protocol):
    """Reads one object or a range of it. Close it when done."""

    @property
    def object_size(self) -> int:
        """Size of the whole object in bytes, whatever the range."""

    def read(self, size: int) -> bytes:
        """The next bytes of the range, at most `size`; empty at its end.

        Raises `StorageUnavailable` if storage stops answering.
        """

    def read_ready(self, size: int) -> memoryview | None:
        """The next bytes that are available without waiting, at most `size`, perhaps fewer than there are; else None.

        None can also mean the end or an error: only `read` tells these apart.
        """

    def close(self) -> None: ...


class Writer(Protocol):
    """Writes one object. It is invisible before `commit`; `abort` leaves nothing behind."""

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageUnavailable`; call only `abort` after that."""

    def commit(self, head: bytes = b"") -> None:
        """Write `head` into the bytes reserved at the start, and make the object visible and durable."""

    def abort(self) -> None:
        """Discard everything. Can be called at any time, even twice or after a failed `commit`."""


class Links(Protocol):
    """Links with which clients access objects directly. Anyone who has one can use it for `expires_in` seconds."""

    def download(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        """The URL to GET the object from, with these headers in the answer.

        With `range`, it works only with exactly that `Range` header.
        """

    def upload_part(self, key: str, expires_in: int, *, upload_id: str, number: int, size: int | None = None) -> str:
        """The URL to PUT one part of a multipart upload to. With `size`, it works only for that many bytes."""


class ObjectStore(Protocol):
    """Objects by key. Keys are ASCII segments joined by `/`, generated by us and never a user's text.

    Every method can raise `StorageUnavailable`, and can be called from many threads and processes at once.
    """

    @property
    def multipart(self) -> Multipart:
        """Uploads that clients send in parts."""

    @property
    def links(self) -> Links | None:
        """Links with which clients access storage directly; None if there are none."""

    @property
    def ready(self) -> ObjectStore | None:
        """The same objects for an event loop, where `read`, `read_many` and `open` raise `WouldWait` rather than wait.

        Nothing else may be called of it. None where reading always waits, or nobody can tell.
        """

    @property
    def can_be_ambiguous(self) -> bool:
        """Whether `put` can raise `Ambiguous`. If so, documents keep the IDs of recent writes."""

    def read(self, key: str) -> tuple[bytes, str]:
        """A small object and its etag; the etag changes whenever the bytes do. Raises `NotFound`."""

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Small objects in the order of `keys`, without missing ones; the store can read them in parallel."""

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        """Write a small object durably if the condition holds, and return its new etag.

        Atomic with every other `put` and `delete` of the key. Raises `AlreadyExists` (the condition was ABSENT),
        `Changed` (it was `Matches`, or another write was in progress or is too recent), `NotFound` (it was `Matches`
        and the key is gone; some S3 servers report `Changed` instead, so read again), `Ambiguous` (repeat the same
        bytes on the same condition, or read to find out), `NotSent` (only with a condition; repeat it), `StorageFull`.
        """

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """Stream the bytes `[start, stop)`, or up to the object's end.

        Raises `NotFound`, and `RangeNotSatisfiable` if `start` is at or past the end.
        """

    def writer(self, key: str, reserve: int = 0) -> Writer:
        """Start to write an object of unknown length; `commit` passes its first `reserve` bytes.

        Use a new key. If the process or the system ends during `commit`, there may be an object without all its bytes.
        """

    def delete(self, *keys: str) -> None:
        """Remove objects, in any order and in as few requests as possible. Missing objects are no error.

        If one cannot be removed, the others are; then this raises `StorageUnavailable`.
        """

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        """Keys that start with `prefix` and sort after `after`, in byte order, without unfinished writes.

        `prefix` ends in `/`.
        """

    def stat(self, key: str) -> Info:
        """Size and version, without reading the object. Raises `NotFound`."""

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        """Make an object from literal bytes and ranges of other objects, which the store copies itself if it can.

        Atomic and durable; replaces an existing object. Can be called again, or twice at once, with the same pieces: it
        continues what an earlier call started. Raises `NotFound`, `RangeNotSatisfiable` (a source is gone or shorter),
        `Changed` (a source does not have its etag), `StorageFull`, and `Unfinished` if `within` seconds were not
        enough; a directory cannot continue, so it ignores the limit.
        """

    def discard_unfinished(self, before: datetime) -> int:
        """Remove the leftovers of writers that were neither committed nor aborted, and return how many there were.

        Spares those that were written to since that time: a directory checks the last write, S3 the newest part. Does
        not touch the multipart uploads of clients.
        """

    def check(self) -> None:
        """Raise `StorageUnavailable` unless the store answers."""
