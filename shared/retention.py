"""How long what is stored is kept, and when the sweep is to look at it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.storage.keys import entry_key
from shared.storage.records import READY, UPLOADING, Record

KEEP_USED_UP_FOR = timedelta(days=1)
KEEP_TOMBSTONE_FOR = timedelta(hours=1)
# What an upload leaves is removed so long after its last bytes came. While they come, its entry is filed again.
KEEP_UNFINISHED_FOR = timedelta(days=2)
REFILE_EVERY = timedelta(hours=1)
# A direct upload is to be complete by then.
UPLOAD_WITHIN = timedelta(days=7)
# A file that expires later is looked at in between, so that its entry does not outlive it by years.
LOOK_EVERY = timedelta(days=30)


def next_look(record: Record, now: datetime) -> datetime | None:
    """When the sweep is to look at a file because it expires."""
    if record.expires_at is None:
        return None
    looks = (now - record.created_at) // LOOK_EVERY + 1
    return min(record.expires_at, record.created_at + looks * LOOK_EVERY)


def has_ended(record: Record, now: datetime) -> bool:
    """Whether a file or an upload is to be deleted."""
    if record.state == UPLOADING:
        return record.created_at + UPLOAD_WITHIN <= now
    if record.state != READY:
        return False
    if record.is_expired(now):
        return True
    return record.used_up_at is not None and record.used_up_at + KEEP_USED_UP_FOR <= now


def entries(record: Record, now: datetime) -> Sequence[str]:
    """The keys of the expiry entries that a file may still have, none of which is needed once the file is gone."""
    unfinished = record.created_at + KEEP_UNFINISHED_FOR
    moments: Sequence[datetime | None] = (
        record.expires_at,
        next_look(record, now),
        record.used_up_at and record.used_up_at + KEEP_USED_UP_FOR,
        record.raw_until,
        record.deleted_at and record.deleted_at + KEEP_TOMBSTONE_FOR,
        record.created_at + UPLOAD_WITHIN,
        unfinished,
        # The last time that it was filed, the upload went on for up to an hour.
        unfinished - REFILE_EVERY,
    )
    return sorted({entry_key(record.file_id, moment) for moment in moments if moment is not None})
