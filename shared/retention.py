"""How long files, records and leftovers are kept, and when the sweep checks them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.storage.keys import entry_key
from shared.storage.records import READY, UPLOADING, Record

KEEP_USED_UP_FOR = timedelta(days=1)
KEEP_TOMBSTONE_FOR = timedelta(hours=1)
# Leftovers of an upload are removed this long after its last bytes. While bytes arrive, its entry is renewed.
KEEP_UNFINISHED_FOR = timedelta(days=2)
REFILE_EVERY = timedelta(hours=1)
# Without a download for so long, a hot file has become an ordinary one.
QUIET_FOR = timedelta(hours=1)
# Time limit for completing a direct upload.
UPLOAD_WITHIN = timedelta(days=7)
# Files that expire later are checked in between, so that an entry never outlives its file by years.
LOOK_EVERY = timedelta(days=30)


def next_look(record: Record, now: datetime) -> datetime | None:
    """When the sweep next checks a file that expires; None if it never does."""
    if record.expires_at is None:
        return None
    looks = (now - record.created_at) // LOOK_EVERY + 1
    return min(record.expires_at, record.created_at + looks * LOOK_EVERY)


def has_ended(record: Record, now: datetime) -> bool:
    """Whether the sweep should delete a file or an upload."""
    if record.state == UPLOADING:
        return record.created_at + UPLOAD_WITHIN <= now
    if record.state != READY:
        return False
    if record.is_expired(now):
        return True
    return record.used_up_at is not None and record.used_up_at + KEEP_USED_UP_FOR <= now


def entries(record: Record, now: datetime) -> Sequence[str]:
    """The keys of all expiry entries that a file may have; none is needed once the file is deleted."""
    unfinished = record.created_at + KEEP_UNFINISHED_FOR
    moments: Sequence[datetime | None] = (
        record.expires_at,
        next_look(record, now),
        record.used_up_at and record.used_up_at + KEEP_USED_UP_FOR,
        record.raw_until,
        record.deleted_at and record.deleted_at + KEEP_TOMBSTONE_FOR,
        record.created_at + UPLOAD_WITHIN,
        unfinished,
        # The entry was last renewed up to an hour before the upload ended.
        unfinished - REFILE_EVERY,
    )
    return sorted({entry_key(record.file_id, moment) for moment in moments if moment is not None})
