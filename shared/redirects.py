"""Downloads that storage serves itself: the raw copy of a file, and signed links to it.

A raw copy is the bytes of a file without the frame of its blob. It is where a direct upload lands; for any other file
it is made by the first redirect. The record promises it until `raw_until`, and the sweep removes it afterwards.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from shared.errors import DamagedFile, Expired, Preparing, UnknownFile
from shared.sharing import Shares
from shared.storage.blobs import extract, require_raw
from shared.storage.contract import Changed, NotFound, RangeNotSatisfiable, Unfinished
from shared.storage.keys import raw_key
from shared.storage.records import READY, Record, Stored

KEEP_RAW_FOR = timedelta(days=1)
# Longer than any signed link is good for, and a copy is made.
KEEP_RAW_MARGIN = timedelta(minutes=10)
# Seconds. Well within `TimeLimit.last_try`, so that an invocation ends with the answer to come back later.
EXTRACT_WITHIN = 15.0
# Longer than the calls that remove a raw copy can take together. Until then no download may count on the copy.
REMOVE_RAW_WITHIN = timedelta(minutes=10)
LINK_LIFETIME = 300  # seconds
# Anyone who has the link can use it again, uncounted.
CAPPED_LINK_LIFETIME = 60  # seconds


def download_url(
    shares: Shares, stored: Stored, *, counted: bool, disposition: str, content_type: str, range: str | None = None
) -> str:
    """Where storage itself serves a file for some minutes, as one download if `counted`.

    The headers of its answer are `disposition` and `content_type`; with `range`, the URL is good for exactly that
    `Range` header. Only where the store has links. Raises what `Shares.download` raises, and `Preparing`.
    """
    links = shares.store.links
    assert links is not None
    stored = _with_copy(shares, stored)
    if counted:
        shares.count(stored)
    record = stored.record
    lifetime = LINK_LIFETIME if record.max_downloads is None else CAPPED_LINK_LIFETIME
    if record.expires_at is not None:
        lifetime = min(lifetime, int((record.expires_at - shares.now()).total_seconds()))
        if lifetime < 1:
            raise Expired(record.file_id)
    key = raw_key(record.file_id)
    return links.download(key, lifetime, disposition=disposition, content_type=content_type, range=range)


def storage_origin(shares: Shares) -> str | None:
    """Scheme and host of signed URLs; None where bytes pass only through us. Raises `StorageUnavailable`."""
    links = shares.store.links
    if links is None:
        return None
    url = urlsplit(links.download(raw_key(""), 60, disposition="attachment", content_type="text/plain"))
    return f"{url.scheme}://{url.netloc}"


def remove_raw(shares: Shares, file_id: str) -> bool:
    """Remove the raw copy of a file unless a link to it may be in use; False if another process is doing that.

    From when the record says so, no download counts on the copy for ten minutes, or until the record says that it is
    gone.
    """
    began, mine, others = shares.now(), False, False

    def claim(record: Record) -> Record:
        nonlocal mine, others
        others = _is_being_removed(record, began)
        until = record.raw_until if record.state == READY and record.sealed else None
        mine = not others and until is not None and until <= began
        return dataclasses.replace(record, raw_removed_since=began) if mine else record

    record = shares.records.update(file_id, claim).record
    if not mine:
        return not others
    shares.forget_parts(record)
    if shares.now() >= began + REMOVE_RAW_WITHIN / 2:
        return False
    shares.store.delete(raw_key(file_id))

    def note(current: Record) -> Record:
        if current.raw_removed_since != record.raw_removed_since:
            return current
        return dataclasses.replace(current, raw_until=None, raw_removed_since=None)

    shares.records.update(file_id, note)
    return True


def _with_copy(shares: Shares, stored: Stored) -> Stored:
    """Have a raw copy, and have it stay for longer than a link. Raises `Preparing` and what `Shares.open` raises."""
    stored = _promise_copy(shares, stored)
    record = stored.record
    try:
        require_raw(shares.store, record.file_id, record.file_size)
        return stored
    except NotFound as error:
        if not record.sealed and not shares.find(record.file_id).record.sealed:
            raise DamagedFile(record.file_id, "its bytes are missing") from error
    try:
        extract(shares.store, record.file_id, record.file_size, EXTRACT_WITHIN)
    except Unfinished as error:
        raise Preparing(record.file_id) from error
    except (NotFound, RangeNotSatisfiable, Changed) as error:
        shares.find(record.file_id)
        raise DamagedFile(record.file_id, "its bytes are missing") from error
    try:
        shares.find(record.file_id)
    except UnknownFile:
        # The file was deleted before the copy was there.
        shares.store.delete(raw_key(record.file_id))
        raise
    return stored


def _promise_copy(shares: Shares, stored: Stored) -> Stored:
    file_id, now = stored.record.file_id, shares.now()
    if stored.record.raw_until is not None and stored.record.raw_until - now > KEEP_RAW_MARGIN:
        return stored
    until = now + KEEP_RAW_FOR
    shares.expiries.add(file_id, until)

    def promise(record: Record) -> Record:
        shares.require_visible(record)
        if _is_being_removed(record, shares.now()):
            raise Preparing(file_id)
        return dataclasses.replace(record, raw_until=until, raw_removed_since=None)

    attempts = shares.records.attempts(file_id)
    while True:
        try:
            return shares.records.update(file_id, promise, stored)
        except Preparing:
            attempts.wait()
            stored = shares.find(file_id)


def _is_being_removed(record: Record, now: datetime) -> bool:
    return record.raw_removed_since is not None and record.raw_removed_since + REMOVE_RAW_WITHIN > now
