"""Multipart uploads: objects too large to pass through us, which clients send in parts on their own.

Every store has S3's limits (Amazon S3 User Guide, "Multipart upload limits").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.storage.contract import ObjectError, Slice

MIN_PART_SIZE = 5 * 1024 * 1024  # bytes, but for the last part of an object
MAX_PARTS = 10_000


class TooLarge(ObjectError):
    """A part does not fit into what all parts of its upload may have together."""


class InvalidParts(ObjectError):
    """The parts that an upload is to be finished with are not those stored, or not in order, or too small."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stored part of a multipart upload: number 1 to 10,000, size in bytes, etag without quotes."""

    number: int
    size: int
    etag: str


class PartWriter(Protocol):
    """One part being written; until `commit`, an earlier part of its number stays."""

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


class Multipart(Protocol):
    """The multipart uploads of one store. Each is identified by the key of its object and an ID."""

    def start(self, key: str) -> str:
        """Begin an upload of what will be the object `key`, and return its ID, which cannot be guessed."""
        ...

    def list(self, key: str, upload_id: str) -> Sequence[Part]:
        """All parts stored, by number. Raises `NotFound` if there is no such upload, or it is finished.

        A directory does not know which uploads were begun, and has no parts of others.
        """
        ...

    def writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        """Begin a part that a client sends to us; all together may have `limit` bytes.

        Raises `NotFound` if the upload is finished, and where clients send parts to storage itself.
        """
        ...

    def finish(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        """Say where the bytes of the whole are from now on: those `parts`, which number and etag name, in their order.

        S3 makes the object `key` of them; a directory moves nothing and answers with a slice of each part. May be
        called again, also with other parts, and then answers with those that were finished first.

        `allow` is called with their total size before anything is made, and raises to refuse. Raises `InvalidParts`,
        and `NotFound` if there is neither the upload nor what was made of it.
        """
        ...

    def abort(self, key: str, upload_id: str | None = None) -> None:
        """Forget the upload, or all to this key, and what a `compose` of it began. None that is left is no error.

        On a directory also the parts of a finished one.
        """
        ...


def stored_parts(key: str, parts: Sequence[Part], stored: Sequence[Part]) -> list[Part]:
    """The stored parts with these numbers and etags. Raises `InvalidParts` if S3 would make no object of them."""
    by_name = {(part.number, part.etag): part for part in stored}
    matches = [by_name[part.number, part.etag] for part in parts if (part.number, part.etag) in by_name]
    if (
        not parts
        or len(matches) < len(parts)
        or any(part.number >= following.number for part, following in itertools.pairwise(matches))
        or any(part.size < MIN_PART_SIZE for part in matches[:-1])
    ):
        raise InvalidParts(key)
    return matches
