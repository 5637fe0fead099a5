"""Uploads: the bytes of a file go into a blob as they arrive; then its record makes it visible."""

from __future__ import annotations

import hmac
import logging
import uuid

from shared.errors import Contended, DigestMismatch, FileTooLarge, StorageFull, StorageUnavailable, UnknownFile
from shared.options import Options
from shared.places import Delivery, Places
from shared.retention import KEEP_UNFINISHED_FOR, REFILE_EVERY, next_look
from shared.sharing import Shares
from shared.storage.blobs import BlobWriter
from shared.storage.contract import AlreadyExists
from shared.storage.keys import blob_key
from shared.storage.records import READY, Record

log = logging.getLogger(__name__)

INTERRUPTED = "the upload was interrupted for too long"


class Upload:
    """One upload. It is invisible before `finish`; `abort` leaves nothing behind.

    It has at most `most` bytes; None if unknown. Raises `StorageFull` and `StorageUnavailable` at the start, and for a
    `delivery` into an inbox also what `Places.reserve` raises.
    """

    def __init__(self, shares: Shares, delivery: Delivery | None = None, most: int | None = None) -> None:
        self._shares = shares
        self._committed = self._may_have_record = False
        # Leads the sweep to the leftovers of a crash, which the entry of an inbox also does for all its places.
        self._entry: str | None = None
        self._most = most
        self._delivery = delivery
        self._place = None if delivery is None else Places(shares).take(delivery)
        ahead = shares.ids_ahead.take(most) if self._place is None else None
        source = self._place or ahead
        self.file_id = str(uuid.uuid4()) if source is None else source.file_id
        try:
            # Before the entry: this fails if storage is full, and the entry would use up a spare file.
            self._blob = BlobWriter(shares.store, self.file_id)
        except BaseException:
            if self._place is not None:
                self._place.release()
            raise
        if ahead is not None:
            self._filed_at = ahead.since
        if source is None:
            try:
                self._file()
            except BaseException:
                self._blob.abort()
                raise

    def write(self, data: bytes) -> None:
        """Append. Raises `FileTooLarge` or `InboxFull` with the first byte over the limit, `StorageFull`,
        `StorageUnavailable`, and `InboxClosed`.
        """
        self._require_room(self._blob.file_size + len(data))
        self._postpone_removal()
        self._blob.write(data)

    def finish(self, original_name: str, content_type: str, options: Options, sha256: str | None = None) -> Record:
        """Make the file durable, then visible.

        Raises `InvalidValue` for options that this server does not allow, `DigestMismatch` if the bytes do not match
        `sha256` (hex), and `TooManyAttempts`.
        """
        shares = self._shares
        now = shares.now()
        lifetime = options.expires_in if self._place is None else self._place.lifetime
        record = Record(
            file_id=self.file_id,
            state=READY,
            original_name=original_name,
            content_type=content_type,
            file_size=self._blob.file_size,
            sha256=self._blob.sha256,
            created_at=now,
            expires_at=shares.lifetimes.expiry(now, lifetime),
            max_downloads=options.max_downloads,
            password_hash=None if options.password is None else shares.passwords.hash(options.password),
            encryption=options.encryption,
            inbox_id=None if self._delivery is None else self._delivery.inbox_id,
            sender=None if self._delivery is None else self._delivery.sender,
        )
        if sha256 is not None and not hmac.compare_digest(sha256.lower(), self._blob.sha256):
            raise DigestMismatch
        self._require_time()
        self._committed = True
        self._blob.commit()
        try:
            with shares.expiries.covering(self.file_id, next_look(record, now)):
                self._require_time()
                self._may_have_record = True
                record = shares.records.create(record).record
        except AlreadyExists as error:
            # The sweep took the blob for a leftover, because it had no record yet, or a full inbox ended the place.
            shares.store.delete(blob_key(self.file_id))
            raise StorageUnavailable(INTERRUPTED) from error
        except (StorageFull, Contended):
            # After these, there is certainly no record. After any other error there may be one, so the blob stays.
            self._may_have_record = False
            shares.store.delete(blob_key(self.file_id))
            self._committed = False
            raise
        if self._is_late():
            # The process was suspended just before it wrote the record, and the sweep may have removed the blob.
            shares.end(record)
            raise StorageUnavailable(INTERRUPTED)
        if self._place is not None:
            self._place.settle(record)
        elif self._entry is not None:
            shares.ids_ahead.reserve(self._most)
        return record

    def abort(self) -> None:
        self._blob.abort()
        try:
            if self._place is not None and not self._may_have_record:
                if self._committed:
                    # There may be a blob. Without the place, the sweep needs an entry to find it.
                    self._shares.expiries.add(self.file_id, self._shares.now())
                self._place.release()
            elif self._entry is not None and not self._committed:
                self._shares.store.delete(self._entry)
        except (StorageFull, StorageUnavailable) as error:
            # The caller reports its own error, and the sweep ends the place and removes the entry.
            log.warning("a failed upload left its place or its entry: %s", error)

    def _require_room(self, file_size: int) -> None:
        if self._place is None:
            if file_size > self._shares.max_file_size:
                raise FileTooLarge(self._shares.max_file_size)
            return
        if file_size > self._place.size:
            raise self._place.too_large()

    def _postpone_removal(self) -> None:
        if self._place is not None:
            try:
                self._place.renew_if_due()
            except UnknownFile as error:
                raise StorageUnavailable(INTERRUPTED) from error
        elif self._shares.now() >= self._filed_at + REFILE_EVERY:
            self._require_time()
            former = self._entry
            self._file()
            if former is not None and former != self._entry:
                self._shares.store.delete(former)

    def _file(self) -> None:
        self._filed_at = self._shares.now()
        self._entry = self._shares.expiries.add(self.file_id, self._filed_at + KEEP_UNFINISHED_FOR)

    def _require_time(self) -> None:
        """Raise `StorageUnavailable` if the sweep may have removed the blob."""
        if self._is_late():
            raise StorageUnavailable(INTERRUPTED)

    def _is_late(self) -> bool:
        # What sweeps find of a lapsed place, they remove within hours.
        limit = self._filed_at + KEEP_UNFINISHED_FOR - REFILE_EVERY if self._place is None else self._place.until
        return self._shares.now() >= limit
