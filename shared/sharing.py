"""The use cases: what can be done with a shared file, in the order that keeps the guarantees. Knows no HTTP."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import Contended, DamagedFile, FileTooLarge, StorageFull, UnknownFile
from shared.storage.blobs import BlobWriter, Payload, blob_key, open_payload
from shared.storage.counts import Counter
from shared.storage.objects import NotFound, ObjectStore
from shared.storage.records import READY, Record, Records, Stored, rfc3339

__all__ = ["FILE_ID", "Page", "Payload", "Record", "Shares", "Stored", "Upload", "rfc3339", "utc_now"]

log = logging.getLogger(__name__)

FILE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Upload:
    """A file on its way in. Nothing of it is visible before `finish`; `abort` leaves nothing behind."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self.file_id = str(uuid.uuid4())
        self._blob = BlobWriter(shares.store, self.file_id)

    def write(self, data: bytes) -> None:
        """Append. Raises `FileTooLarge` with the first byte over the limit, `StorageFull`, `StorageUnavailable`."""
        if self._blob.file_size + len(data) > self._shares.max_file_size:
            raise FileTooLarge(self._shares.max_file_size)
        self._blob.write(data)

    def finish(self, original_name: str, content_type: str) -> Record:
        """Make the file durable, then visible."""
        written = self._blob.commit()
        record = Record(
            file_id=self.file_id,
            state=READY,
            original_name=original_name,
            content_type=content_type,
            file_size=written.file_size,
            sha256=written.sha256,
            created_at=self._shares.now(),
        )
        try:
            return self._shares.records.create(record).record
        except (StorageFull, Contended):
            # These say for certain that there is no record; after any other fault there may be, so the blob stays.
            self._shares.store.delete(blob_key(self.file_id))
            raise

    def abort(self) -> None:
        self._blob.abort()


@dataclass(frozen=True, slots=True)
class Page:
    """Files of one listing, sorted by ID; `more` says whether others follow the last."""

    files: Sequence[Record]
    more: bool


class Shares:
    """Every shared file of one store."""

    def __init__(self, store: ObjectStore, *, max_file_size: int, clock: Callable[[], datetime] = utc_now) -> None:
        self.store = store
        self.max_file_size = max_file_size
        self.records = Records(store, clock)
        self._counter = Counter(self.records)
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    def begin_upload(self) -> Upload:
        """Raises `StorageFull` and `StorageUnavailable`."""
        return Upload(self)

    def find(self, file_id: str) -> Stored:
        """The visible file with this ID. Raises `UnknownFile` and `DamagedFile`."""
        if not FILE_ID.fullmatch(file_id):
            raise UnknownFile(file_id)
        stored = self.records.get(file_id)
        self._require_visible(stored.record)
        return stored

    def open(self, found: Stored, start: int, stop: int) -> Payload:
        """The bytes `[start, stop)` of a file, not counted. Raises `UnknownFile` and `DamagedFile`."""
        record = found.record
        try:
            return open_payload(self.store, record.file_id, record.file_size, start, stop)
        except NotFound as error:
            # It may have been deleted since its record was read; only if not, the blob is missing.
            self.find(record.file_id)
            raise DamagedFile(record.file_id, "the blob is missing") from error

    def download(self, found: Stored, start: int, stop: int) -> Payload:
        """As `open`, and counted as one download before it returns; a blob that cannot be read counts nothing.

        Raises also `Contended` and `OutcomeUnknown`, and then hands out nothing.
        """
        payload = self.open(found, start, stop)
        try:
            self._counter.count(found, self._require_visible)
        except BaseException:
            payload.close()
            raise
        return payload

    def page(self, after: str, limit: int) -> Page:
        """At most `limit` visible files whose IDs sort behind `after`.

        Damaged records are left out, with a line in the log.
        """
        files: list[Record] = []
        ids = self.records.ids(after)
        while True:
            # One more than asked for, to know whether there is more.
            batch = [file_id for file_id, _ in zip(ids, range(limit + 1 - len(files)), strict=False)]
            files += [record for record in self.records.get_many(batch) if record.state == READY]
            if len(files) > limit or not batch:
                return Page(files[:limit], len(files) > limit)

    def check(self) -> None:
        """Raise `StorageUnavailable` unless storage answers."""
        self.store.check()

    def _require_visible(self, record: Record) -> None:
        if record.state != READY:
            raise UnknownFile(record.file_id)
