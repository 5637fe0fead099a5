"""Multipart uploads: large objects that clients upload in parts.

Every store has S3's limits (Amazon S3 User Guide, "Multipart upload limits").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.storage.contract import ObjectError, Slice

MIN_PART_SIZE = 5 * 1024 * 1024  # bytes, except for the last part of an object
MAX_PARTS = 10_000


class TooLarge(ObjectError):
    """A part would exceed the limit for all parts of its upload."""


class InvalidParts(ObjectError):
    """The parts to finish an upload with are not stored, not in order, or too small."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stored part of a multipart upload: number 1 to 10,000, size in bytes, etag without quotes."""

    number: int
    size: int
    etag: str


class PartWriter(Protocol):
    """Writes one part; until `commit`, an earlier part with its number stays."""

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageUnavailable`; call only `abort` after that."""

    def commit(self) -> Part:
        """Make the part durable, in place of an earlier one with its number.

        Raises `TooLarge` if all parts would exceed the limit, however many arrive at once; then call only `abort`.
        """

    def abort(self) -> None:
        """Discard everything. Can be called at any time, even twice or after a failed `commit`."""


class Multipart(Protocol):
    """The multipart uploads of one store. Each is identified by the key of its object and an ID."""

    def start(self, key: str) -> str:
        """Start an upload of the object `key`, and return its ID, which cannot be guessed."""

    def list(self, key: str, upload_id: str) -> Sequence[Part]:
        """All stored parts, by number. Raises `NotFound` if the upload does not exist or is finished.

        A directory does not know which uploads exist, so it lists no parts for unknown ones.
        """

    def writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        """Start to write a part; all parts together can have `limit` bytes.

        Raises `NotFound` if the upload is finished, and if clients send parts to storage itself.
        """

    def finish(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        """Finish an upload with these `parts`, by number and etag, and return the slices that hold its bytes, in order.

        S3 joins the parts to the object `key`; a directory moves nothing and returns a slice of each part. If the
        upload is already finished, the result is that of the first call, whatever the parts.

        Calls `allow` with the total size first, which raises to refuse. Raises `InvalidParts`, and `NotFound` if
        neither the upload nor its result exists.
        """

    def abort(self, key: str, upload_id: str | None = None) -> None:
        """Remove the upload, or all to this key, including those of an unfinished `compose`. No upload is no error.

        A directory also removes the parts of a finished upload.
        """


def stored_parts(key: str, parts: Sequence[Part], stored: Sequence[Part]) -> list[Part]:
    """The stored parts with these numbers and etags. Raises `InvalidParts` if S3 would reject them."""
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
