"""Downloads that storage serves itself: the raw copy of a file, and signed links to it.

A raw copy is the bytes of a file without the frame of its blob. Direct uploads create it; for other files, the first
redirect does. Entries of archives have their own copies, because browsers cannot be redirected to a range. The record
promises all copies until `raw_until`; then the sweep removes them.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from msgspec import structs

from shared.errors import DamagedFile, Expired, Preparing, UnknownFile, WrongPassword
from shared.sharing import Shares, has_password
from shared.storage.blobs import require_blob, require_raw
from shared.storage.contract import Changed, NotFound, RangeNotSatisfiable, Unfinished
from shared.storage.keys import raw_entry_key, raw_key
from shared.storage.records import READY, Record, Stored

KEEP_RAW_FOR = timedelta(days=1)
# Longer than it takes to make a copy and for any signed link to expire.
KEEP_RAW_MARGIN = timedelta(minutes=10)
# Seconds. Well below `TimeLimit.last_try`, so that there is time left to answer "try again".
EXTRACT_WITHIN = 15.0
# Longer than all calls that remove a raw copy can take. Until then, no download can rely on the copy.
REMOVE_RAW_WITHIN = timedelta(minutes=10)
LINK_LIFETIME = 300  # seconds
# Anyone with the link can use it again, and that is not counted.
CAPPED_LINK_LIFETIME = 60  # seconds


def prepare_copy(shares: Shares, stored: Stored, entry: range | None = None) -> Stored:
    """Make sure that the raw copy of a file, or of its `entry` at these bytes, exists and stays while a link is valid.

    Returns the file as it is then. Raises what `Shares.open` raises, `WrongPassword` and `Preparing`.
    """
    promised = _promise_copies(shares, stored)
    if not has_password(promised.record, stored):
        raise WrongPassword
    _require_copy(shares, promised, entry)
    return promised


def download_url(
    shares: Shares,
    record: Record,
    *,
    entry: range | None = None,
    disposition: str,
    content_type: str,
    range: str | None = None,
) -> str:
    """A URL from which storage itself serves a copy that was prepared, for a few minutes.

    The response has the headers `disposition` and `content_type`. With `range`, the URL works only with exactly that
    `Range` header. Requires a store with links. Raises `Expired`.
    """
    links = shares.store.links
    assert links is not None
    lifetime = LINK_LIFETIME if record.max_downloads is None else CAPPED_LINK_LIFETIME
    if record.expires_at is not None:
        lifetime = min(lifetime, int((record.expires_at - shares.now()).total_seconds()))
        if lifetime < 1:
            raise Expired(record.file_id)
    key = _copy_key(record.file_id, entry)
    return links.download(key, lifetime, disposition=disposition, content_type=content_type, range=range)


def storage_origin(shares: Shares) -> str | None:
    """Scheme and host of signed URLs; None if the store has no links. Raises `StorageUnavailable`."""
    links = shares.store.links
    if links is None:
        return None
    url = urlsplit(links.download(raw_key(""), 60, disposition="attachment", content_type="text/plain"))
    return f"{url.scheme}://{url.netloc}"


def remove_raw(shares: Shares, file_id: str) -> bool:
    """Remove the raw copies of a file unless a link to one may be in use; False if another process is removing them.

    The record announces the removal. For ten minutes, or until the record says that the copies are gone, no download
    relies on them.
    """
    start, mine, others = shares.now(), False, False

    def claim(record: Record) -> Record:
        nonlocal mine, others
        others = _is_being_removed(record, start)
        until = record.raw_until if record.state == READY and record.sealed else None
        mine = not others and until is not None and until <= start
        return structs.replace(record, raw_removed_since=start) if mine else record

    record = shares.records.update(file_id, claim).record
    if not mine:
        return not others
    shares.forget_parts(record)
    if shares.now() >= start + REMOVE_RAW_WITHIN / 2:
        return False
    shares.store.delete(*shares.raw_keys(record))

    def note(current: Record) -> Record:
        if current.raw_removed_since != record.raw_removed_since:
            return current
        return structs.replace(current, raw_until=None, raw_removed_since=None)

    shares.records.update(file_id, note)
    return True


def _copy_key(file_id: str, entry: range | None) -> str:
    return raw_key(file_id) if entry is None else raw_entry_key(file_id, entry)


def _require_copy(shares: Shares, stored: Stored, entry: range | None) -> None:
    """Make sure that the raw copy of a file, or of this entry, exists.

    Raises `Preparing` and what `Shares.open` raises.
    """
    record = stored.record
    key = _copy_key(record.file_id, entry)
    span = range(record.file_size) if entry is None else entry
    try:
        size = shares.store.stat(key).size
        if size != len(span):
            raise DamagedFile(record.file_id, f"{key} has {size} bytes instead of {len(span)}")
        return
    except NotFound as error:
        if not record.sealed:
            record = shares.find(record.file_id).record
        if entry is None and not record.sealed:
            raise DamagedFile(record.file_id, "its bytes are missing") from error
    try:
        require = require_blob if record.sealed else require_raw
        whole = require(shares.store, record.file_id, record.file_size)
        piece = dataclasses.replace(whole, start=whole.start + span.start, stop=whole.start + span.stop)
        shares.store.compose(key, [piece], EXTRACT_WITHIN)
    except Unfinished as error:
        raise Preparing(record.file_id) from error
    except (NotFound, RangeNotSatisfiable, Changed) as error:
        shares.find(record.file_id)
        raise DamagedFile(record.file_id, "its bytes are missing") from error
    try:
        shares.find(record.file_id)
    except UnknownFile:
        # The file was deleted while the copy was made.
        shares.store.delete(key)
        raise


def _promise_copies(shares: Shares, stored: Stored) -> Stored:
    """Make sure that the record promises raw copies for longer than a link is valid."""
    file_id, now = stored.record.file_id, shares.now()
    if stored.record.raw_until is not None and stored.record.raw_until - now > KEEP_RAW_MARGIN:
        return stored
    until = now + KEEP_RAW_FOR
    shares.expiries.add(file_id, until)

    def promise(record: Record) -> Record:
        shares.require_visible(record)
        if _is_being_removed(record, shares.now()):
            raise Preparing(file_id)
        return structs.replace(record, raw_until=until, raw_removed_since=None)

    attempts = shares.records.attempts(file_id)
    while True:
        try:
            return shares.records.update(file_id, promise, stored)
        except Preparing:
            attempts.wait()
            stored = shares.find(file_id)


def _is_being_removed(record: Record, now: datetime) -> bool:
    return record.raw_removed_since is not None and record.raw_removed_since + REMOVE_RAW_WITHIN > now
