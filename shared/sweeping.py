"""Housekeeping: removing what is over, and what a crash left behind.

Every step decides by what it reads then, and can be repeated, interrupted, and run twice at once.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.direct_uploads import UPLOAD_WITHIN, DirectUploads
from shared.errors import DamagedFile, ShareError, UnknownFile
from shared.sharing import FILE_ID, KEEP_USED_UP_FOR, Shares
from shared.storage.expiries import PREFIX, Entry
from shared.storage.objects import ABSENT, AlreadyExists, Ambiguous, Changed, Condition, Matches, NotFound, NotSent
from shared.storage.probe import discard_old
from shared.storage.records import DELETED, READY, UPLOADING, Record

log = logging.getLogger(__name__)

MERGE_EVERY = timedelta(days=1)
MERGE_KEY = PREFIX + "merge"
# Less than MERGE_EVERY with the hour that an entry waits for, so that an orphan is gone before it is found again.
ORPHANS_WAIT = timedelta(hours=23)
UNFINISHED_FOR = timedelta(days=2)
# A probe takes some seconds.
PROBES_END_WITHIN = timedelta(days=1)


@dataclass(slots=True)
class Swept:
    """What one run did.

    `removed` counts files that were over, `sealed` those whose blob was not made in time, `leftovers` what had no
    record or was never finished.
    """

    removed: int = 0
    sealed: int = 0
    leftovers: int = 0
    orphans: int = 0
    failed: int = 0


class Sweep:
    """One run over the files of `shares`."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._uploads = DirectUploads(shares)
        self._now = shares.now()
        self._swept = Swept()

    def run(self) -> Swept:
        """Look at what is due; once a day also at what nobody claims. A fault of one file does not stop the others."""
        for entry in list(self._shares.expiries.due(self._now)):
            self._attempt(entry)
        discard_old(self._shares.store, self._now - PROBES_END_WITHIN)
        if self._claim_merge():
            try:
                self._merge()
                self._swept.leftovers += self._shares.store.discard_unfinished(self._now - UNFINISHED_FOR)
            except ShareError:
                # The next run is to take it again, not the next day's.
                self._shares.store.delete(MERGE_KEY)
                raise
        return self._swept

    def _attempt(self, entry: Entry) -> None:
        try:
            self._settle(entry)
        except ShareError as error:
            self._swept.failed += 1
            log.warning("left for the next sweep: %s", error)

    def _settle(self, entry: Entry) -> None:
        """Do what is due for one file, and drop the entry once nothing is left to do."""
        shares, file_id = self._shares, entry.file_id
        if FILE_ID.fullmatch(file_id):
            try:
                record = shares.records.update(file_id, self._ended).record
            except UnknownFile:
                self._remove_orphan(entry)
            else:
                self._follow(record)
        shares.expiries.remove(entry)

    def _ended(self, record: Record) -> Record:
        return dataclasses.replace(record, state=DELETED) if self._is_over(record) else record

    def _is_over(self, record: Record) -> bool:
        if record.state == UPLOADING:
            return record.created_at + UPLOAD_WITHIN <= self._now
        if record.state != READY:
            return False
        if record.expires_at is not None and record.expires_at <= self._now:
            return True
        return record.used_up_at is not None and record.used_up_at + KEEP_USED_UP_FOR <= self._now

    def _follow(self, record: Record) -> None:
        file_id, expiries = record.file_id, self._shares.expiries
        if record.state == DELETED:
            self._shares.remove(file_id, record)
            self._swept.removed += 1
            return
        if record.state == UPLOADING:
            expiries.add(file_id, record.created_at + UPLOAD_WITHIN)
            return
        if record.cells > 0:
            self._shares.fold_if_quiet(file_id)
        if not record.sealed:
            self._swept.sealed += self._uploads.seal(file_id)
        if record.raw_until is not None and record.raw_until > self._now:
            expiries.add(file_id, record.raw_until)
        else:
            self._shares.remove_raw(file_id)
        # The entry was too early: the options were changed since, or the file was used up again.
        if record.expires_at is not None:
            expiries.add(file_id, record.expires_at)
        if record.used_up_at is not None:
            expiries.add(file_id, record.used_up_at + KEEP_USED_UP_FOR)

    def _remove_orphan(self, entry: Entry) -> None:
        # Only what was found without a record a day ago, and still has none: an upload makes its blob first.
        if self._shares.expiries.is_orphan(entry):
            self._shares.remove(entry.file_id)
            self._swept.leftovers += 1
        else:
            # Its upload may be about to make the record, and has filed no other entry.
            self._shares.expiries.add_orphan(entry.file_id, self._now + ORPHANS_WAIT)

    def _claim_merge(self) -> bool:
        """Whether the daily look is due and this run is the one that takes it."""
        store = self._shares.store
        condition: Condition = ABSENT
        try:
            data, etag = store.read(MERGE_KEY)
        except NotFound:
            pass
        else:
            at = _taken_at(data)
            # A mark that is damaged, or far ahead since a clock was wrong, must not keep it from ever being taken.
            if at is not None and abs(self._now - at) < MERGE_EVERY:
                return False
            condition = Matches(etag)
        try:
            store.put(MERGE_KEY, json.dumps({"at": self._now.isoformat()}).encode(), condition)
        except (AlreadyExists, Changed, NotFound, NotSent, Ambiguous):
            return False
        return True

    def _merge(self) -> None:
        """Compare the listings of blobs, raw objects, counter cells and records, all sorted by ID, in one pass."""
        found = heapq.merge(
            ((file_id, "blob") for file_id in self._shares.blob_ids()),
            ((file_id, "raw") for file_id in self._shares.raw_ids()),
            ((file_id, "cell") for file_id in self._shares.counted_ids()),
            ((file_id, "record") for file_id in self._shares.records.ids()),
        )
        for file_id, group in itertools.groupby(found, key=lambda item: item[0]):
            kinds = {kind for _, kind in group}
            if "record" not in kinds:
                self._shares.expiries.add_orphan(file_id, self._now + ORPHANS_WAIT)
                self._swept.orphans += 1
            elif "raw" in kinds:
                # Perhaps left behind, which the record tells.
                self._shares.expiries.add(file_id, self._now)
            elif "blob" not in kinds:
                self._finish_deletion(file_id)

    def _finish_deletion(self, file_id: str) -> None:
        try:
            record = self._shares.records.get(file_id).record
        except (UnknownFile, DamagedFile) as error:
            log.warning("left alone: %s", error)
            return
        if record.state == DELETED:
            self._shares.remove(file_id)
            self._swept.removed += 1


def _taken_at(data: bytes) -> datetime | None:
    """When the daily look was taken last, if the mark says so."""
    try:
        at = datetime.fromisoformat(json.loads(data)["at"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return at if at.tzinfo is not None else None
