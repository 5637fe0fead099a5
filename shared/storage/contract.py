"""The contract of an object store: the only thing that everything above storage relies on.

Written once for a directory (`local`) and once for S3 (`s3`); `blobs` and `records` know nothing else. It is smaller
than a file system on purpose: an object is written whole or not at all, and the only coordination is a conditional
`put`, which S3 offers and a directory can offer with a lock.

Reading is split in two. `read` serves the small documents that are changed by comparing etags, `open` the large ones
that are streamed by byte range and never change: only the first needs an etag, and only the second must not fill
memory. Writing is pushed (`writer`) and not pulled from an iterator, so that a slow uploader holds no thread.

What is too large to pass through us is made of parts that clients upload on their own, and of ranges of other objects
(`compose`), with S3's limits (Amazon S3 User Guide, "Multipart upload limits") on every store.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Literal, Protocol

MIN_PART_SIZE = 5 * 1024 * 1024  # bytes, but for the last part of an object
MAX_PARTS = 10_000


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
    """A conditional `put` lost to another writer, or a source is not the version that a `compose` asked for."""


class TooSoon(Changed):
    """A `put` came too soon after another one of its key; nothing was written."""


class RangeNotSatisfiable(ObjectError):
    """The range asked for begins behind the end of the object."""


class Ambiguous(ObjectError):
    """A `put` was sent, and no answer says whether it took effect."""


class NotSent(ObjectError):
    """A `put` never left, since there was no connection to send it on; `reason` is for the log only."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key)
        self.reason = reason


class Unfinished(ObjectError):
    """A `compose` ran out of time; calling it again continues it."""


class TooLarge(ObjectError):
    """A part does not fit into what all parts of its upload may have together."""


class InvalidParts(ObjectError):
    """The parts named to `finish_parts` are not those stored, or not in order, or too small."""


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


Piece = bytes | Slice


@dataclass(frozen=True, slots=True)
class Part:
    """One stored part of a multipart upload: number 1 to 10,000, size in bytes, etag without quotes."""

    number: int
    size: int
    etag: str


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

    def read_ready(self, size: int) -> memoryview | None:
        """At most `size` next bytes that can be had without waiting, perhaps fewer than there are; else None.

        That is also at the end, and where it cannot be told or goes wrong: only `read` tells these apart.
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


class PartWriter(Protocol):
    """One part of a multipart upload being written; until `commit`, an earlier part of its number stays."""

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageUnavailable`, after which only `abort` may follow."""
        ...

    def commit(self) -> Part:
        """Make the part durable, in place of an earlier one of its number.

        Raises `TooLarge`, however many parts arrive at once, if all would have more than the limit; only `abort` may
        follow.
        """
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
        `Changed` (it was `Matches`, or another write was under way or is too recent), `NotFound` (it was `Matches`
        and the key is gone; some S3 servers say `Changed` here, so read again), `Ambiguous` (repeat the same bytes on
        the same condition, or read to find out), `NotSent` (only with a condition; repeat it) and `StorageFull`.
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

    def delete_many(self, keys: Sequence[str]) -> None:
        """As `delete` for each, in any order and in as few requests as the store can.

        One that cannot be removed does not keep the others, and then raises `StorageUnavailable`.
        """
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        """Keys that start with `prefix` and sort behind `after`, in byte order. Unfinished writes are not among them.

        `prefix` ends in `/`.
        """
        ...

    def discard_unfinished(self, before: datetime) -> int:
        """Remove what writers left that were neither committed nor aborted, and say how many there were.

        Only where nothing was written since that time: a directory goes by the last write, S3 by the newest part. The
        multipart uploads of clients are not among them.
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

    @property
    def signs(self) -> bool:
        """Whether clients reach objects by signed URLs, and not only through us."""
        ...

    def start_parts(self, key: str) -> str:
        """Begin a multipart upload of what will be the object `key`, and return its ID, which nobody can guess."""
        ...

    def list_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        """All parts stored, by number. Raises `NotFound` if there is no such upload, or it is finished.

        A directory does not know which uploads were begun, and has no parts of others.
        """
        ...

    def finish_parts(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        """Say where the bytes of the whole are from now on: those `parts`, which number and etag name, in their order.

        `allow` is called with their total size before anything is made, and raises to refuse.

        S3 makes the object `key` of them; a directory moves nothing and answers with a slice of each part. May be
        called again, also with other parts, and then tells of those that were finished first. Raises `InvalidParts`,
        and `NotFound` if neither the upload is known nor what was made of it.
        """
        ...

    def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        """Forget the upload, or all to this key, and what a `compose` of it began, whether or not it is there.

        On a directory also the parts of a finished one.
        """
        ...

    def signed_part_url(self, key: str, upload_id: str, number: int, expires_in: int) -> str:
        """Where a client may PUT one part for so many seconds. Only where the store `signs`."""
        ...

    def signed_url(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        """Where a client may GET the object for so many seconds, with these headers of the answer.

        With `range`, only a request with exactly that `Range` header is good. Only where the store `signs`.
        """
        ...

    def part_writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        """Begin a part that a client sends to us; all together may have `limit` bytes. Raises `NotFound` if finished.

        Only where the store does not sign.
        """
        ...

    def check(self) -> None:
        """Raise `StorageUnavailable` unless the store answers now."""
        ...


def chosen_parts(key: str, named: Sequence[Part], stored: Sequence[Part]) -> list[Part]:
    """The stored parts named by number and etag. Raises `InvalidParts` if S3 would make no object of them."""
    there = {(part.number, part.etag): part for part in stored}
    chosen = [there[part.number, part.etag] for part in named if (part.number, part.etag) in there]
    if (
        not named
        or len(chosen) < len(named)
        or any(part.number >= following.number for part, following in itertools.pairwise(chosen))
        or any(part.size < MIN_PART_SIZE for part in chosen[:-1])
    ):
        raise InvalidParts(key)
    return chosen
