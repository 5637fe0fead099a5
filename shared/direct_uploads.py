"""Files of any size, which their senders upload in parts straight to storage.

An upload has a record from the start, in the state *uploading*: `created_at` is the start, and `expires_at` is later by
the file's lifetime. The storage chooses the upload ID, and anyone who knows it can continue the upload.
"""

from __future__ import annotations

import contextlib
import hmac
import uuid
from collections.abc import Sequence

from msgspec import structs

from shared.errors import (
    Contended,
    FileTooLarge,
    InvalidValue,
    NotAuthorised,
    StorageFull,
    TooLargeForInbox,
    UnknownFile,
)
from shared.options import Options
from shared.parts import PartUpload, length_of_part, limit_of, part_size_of, too_large
from shared.places import RESERVED_FOR, Delivery, Places
from shared.redirects import KEEP_RAW_FOR
from shared.retention import UPLOAD_WITHIN, next_look
from shared.sharing import FILE_ID, Shares
from shared.storage.blobs import make_blob
from shared.storage.contract import Changed, NotFound, RangeNotSatisfiable
from shared.storage.keys import file_id_of, raw_key
from shared.storage.multipart import MAX_PARTS, InvalidParts, Part
from shared.storage.records import DELETED, READY, UPLOADING, Record, Stored

PART_URL_LIFETIME = 3600  # seconds

__all__ = ["MAX_PARTS", "PART_URL_LIFETIME", "DirectUploads", "Part", "PartUpload", "file_id_of", "raw_key"]


