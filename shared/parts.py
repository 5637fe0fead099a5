"""The parts of a direct upload: how large they can be, and one that is sent to us."""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import FileTooLarge, InvalidValue, MoreThanAnnounced, StorageUnavailable, TooLargeForInbox
from shared.storage.multipart import MAX_PARTS, MIN_PART_SIZE, Part, PartWriter, TooLarge
from shared.storage.records import Record


def limit_of(record: Record, max_file_size: int) -> int:
    """Maximum total size of all parts of an upload, in bytes."""
    limits = (record.announced_size, record.reserved_size, max_file_size)
    return min(limit for limit in limits if limit is not None)


def too_large(record: Record, max_file_size: int) -> FileTooLarge:
    """The error for a part that does not fit into its upload."""
    limit = limit_of(record, max_file_size)
    if record.inbox_id is not None and limit == record.reserved_size:
        return TooLargeForInbox(limit)
    return FileTooLarge(limit) if limit == max_file_size else MoreThanAnnounced(limit)


def part_size_of(record: Record) -> int | None:
    """The size of every part but the last, for an upload into an inbox whose parts go to storage; in bytes.

    With fixed sizes, links for all parts together never allow more than the reservation. Uppy has the same sizes.
    """
    return None if record.reserved_size is None else max(MIN_PART_SIZE, -(-record.reserved_size // MAX_PARTS))


def length_of_part(record: Record, number: int, size: int | None, max_file_size: int) -> int | None:
    """How many bytes a link for a part must allow, for an upload into an inbox; None if they are not limited.

    `size` is what the sender announces for this part. Raises `FileTooLarge`, and `InvalidValue` if it is unknown.
    """
    usual = part_size_of(record)
    if usual is None:
        return None
    room = min(usual, limit_of(record, max_file_size) - (number - 1) * usual)
    if room < (1 if number > 1 else 0) or (size is not None and size > room):
        raise too_large(record, max_file_size)
    if size is None and record.announced_size is None:
        raise InvalidValue("size", "is required in the address of a part, unless the upload began with one")
    return room if size is None else size


class PartUpload:
    """One part that is sent to us. It is stored by `finish`; `abort` leaves nothing behind.

    `room` is how many bytes it can have; for more, this raises `refusal`. `require_uploading` raises `UnknownFile` once
    the upload has ended.
    """

    def __init__(
        self, writer: PartWriter, room: int, refusal: FileTooLarge, require_uploading: Callable[[], None]
    ) -> None:
        self._writer = writer
        self._room = room
        self._refusal = refusal
        self._require_uploading = require_uploading
        self.abort = writer.abort

    def write(self, data: bytes) -> None:
        """Append. Raises `FileTooLarge` with the first byte over the limit, `StorageFull`, `StorageUnavailable`."""
        self._room -= len(data)
        if self._room < 0:
            raise self._refusal
        self._writer.write(data)

    def finish(self) -> Part:
        """Make the part durable. Raises `FileTooLarge`, and `UnknownFile` if the upload has ended meanwhile."""
        try:
            part = self._writer.commit()
        except TooLarge as error:
            raise self._refusal from error
        except StorageUnavailable:
            # The end of the upload removes the folder of the part.
            self._require_uploading()
            raise
        self._require_uploading()
        return part
