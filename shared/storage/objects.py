"""The contract of an object store: the only thing that everything above storage relies on.

Written once for a directory (`local`) and once for S3 (`s3`); `blobs` and `records` know nothing else. It is smaller
than a file system on purpose: an object is written whole or not at all, and the only coordination is a conditional
`put`, which S3 offers and a directory can offer with a lock.

Reading is split in two. `read` serves the small documents that are changed by comparing etags, `open` the large ones
that are streamed by byte range and never change: only the first needs an etag, and only the second must not fill
memory. Writing is pushed (`writer`) and not pulled from an iterator, so that a slow uploader holds no thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Literal, Protocol


class ObjectError(Exception):
    """Root of what an object store reports about one key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class NotFound(ObjectError):
    """No object has this key."""


class AlreadyExists(ObjectError):
    """A `put` on condition that the key is absent found an object there."""


class Changed(ObjectError):
    """A conditional `put` lost to another writer: read again, then decide."""


class RangeNotSatisfiable(ObjectError):
    """The range asked for begins behind the end of the object."""


class Ambiguous(ObjectError):
    """A `put` was sent, and no answer says whether it took effect."""


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


class Reader(Protocol):
    """One object, or a range of it, being read. Close it when done."""

    @property
    def object_size(self) -> int:
        """Bytes of the whole object, whatever range was asked for."""
        ...

    def read(self, size: int) -> bytes:
        """At most `size` next bytes of the range; empty at its end.

        Raises `StorageUnavailable` if storage stops answering in the middle.
        """
        ...

    def close(self) -> None: ...


class Writer(Protocol):
    """One object being written. Nobody sees it before `commit`; `abort` leaves nothing behind."""

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

    def read(self, key: str) -> tuple[bytes, str]:
        """A small object and its etag; the etag changes whenever the bytes do. Raises `NotFound`."""
        ...

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Small objects in the order of `keys`, without those that are not there; as parallel as the store likes."""
        ...

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        """Write a small object if the condition holds, durably, and return its new etag.

        Atomic against every other `put` and `delete` of the key. Raises `AlreadyExists` (the condition was ABSENT),
        `Changed` (it was `Matches`, or another write was under way), `NotFound` (it was `Matches` and the key is
        gone; some S3 servers say `Changed` here, so read again), `Ambiguous` (repeat the same bytes on the same
        condition, or read to find out) and `StorageFull`.
        """
        ...

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """Stream the bytes `[start, stop)`, clipped at the object's end.

        Raises `NotFound`, and `RangeNotSatisfiable` if `start` is at or behind the end.
        """
        ...

    def writer(self, key: str, reserve: int = 0) -> Writer:
        """Begin an object of unknown length whose first `reserve` bytes are given last, at `commit`."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; not finding it is success too."""
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        """Keys that start with `prefix` and sort behind `after`, in byte order. Unfinished writes are not among them.

        `prefix` ends in `/`.
        """
        ...

    def discard_unfinished(self, before: datetime) -> int:
        """Remove what writers left that were neither committed nor aborted, and say how many there were.

        A directory goes by the last write before that time, S3 by when the writer began.
        """
        ...

    def check(self) -> None:
        """Raise `StorageUnavailable` unless the store answers now."""
        ...