class DirectUploads:
    """The uploads in parts of one store's files."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._store = shares.store
        self._places = Places(shares)
        self.max_file_size = shares.max_file_size

    def start(
        self,
        original_name: str,
        content_type: str,
        options: Options,
        announced_size: int | None = None,
        delivery: Delivery | None = None,
    ) -> Record:
        """Start an upload. `announced_size` is the total size of all parts in bytes, if the sender knows it.

        Raises `InvalidValue` for options that this server does not allow, `FileTooLarge`, `TooManyAttempts`.
        """
        shares = self._shares
        now = shares.now()
        if announced_size is not None and announced_size > self.max_file_size:
            raise FileTooLarge(self.max_file_size)
        password_hash = None if options.password is None else shares.passwords.hash(options.password)
        file_id = str(uuid.uuid4())
        place = None if delivery is None else self._places.reserve(file_id, delivery)
        try:
            expires_at = shares.lifetimes.expiry(now, options.expires_in if place is None else place.lifetime)
            shares.expiries.add(file_id, now + (UPLOAD_WITHIN if place is None else RESERVED_FOR))
            upload_id = self._store.multipart.start(raw_key(file_id))
        except BaseException:
            if place is not None:
                place.release()
            raise
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
            inbox_id=None if delivery is None else delivery.inbox_id,
            sender=None if delivery is None else delivery.sender,
            reserved_size=None if place is None else place.size,
            encryption=options.encryption,
        )
        try:
            return shares.records.create(record).record
        except (StorageFull, Contended):
            # After these, there is certainly no record.
            if place is not None:
                place.release()
            self._store.multipart.abort(raw_key(file_id), upload_id)
            raise

    def parts(self, file_id: str, upload_id: str) -> Sequence[Part]:
        """The stored parts, by number. Raises `UnknownFile`."""
        self._uploading(file_id, upload_id)
        return self._stored(file_id, upload_id)

    def part_size(self, record: Record) -> int | None:
        """The size that every part but the last must have; None if senders choose it."""
        return None if self._store.links is None else part_size_of(record)

    def part_url(self, file_id: str, upload_id: str, number: int, size: int | None = None) -> str | None:
        """The URL in storage for a part (1 to 10,000), valid for an hour; None if parts are sent to us.

        Raises `UnknownFile`; for an inbox also `FileTooLarge`, `InvalidValue` if no `size` is known, and `InboxClosed`.
        """
        record = self._uploading(file_id, upload_id)
        self._keep_place(record)
        links = self._store.links
        if links is None:
            return None
        length = length_of_part(record, number, size, self.max_file_size)
        return links.upload_part(raw_key(file_id), PART_URL_LIFETIME, upload_id=upload_id, number=number, size=length)

    def begin_part(self, file_id: str, upload_id: str, number: int, size: int = 0) -> PartUpload:
        """Start to receive a part (1 to 10,000) of at least `size` bytes.

        Raises `FileTooLarge` if it cannot fit, `InboxClosed`, and `UnknownFile`, also if clients send parts to storage.
        """
        record = self._uploading(file_id, upload_id)
        self._keep_place(record)
        others = sum(part.size for part in self._stored(file_id, upload_id) if part.number != number)
        limit, refusal = limit_of(record, self.max_file_size), too_large(record, self.max_file_size)
        if others + size > limit:
            raise refusal
        try:
            writer = self._store.multipart.writer(raw_key(file_id), upload_id, number, limit)
        except NotFound as error:
            raise UnknownFile(file_id) from error
        return PartUpload(writer, limit - others, refusal, lambda: self.require_uploading(record))

    def complete(self, file_id: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> tuple[Record, bool]:
        """Make a file of the parts with these numbers and etags. Returns it, and whether this call completed it.

        If the upload is already complete, nothing changes, whatever the parts.

        Raises `InvalidValue` unless the parts are stored, in order and large enough; `FileTooLarge`, which ends the
        upload; `UnknownFile`, `Expired`, `Contended` and `OutcomeUnknown`.
        """
        stored = self._find(file_id, upload_id)
        record = stored.record
        if record.state == READY:
            return self._shares.describe(file_id), False
        self._require_recent(record)
        self._keep_place(record)
        try:
            sources = self._store.multipart.finish(
                raw_key(file_id),
                upload_id,
                [Part(number, 0, etag) for number, etag in parts],
                lambda size: self._require_size(record, size),
            )
            # A store that does not join the parts to a raw object leaves them in place, so seal them at once.
            sealed = [source.key for source in sources] != [raw_key(file_id)]
            if sealed:
                make_blob(self._store, file_id, sources)
        except (InvalidParts, NotFound, Changed, RangeNotSatisfiable) as error:
            # Another request may have completed or ended the upload meanwhile.
            with contextlib.suppress(UnknownFile):
                self.require_uploading(record)
            if self._find(file_id, upload_id).record.state == READY:
                return self._shares.describe(file_id), False
            if isinstance(error, NotFound):
                raise UnknownFile(file_id) from error
            raise _invalid("must be stored, in ascending order, and at least 5 MiB each except the last") from error
        completion = self._publish(stored, sum(source.size for source in sources), sealed)
        if sealed:
            self._store.multipart.abort(raw_key(file_id), upload_id)
        return completion

    def abort(self, file_id: str, upload_id: str) -> None:
        """End an upload and remove its parts. Raises `UnknownFile`, also if the upload is complete."""
        record = self._find(file_id, upload_id).record
        if record.state != UPLOADING:
            raise UnknownFile(file_id)
        self._end(record)

    def require_inbox(self, file_id: str, upload_id: str) -> None:
        """Raises `NotAuthorised` unless this is an upload into an inbox, for which its ID is enough."""
        with contextlib.suppress(UnknownFile):
            if self._find(file_id, upload_id).record.inbox_id is not None:
                return
        raise NotAuthorised

    def require_uploading(self, record: Record) -> None:
        """If an upload has ended, remove parts that arrived too late and raise `UnknownFile`."""
        assert record.upload_id is not None
        try:
            self._uploading(record.file_id, record.upload_id)
        except UnknownFile:
            self._store.multipart.abort(raw_key(record.file_id), record.upload_id)
            raise

    def _keep_place(self, record: Record) -> None:
        if record.inbox_id is not None:
            self._places.renew(record.inbox_id, record.file_id)

    def _end(self, record: Record) -> None:
        self._shares.end(record)
        if record.inbox_id is not None:
            self._places.release(record.inbox_id, record.file_id)

    def _find(self, file_id: str, upload_id: str) -> Stored:
        """The record of an upload, complete or not. Raises `UnknownFile`."""
        if not FILE_ID.fullmatch(file_id):
            raise UnknownFile(file_id)
        stored = self._shares.records.get(file_id)
        record = stored.record
        if record.upload_id is None or record.state == DELETED:
            raise UnknownFile(file_id)
        if not hmac.compare_digest(record.upload_id.encode(), upload_id.encode(errors="replace")):
            raise UnknownFile(file_id)
        return stored

    def _uploading(self, file_id: str, upload_id: str) -> Record:
        """The record of an upload that is not complete. Raises `UnknownFile`."""
        record = self._find(file_id, upload_id).record
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
        limit = self.max_file_size if record.reserved_size is None else min(record.reserved_size, self.max_file_size)
        if size > limit:
            self._end(record)
            raise FileTooLarge(limit) if record.inbox_id is None else TooLargeForInbox(limit)
        if record.announced_size not in (None, size):
            raise _invalid(f"have {size} bytes in total, but {record.announced_size} were announced")

    def _publish(self, stored: Stored, file_size: int, sealed: bool) -> tuple[Record, bool]:
        shares, started = self._shares, stored.record
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
            return structs.replace(
                record,
                state=READY,
                file_size=file_size,
                created_at=now,
                expires_at=expires_at,
                sealed=sealed,
                raw_until=None if sealed else now + KEEP_RAW_FOR,
            )

        # The sweep soon removes parts that a crash left, and seals the file if no event did.
        look = next_look(structs.replace(started, created_at=now, expires_at=expires_at), now)
        try:
            with shares.expiries.covering(started.file_id, look, now):
                record = shares.records.update(started.file_id, publish, stored).record
        except UnknownFile:
            shares.remove(started)
            raise
        if record.inbox_id is not None:
            self._places.settle(record, record.reserved_size)
        return record, first


def _invalid(reason: str) -> InvalidValue:
    return InvalidValue("parts", reason)
