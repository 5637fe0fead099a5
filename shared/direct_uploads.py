"""Files of any size, whose bytes go from the sender straight to storage in parts and are made a blob of there.

An upload has a record from its start, in the state *uploading*, in which `created_at` is when it began and `expires_at`
as much later as the file is to live. Its ID is the storage's own, and whoever knows it may go on with the upload.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import uuid
from collections.abc import Sequence
from datetime import timedelta

from shared.errors import (
    Contended,
    DamagedFile,
    FileTooLarge,
    InvalidValue,
    MoreThanAnnounced,
    StorageFull,
    StorageUnavailable,
    UnknownFile,
)
from shared.options import Options
from shared.sharing import FILE_ID, KEEP_RAW_FOR, Shares, next_look
from shared.storage.blobs import blob_key, raw_key, require_raw, seal
from shared.storage.contract import (
    MAX_PARTS,
    Changed,
    InvalidParts,
    NotFound,
    ObjectStore,
    Part,
    PartWriter,
    RangeNotSatisfiable,
    Slice,
    TooLarge,
    chosen_parts,
)
from shared.storage.records import DELETED, READY, UPLOADING, Record

UPLOAD_WITHIN = timedelta(days=7)
PART_URL_LIFETIME = 3600  # seconds

__all__ = ["MAX_PARTS", "PART_URL_LIFETIME", "UPLOAD_WITHIN", "DirectUploads", "Part", "PartUpload", "StillUploading"]


class StillUploading(Exception):
    """A file cannot be sealed before its upload is complete."""


class PartUpload:
    """One part on its way through us into an upload. It counts once it is `finish`ed; `abort` leaves nothing behind."""

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
        """Make the part durable. Raises `FileTooLarge`, and `UnknownFile` if the upload is over by then."""
        try:
            part = self._writer.commit()
        except TooLarge as error:
            raise self._uploads.too_large(self._record) from error
        except StorageUnavailable:
            # The end of the upload takes away the place that the part was to have.
            self._uploads.require_going_on(self._record)
            raise
        self._uploads.require_going_on(self._record)
        return part

    def abort(self) -> None:
        self._writer.abort()


class DirectUploads:
    """The uploads in parts of one store's files."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._store: ObjectStore = shares.store
        self.max_file_size = shares.max_file_size

    def start(
        self, original_name: str, content_type: str, options: Options, announced_size: int | None = None
    ) -> Record:
        """Begin an upload. `announced_size` is what the whole will have, in bytes, where the sender knows.

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
        upload_id = self._store.start_parts(raw_key(file_id))
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
            self._store.abort_parts(raw_key(file_id), upload_id)
            raise

    def parts(self, file_id: str, upload_id: str) -> Sequence[Part]:
        """The parts that are stored, by number. Raises `UnknownFile`."""
        self._going_on(file_id, upload_id)
        return self._stored(file_id, upload_id)

    def part_url(self, file_id: str, upload_id: str, number: int) -> str | None:
        """Where storage takes a part (1 to 10,000) for an hour; None where it comes to us. Raises `UnknownFile`."""
        self._going_on(file_id, upload_id)
        if not self._store.signs:
            return None
        return self._store.signed_part_url(raw_key(file_id), upload_id, number, PART_URL_LIFETIME)

    def begin_part(self, file_id: str, upload_id: str, number: int, size: int = 0) -> PartUpload:
        """Take a part (1 to 10,000) that comes to us and has at least `size` bytes.

        Raises `FileTooLarge` if it cannot fit, and `UnknownFile`, also where parts go to storage itself.
        """
        record = self._going_on(file_id, upload_id)
        if self._store.signs:
            raise UnknownFile(file_id)
        others = sum(part.size for part in self._stored(file_id, upload_id) if part.number != number)
        limit = self._limit(record)
        if others + size > limit:
            raise self.too_large(record)
        try:
            writer = self._store.part_writer(raw_key(file_id), upload_id, number, limit)
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
        key = raw_key(file_id)
        try:
            sources = self._finish(record, [Part(number, 0, etag) for number, etag in parts])
            if not self._store.signs:
                seal(self._store, file_id, sources)
        except (InvalidParts, NotFound, Changed, RangeNotSatisfiable) as error:
            # Somebody else may have completed or ended it meanwhile; then what was chosen here came too late.
            with contextlib.suppress(UnknownFile):
                self.require_going_on(record)
            record = self._find(file_id, upload_id)
            if record.state == READY:
                return self._shares.describe(file_id), False
            if isinstance(error, NotFound):
                raise UnknownFile(file_id) from error
            raise _unfit("must be stored, in ascending order, and all but the last of at least 5 MiB") from error
        completion = self._publish(record, sum(source.stop - source.start for source in sources))
        if not self._store.signs:
            self._store.abort_parts(key, upload_id)
        return completion

    def abort(self, file_id: str, upload_id: str) -> None:
        """End an upload and forget its parts. Raises `UnknownFile`, also for one that is complete."""
        record = self._find(file_id, upload_id)
        if record.state != UPLOADING:
            raise UnknownFile(file_id)
        self._shares.end(record)

    def seal(self, file_id: str) -> bool:
        """Make the blob of a completed upload, unless that is done; whether this call did it.

        May be called at any time, also twice at once. Does nothing for a file that is gone. Raises `StillUploading`,
        and `DamagedFile` if the bytes are missing.
        """
        try:
            record = self._shares.records.get(file_id).record
        except UnknownFile:
            return False
        if record.state == UPLOADING:
            raise StillUploading(file_id)
        if record.state == DELETED or record.sealed:
            return False
        try:
            seal(self._store, file_id, [require_raw(self._store, file_id, record.file_size)])
        except (NotFound, Changed, RangeNotSatisfiable) as error:
            try:
                record = self._shares.records.get(file_id).record
            except UnknownFile:
                return False
            if record.state == DELETED or record.sealed:
                return False
            raise DamagedFile(file_id, "its bytes are missing") from error
        return self._note_sealed(file_id)

    def require_going_on(self, record: Record) -> None:
        """Raise `UnknownFile`, and forget what came too late, if an upload is over."""
        assert record.upload_id is not None
        try:
            self._going_on(record.file_id, record.upload_id)
        except UnknownFile:
            self._store.abort_parts(raw_key(record.file_id), record.upload_id)
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
        """The record of an upload that is going on or complete. Raises `UnknownFile`."""
        if not FILE_ID.fullmatch(file_id):
            raise UnknownFile(file_id)
        record = self._shares.records.get(file_id).record
        known = record.upload_id
        if known is None or not hmac.compare_digest(known.encode(), upload_id.encode(errors="replace")):
            raise UnknownFile(file_id)
        if record.state == DELETED:
            raise UnknownFile(file_id)
        return record

    def _going_on(self, file_id: str, upload_id: str) -> Record:
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
            return self._store.list_parts(raw_key(file_id), upload_id)
        except NotFound as error:
            raise UnknownFile(file_id) from error

    def _finish(self, record: Record, named: Sequence[Part]) -> Sequence[Slice]:
        """Where the bytes are. Raises as `finish_parts`, and what a wrong total size means."""
        assert record.upload_id is not None
        key = raw_key(record.file_id)
        try:
            stored = self._store.list_parts(key, record.upload_id)
        except NotFound:
            # It was finished by an earlier call, which did not get any further.
            pass
        else:
            self._require_size(record, sum(part.size for part in chosen_parts(key, named, stored)))
        sources = self._store.finish_parts(key, record.upload_id, named)
        self._require_size(record, sum(source.stop - source.start for source in sources))
        return sources

    def _require_size(self, record: Record, size: int) -> None:
        if size > self.max_file_size:
            self._shares.end(record)
            raise FileTooLarge(self.max_file_size)
        if record.announced_size not in (None, size):
            raise _unfit(f"have {size} bytes together, and {record.announced_size} were announced")

    def _publish(self, started: Record, file_size: int) -> tuple[Record, bool]:
        shares = self._shares
        now = shares.now()
        lifetime = None if started.expires_at is None else started.expires_at - started.created_at
        expires_at = None if lifetime is None else now + lifetime
        sealed = not self._store.signs
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

        # The sweep finds soon what is left: parts if we are killed, and a file to be sealed if nobody hears of it.
        look = next_look(dataclasses.replace(started, created_at=now, expires_at=expires_at), now)
        try:
            with shares.expiries.covering(started.file_id, look, now):
                return shares.records.update(started.file_id, publish).record, first
        except UnknownFile:
            shares.remove(started)
            raise

    def _note_sealed(self, file_id: str) -> bool:
        def note(record: Record) -> Record:
            if record.state != READY:
                raise UnknownFile(file_id)
            return record if record.sealed else dataclasses.replace(record, sealed=True)

        try:
            self._shares.records.update(file_id, note)
        except UnknownFile:
            # Its deletion was over before the blob was there.
            self._store.delete(blob_key(file_id))
            return False
        return True


def _unfit(reason: str) -> InvalidValue:
    return InvalidValue("parts", reason)
