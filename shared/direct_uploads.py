"""Files of any size, whose bytes go from the sender straight to storage in parts.

An upload has a record from its start, in the state *uploading*, in which `created_at` is when it began and `expires_at`
as much later as the file is to live. Its ID is the storage's own, and anyone who knows it can continue the upload.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import uuid
from collections.abc import Sequence

from shared.errors import (
    Contended,
    FileTooLarge,
    InvalidValue,
    MoreThanAnnounced,
    StorageFull,
    StorageUnavailable,
    UnknownFile,
)
from shared.options import Options
from shared.redirects import KEEP_RAW_FOR
from shared.retention import UPLOAD_WITHIN, next_look
from shared.sharing import FILE_ID, Shares
from shared.storage.blobs import make_blob
from shared.storage.contract import Changed, NotFound, RangeNotSatisfiable
from shared.storage.keys import file_id_of, raw_key
from shared.storage.multipart import MAX_PARTS, InvalidParts, Part, PartWriter, TooLarge
from shared.storage.records import DELETED, READY, UPLOADING, Record

PART_URL_LIFETIME = 3600  # seconds

__all__ = ["MAX_PARTS", "PART_URL_LIFETIME", "DirectUploads", "Part", "PartUpload", "file_id_of", "raw_key"]


class PartUpload:
    """One part that passes through us. It counts once it is `finish`ed; `abort` leaves nothing behind."""

    def __init__(self, uploads: DirectUploads, record: Record, writer: PartWriter, room: int) -> None:
        self._uploads = uploads
        self._record = record
        self._writer = writer
        self._room = room

    def write(self, data: bytes) -> None:
        """Append. Raises `FileTooLarge` with the first byte over the limit, `StorageFull`, `StorageUnavailable`."""
        self._room -= len(data)
        if self._room < 0:
            raise self._uploads.too_large(self._record)
        self._writer.write(data)

    def finish(self) -> Part:
        """Make the part durable. Raises `FileTooLarge`, and `UnknownFile` if the upload has ended by then."""
        try:
            part = self._writer.commit()
        except TooLarge as error:
            raise self._uploads.too_large(self._record) from error
        except StorageUnavailable:
            # The end of the upload takes away the place that the part was to have.
            self._uploads.require_uploading(self._record)
            raise
        self._uploads.require_uploading(self._record)
        return part

    def abort(self) -> None:
        self._writer.abort()


class DirectUploads:
    """The uploads in parts of one store's files."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._store = shares.store
        self.max_file_size = shares.max_file_size

    def start(
        self, original_name: str, content_type: str, options: Options, announced_size: int | None = None
    ) -> Record:
        """Begin an upload. `announced_size` is what all parts will have together, in bytes, if the sender knows.

        Raises `InvalidValue` for options that are not possible here, `FileTooLarge`, `TooManyAttempts`.
        """
        shares = self._shares
        now = shares.now()
        expires_at = shares.lifetimes.expiry(now, options.expires_in)
        if announced_size is not None and announced_size > self.max_file_size:
            raise FileTooLarge(self.max_file_size)
        password_hash = None if options.password is None else shares.passwords.hash(options.password)
        file_id = str(uuid.uuid4())
        shares.expiries.add(file_id, now + UPLOAD_WITHIN)
        upload_id = self._store.multipart.start(raw_key(file_id))
        record = Record(
            file_id=file_id,
            state=UPLOADING,
            original_name=original_name,
            content_type=content_type,
            file_size=0,
            sha256=None,
            created_at=now,
            expires_at=expires_at,
            max_downloads=options.max_downloads,
            password_hash=password_hash,
            upload_id=upload_id,
            announced_size=announced_size,
            sealed=False,
        )
        try:
            return shares.records.create(record).record
        except (StorageFull, Contended):
            # These say for certain that there is no record.
            self._store.multipart.abort(raw_key(file_id), upload_id)
            raise

    def parts(self, file_id: str, upload_id: str) -> Sequence[Part]:
        """The parts that are stored, by number. Raises `UnknownFile`."""
        self._uploading(file_id, upload_id)
        return self._stored(file_id, upload_id)

    def part_url(self, file_id: str, upload_id: str, number: int) -> str | None:
        """Where storage takes a part (1 to 10,000) for an hour; None where it comes to us. Raises `UnknownFile`."""
        self._uploading(file_id, upload_id)
        links = self._store.links
        if links is None:
            return None
        return links.upload_part(raw_key(file_id), PART_URL_LIFETIME, upload_id=upload_id, number=number)

    def begin_part(self, file_id: str, upload_id: str, number: int, size: int = 0) -> PartUpload:
        """Take a part (1 to 10,000) that comes to us and has at least `size` bytes.

        Raises `FileTooLarge` if it cannot fit, and `UnknownFile`, also where parts go to storage itself.
        """
        record = self._uploading(file_id, upload_id)
        others = sum(part.size for part in self._stored(file_id, upload_id) if part.number != number)
        limit = self._limit(record)
        if others + size > limit:
            raise self.too_large(record)
        try:
            writer = self._store.multipart.writer(raw_key(file_id), upload_id, number, limit)
        except NotFound as error:
            raise UnknownFile(file_id) from error
        return PartUpload(self, record, writer, limit - others)

    def complete(self, file_id: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> tuple[Record, bool]:
        """Make a file of the parts with these numbers and etags; the file, and whether this call made it.

        If it was complete before, nothing changes, whatever parts are named.

        Raises `InvalidValue` unless those parts are stored, in order, and large enough, `FileTooLarge`, which ends the
        upload, `UnknownFile`, `Expired`, `Contended` and `OutcomeUnknown`.
        """
        record = self._find(file_id, upload_id)
        if record.state == READY:
            return self._shares.describe(file_id), False
        self._require_recent(record)
        try:
            sources = self._store.multipart.finish(
                raw_key(file_id),
                upload_id,
                [Part(number, 0, etag) for number, etag in parts],
                lambda size: self._require_size(record, size),
            )
            # A store that makes no raw object of the parts leaves them where they are, so they are sealed at once.
            sealed = [source.key for source in sources] != [raw_key(file_id)]
            if sealed:
                make_blob(self._store, file_id, sources)
        except (InvalidParts, NotFound, Changed, RangeNotSatisfiable) as error:
            # Another request may have completed or ended the upload meanwhile; then these parts came too late.
            with contextlib.suppress(UnknownFile):
                self.require_uploading(record)
            record = self._find(file_id, upload_id)
            if record.state == READY:
                return self._shares.describe(file_id), False
            if isinstance(error, NotFound):
                raise UnknownFile(file_id) from error
            raise _unfit("must be stored, in ascending order, and all but the last of at least 5 MiB") from error
        completion = self._publish(record, sum(source.size for source in sources), sealed)
        if sealed:
            self._store.multipart.abort(raw_key(file_id), upload_id)
        return completion

    def abort(self, file_id: str, upload_id: str) -> None:
        """End an upload and forget its parts. Raises `UnknownFile`, also for one that is complete."""
        record = self._find(file_id, upload_id)
        if record.state != UPLOADING:
            raise UnknownFile(file_id)
        self._shares.end(record)

    def require_uploading(self, record: Record) -> None:
        """Raise `UnknownFile`, and forget what came too late, if an upload has ended."""
        assert record.upload_id is not None
        try:
            self._uploading(record.file_id, record.upload_id)
        except UnknownFile:
            self._store.multipart.abort(raw_key(record.file_id), record.upload_id)
            raise

    def too_large(self, record: Record) -> FileTooLarge:
        """What is said of a part that does not fit into its upload."""
        limit = self._limit(record)
        return FileTooLarge(limit) if limit == self.max_file_size else MoreThanAnnounced(limit)

    def _limit(self, record: Record) -> int:
        """Bytes that all parts of an upload may have together."""
        announced = record.announced_size
        return self.max_file_size if announced is None else min(announced, self.max_file_size)

    def _find(self, file_id: str, upload_id: str) -> Record:
        """The record of an upload, complete or not. Raises `UnknownFile`."""
        if not FILE_ID.fullmatch(file_id):
            raise UnknownFile(file_id)
        record = self._shares.records.get(file_id).record
        if record.upload_id is None or record.state == DELETED:
            raise UnknownFile(file_id)
        if not hmac.compare_digest(record.upload_id.encode(), upload_id.encode(errors="replace")):
            raise UnknownFile(file_id)
        return record

    def _uploading(self, file_id: str, upload_id: str) -> Record:
        """The record of an upload that is not complete. Raises `UnknownFile`."""
        record = self._find(file_id, upload_id)
        if record.state != UPLOADING:
            raise UnknownFile(file_id)
        self._require_recent(record)
        return record

    def _require_recent(self, record: Record) -> None:
        if record.created_at + UPLOAD_WITHIN <= self._shares.now():
            raise UnknownFile(record.file_id)

    def _stored(self, file_id: str, upload_id: str) -> Sequence[Part]:
        try:
            return self._store.multipart.list(raw_key(file_id), upload_id)
        except NotFound as error:
            raise UnknownFile(file_id) from error

    def _require_size(self, record: Record, size: int) -> None:
        if size > self.max_file_size:
            self._shares.end(record)
            raise FileTooLarge(self.max_file_size)
        if record.announced_size not in (None, size):
            raise _unfit(f"have {size} bytes together, and {record.announced_size} were announced")

    def _publish(self, started: Record, file_size: int, sealed: bool) -> tuple[Record, bool]:
        shares = self._shares
        now = shares.now()
        expires_at = None if started.expires_at is None else now + (started.expires_at - started.created_at)
        first = False

        def publish(record: Record) -> Record:
            nonlocal first
            first = record.state == UPLOADING
            if record.state == READY:
                return record
            if record.state != UPLOADING:
                raise UnknownFile(record.file_id)
            return dataclasses.replace(
                record,
                state=READY,
                file_size=file_size,
                created_at=now,
                expires_at=expires_at,
                sealed=sealed,
                raw_until=None if sealed else now + KEEP_RAW_FOR,
            )

        # The sweep soon finds what is left: parts after a crash, and a file to be sealed if no event of it arrives.
        look = next_look(dataclasses.replace(started, created_at=now, expires_at=expires_at), now)
        try:
            with shares.expiries.covering(started.file_id, look, now):
                return shares.records.update(started.file_id, publish).record, first
        except UnknownFile:
            shares.remove(started)
            raise


def _unfit(reason: str) -> InvalidValue:
    return InvalidValue("parts", reason)
