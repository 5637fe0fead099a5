"""The parts of a direct upload: how large they can be, and one that is sent to us."""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import FileTooLarge, MoreThanAnnounced, StorageUnavailable, TooLargeForInbox
from shared.storage.multipart import Part, PartWriter, TooLarge
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


class PartUpload:
    """One part that is sent to us. It is stored by `finish`; `abort` leaves nothing behind.

    `room` is how many bytes it can have. `require_uploading` raises `UnknownFile` once the upload has ended.
    """

    def __init__(
        self,
        writer: PartWriter,
        room: int,
        too_large: Callable[[], FileTooLarge],
        require_uploading: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._room = room
        self._too_large = too_large
        self._require_uploading = require_uploading

    def write(self, data: bytes) -> None:
        """Append. Raises `FileTooLarge` with the first byte over the limit, `StorageFull`, `StorageUnavailable`."""
        self._room -= len(data)
        if self._room < 0:
            raise self._too_large()
        self._writer.write(data)

    def finish(self) -> Part:
        """Make the part durable. Raises `FileTooLarge`, and `UnknownFile` if the upload has ended meanwhile."""
        try:
            part = self._writer.commit()
        except TooLarge as error:
            raise self._too_large() from error
        except StorageUnavailable:
            # The end of the upload removes the folder of the part.
            self._require_uploading()
            raise
        self._require_uploading()
        return part

    def abort(self) -> None:
        self._writer.abort()
