"""The use cases: what can be done with a shared file, in the order that keeps the guarantees. Knows no HTTP."""

from __future__ import annotations

import dataclasses
import hmac
import itertools
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from shared.errors import (
    Contended,
    DamagedFile,
    DigestMismatch,
    Expired,
    FileTooLarge,
    InvalidValue,
    Preparing,
    ShareError,
    StorageFull,
    StorageUnavailable,
    UnknownFile,
    UsedUp,
    WrongPassword,
)
from shared.options import Lifetimes, Options
from shared.passwords import Passwords
from shared.signing import Signing, stored_secret
from shared.storage.blobs import (
    BlobWriter,
    Payload,
    blob_key,
    extract,
    hash_blob,
    open_payload,
    open_raw,
    raw_key,
    require_raw,
)
from shared.storage.contract import AlreadyExists, Changed, NotFound, ObjectStore, RangeNotSatisfiable, Unfinished
from shared.storage.counting.counter import Counter
from shared.storage.expiries import Expiries
from shared.storage.records import DELETED, READY, Record, Records, Stored, rfc3339, tombstone

log = logging.getLogger(__name__)

__all__ = [
    "FILE_ID",
    "Page",
    "Payload",
    "Record",
    "Shares",
    "Stored",
    "Upload",
    "is_used_up",
    "rfc3339",
    "utc_now",
]

FILE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)

# Records that a listing reads at once.
MAX_BATCH = 1001

# Without a download for so long, a hot file has become an ordinary one.
QUIET_FOR = timedelta(hours=1)
KEEP_USED_UP_FOR = timedelta(days=1)
KEEP_TOMBSTONE_FOR = timedelta(hours=1)
# What an upload leaves is removed so long after the last bytes came. While they come, its entry is filed again.
KEEP_UNFINISHED_FOR = timedelta(days=2)
REFILE_EVERY = timedelta(hours=1)
# A file that expires later is looked at in between, so that its entry does not outlive it by years.
LOOK_EVERY = timedelta(days=30)

KEEP_RAW_FOR = timedelta(days=1)
# Longer than any signed URL is good for, and a copy is made.
KEEP_RAW_MARGIN = timedelta(minutes=10)
EXTRACT_WITHIN = 20.0  # seconds
# Longer than the calls that remove a raw copy can take together. Until then nobody may count on it.
REMOVE_RAW_WITHIN = timedelta(minutes=10)
URL_LIFETIME = 300  # seconds
# Whoever has the URL can use it again, uncounted.
CAPPED_URL_LIFETIME = 60  # seconds


INTERRUPTED = "the upload was interrupted for too long"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Upload:
    """A file on its way in. Nothing of it is visible before `finish`; `abort` leaves nothing behind."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self.file_id = str(uuid.uuid4())
        self._committed = False
        # First, since it refuses an upload that there is no room for: the entry would take a spare file.
        self._blob = BlobWriter(shares.store, self.file_id)
        try:
            # By this entry the sweep finds what a crash leaves. Nothing of the bytes is in storage yet.
            self._entry = self._file_entry()
        except BaseException:
            self._blob.abort()
            raise

    def write(self, data: bytes) -> None:
        """Append. Raises `FileTooLarge` with the first byte over the limit, `StorageFull`, `StorageUnavailable`."""
        if self._blob.file_size + len(data) > self._shares.max_file_size:
            raise FileTooLarge(self._shares.max_file_size)
        if self._shares.now() >= self._filed_at + REFILE_EVERY:
            self._require_time()
            former, self._entry = self._entry, self._file_entry()
            if former != self._entry:
                self._shares.store.delete(former)
        self._blob.write(data)

    def finish(self, original_name: str, content_type: str, options: Options, sha256: str | None = None) -> Record:
        """Make the file durable, then visible.

        Raises `InvalidValue` for options that are not possible here, `DigestMismatch` if `sha256` (hex) is given and
        is not that of the bytes, and `TooManyAttempts`.
        """
        shares = self._shares
        now = shares.now()
        record = Record(
            file_id=self.file_id,
            state=READY,
            original_name=original_name,
            content_type=content_type,
            file_size=self._blob.file_size,
            sha256=self._blob.sha256,
            created_at=now,
            expires_at=shares.lifetimes.expiry(now, options.expires_in),
            max_downloads=options.max_downloads,
            password_hash=None if options.password is None else shares.passwords.hash(options.password),
        )
        if sha256 is not None and not hmac.compare_digest(sha256.lower(), self._blob.sha256):
            raise DigestMismatch
        self._require_time()
        self._committed = True
        self._blob.commit()
        try:
            with shares.expiries.covering(self.file_id, next_look(record, now)):
                self._require_time()
                record = shares.records.create(record).record
        except AlreadyExists as error:
            # The sweep has taken what it found without a record for a leftover.
            shares.store.delete(blob_key(self.file_id))
            raise StorageUnavailable(INTERRUPTED) from error
        except (StorageFull, Contended):
            # These say for certain that there is no record; after any other fault there may be, so the blob stays.
            shares.store.delete_many([blob_key(self.file_id), self._entry])
            raise
        if self._is_late():
            # We were suspended just before the record, and the sweep may have been through with the blob.
            shares.end(record)
            raise StorageUnavailable(INTERRUPTED)
        return record

    def abort(self) -> None:
        self._blob.abort()
        if self._committed:
            # Perhaps there is a blob.
            return
        try:
            self._shares.store.delete(self._entry)
        except StorageUnavailable as error:
            # The caller is reporting a fault of its own, and the sweep drops the entry.
            log.warning("the entry of an upload that failed could not be removed: %s", error)

    def _file_entry(self) -> str:
        self._filed_at = self._shares.now()
        return self._shares.expiries.add(self.file_id, self._filed_at + KEEP_UNFINISHED_FOR)

    def _require_time(self) -> None:
        """Raise `StorageUnavailable` if the sweep may have removed what was written."""
        if self._is_late():
            raise StorageUnavailable(INTERRUPTED)

    def _is_late(self) -> bool:
        return self._shares.now() >= self._filed_at + KEEP_UNFINISHED_FOR - REFILE_EVERY


@dataclass(frozen=True, slots=True)
class Page:
    """Files of one listing, sorted by ID; `more` says whether others follow the last."""

    files: Sequence[Record]
    more: bool


class Shares:
    """Every shared file of one store. `secret` signs; without one it is kept in the store itself."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        max_file_size: int,
        lifetimes: Lifetimes | None = None,
        secret: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.store = store
        self.max_file_size = max_file_size
        self.lifetimes = lifetimes or Lifetimes()
        self.records = Records(store, clock)
        self.expiries = Expiries(store, clock)
        self.passwords = Passwords()
        self.signing = Signing(lambda: secret or stored_secret(store), clock)
        self._counter = Counter(self.records, clock, self._note_used_up, after_widening=self._note_widened)
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    def begin_upload(self) -> Upload:
        """Raises `StorageFull` and `StorageUnavailable`."""
        return Upload(self)

    def find(self, file_id: str) -> Stored:
        """The visible file with this ID. Raises `UnknownFile`, `Expired` and `DamagedFile`."""
        if not FILE_ID.fullmatch(file_id):
            raise UnknownFile(file_id)
        stored = self.records.get(file_id)
        self._require_visible(stored.record)
        return stored

    def describe(self, file_id: str) -> Record:
        """The visible file with this ID, with all its downloads. Raises `UnknownFile`, `Expired` and `DamagedFile`."""
        return self._total(self.find(file_id).record)

    def authorise(self, found: Stored, password: str | None) -> None:
        """Raises `WrongPassword` if the file has another password, `TooManyAttempts` and `DamagedFile`."""
        expected = found.record.password_hash
        if expected is None:
            return
        try:
            if password is None or not self.passwords.matches(password, expected):
                raise WrongPassword
        except ValueError as error:
            raise DamagedFile(found.record.file_id, "the hash of its password cannot be read") from error

    def open(self, found: Stored, start: int, stop: int) -> Payload:
        """The bytes `[start, stop)` of a file, not counted. Raises `UnknownFile`, `Expired` and `DamagedFile`."""
        record = found.record
        read = open_payload if record.sealed else open_raw
        try:
            return read(self.store, record.file_id, record.file_size, start, stop)
        except NotFound as error:
            # It may have been deleted since its record was read, or sealed; only if not, the bytes are missing.
            current = self.find(record.file_id)
            if current.record.sealed and not record.sealed:
                return self.open(current, start, stop)
            raise DamagedFile(record.file_id, "its bytes are missing") from error

    def download(self, found: Stored, start: int, stop: int) -> Payload:
        """As `open`, and counted as one download before it returns; a blob that cannot be read counts nothing.

        Raises also `UsedUp`, `Contended` and `OutcomeUnknown`, and then hands out nothing.
        """
        self._require_left(found.record)
        payload = self.open(found, start, stop)
        try:
            self._count(found)
        except BaseException:
            payload.close()
            raise
        return payload

    def download_url(
        self, found: Stored, *, counted: bool, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        """Where storage itself hands out the bytes of a file for some minutes, as one download if `counted`.

        The headers of its answer are `disposition` and `content_type`; with `range`, the URL is good for exactly that
        `Range` header. Only where the store signs. Raises what `download` raises, and `Preparing`.
        """
        if counted:
            self._require_left(found.record)
        found = self._with_raw(found)
        if counted:
            self._count(found)
        record = found.record
        lifetime = URL_LIFETIME if record.max_downloads is None else CAPPED_URL_LIFETIME
        if record.expires_at is not None:
            lifetime = min(lifetime, int((record.expires_at - self.now()).total_seconds()))
            if lifetime < 1:
                raise Expired(record.file_id)
        key = raw_key(record.file_id)
        return self.store.signed_url(key, lifetime, disposition=disposition, content_type=content_type, range=range)

    def page(self, after: str, limit: int) -> Page:
        """At most `limit` visible files whose IDs sort behind `after`.

        Damaged records are left out, with a line in the log.
        """
        now = self.now()
        files: list[Record] = []
        ids = self.records.ids(after)
        # One more than asked for, to know whether there is more.
        size = limit + 1
        while True:
            batch = list(itertools.islice(ids, size))
            visible = [record for record in self.records.get_many(batch) if _is_visible(record, now)]
            files += self._totals(visible)
            if len(files) > limit or not batch:
                return Page(files[:limit], len(files) > limit)
            # Many files in a row may be invisible, and each batch is a wait for storage.
            size = min(2 * size, MAX_BATCH)

    def change(self, file_id: str, options: Options, given: frozenset[str]) -> Record:
        """Set the options whose names are in `given`, where None removes one, and return the file as it then is.

        Raises `UnknownFile`, `Expired`, `DamagedFile`, `InvalidValue`, `TooManyAttempts`, `Contended` and
        `OutcomeUnknown`.
        """
        found = self.find(file_id)
        now = self.now()
        values: dict[str, object] = {}
        if "expires_in" in given:
            values["expires_at"] = self._new_expiry(found.record, now, options.expires_in)
        if "max_downloads" in given:
            values["max_downloads"] = options.max_downloads
        if "password" in given:
            values["password_hash"] = None if options.password is None else self.passwords.hash(options.password)

        caps = options.max_downloads is not None
        if caps:
            found = self._counter.fold(found)

        def apply(record: Record) -> Record:
            self._require_visible(record)
            if caps and record.cells > 0:
                # It has widened meanwhile, and what was read of it says too little to set a cap by.
                return record
            changed = dataclasses.replace(record, **values)  # type: ignore[arg-type]
            used_up_at = (record.used_up_at or now) if is_used_up(changed) else None
            return dataclasses.replace(changed, used_up_at=used_up_at)

        # A needless entry does no harm, and a missing one would.
        look = next_look(apply(found.record), now)
        with self.expiries.covering(file_id, look, now + KEEP_USED_UP_FOR if caps else None):
            while True:
                stored = self.records.update(file_id, apply, found)
                if not caps or stored.record.cells <= 0:
                    break
                found = self._counter.fold(stored)
        return self._total(stored.record)

    def delete(self, file_id: str) -> None:
        """Delete a file. Raises `UnknownFile`, `Expired`, `DamagedFile`, `Contended` and `OutcomeUnknown`."""
        found = self.find(file_id)
        self.end(found.record, found)

    def end(self, seen: Record, stored: Stored | None = None) -> None:
        """Delete a file or an upload. Raises `UnknownFile` if it is in another state by now, else as `delete`.

        Once the record says so the file is gone for everybody, and the sweep removes what a crash leaves. The record
        itself stays for an hour: a write that is still under way, to a store that would recreate a missing record, must
        not bring the file back.
        """

        def mark(record: Record) -> Record:
            if record.state == DELETED:
                return record
            if record.state != seen.state:
                raise UnknownFile(seen.file_id)
            return tombstone(record, self.now())

        self.expiries.add(seen.file_id, self.now() + KEEP_TOMBSTONE_FOR)
        self.remove(self.records.update(seen.file_id, mark, stored).record)

    def remove(self, record: Record) -> None:
        """Remove the bytes and counts of a file that is deleted."""
        self.forget_parts(record)
        self.store.delete_many(self.remains(record))

    def remains(self, record: Record) -> list[str]:
        """The keys of all that may be stored of a deleted file beside its record."""
        keys = [blob_key(record.file_id), *self._counter.cells(record)]
        return [raw_key(record.file_id), *keys] if _may_have_raw(record) else keys

    def forget_parts(self, record: Record) -> None:
        """Forget what the raw object of a file was to be made of."""
        if _may_have_raw(record):
            self.store.abort_parts(raw_key(record.file_id))

    def remove_raw(self, file_id: str) -> bool:
        """Remove the raw copy of a file unless it is promised to somebody; False if another process is doing that.

        Nobody counts on the copy from when the record says so until it says that the copy is gone, or for ten minutes.
        """
        # Records keep no microseconds.
        began, mine, others = self.now().replace(microsecond=0), False, False

        def claim(record: Record) -> Record:
            nonlocal mine, others
            others = _is_removing_raw(record, began)
            until = record.raw_until if record.state == READY and record.sealed else None
            mine = not others and until is not None and until <= began
            return dataclasses.replace(record, raw_removed_since=began) if mine else record

        record = self.records.update(file_id, claim).record
        if not mine:
            return not others
        self.forget_parts(record)
        if self.now() >= began + REMOVE_RAW_WITHIN / 2:
            return False
        self.store.delete(raw_key(file_id))

        def note(current: Record) -> Record:
            if current.raw_removed_since != record.raw_removed_since:
                return current
            return dataclasses.replace(current, raw_until=None, raw_removed_since=None)

        self.records.update(file_id, note)
        return True

    def fold_if_quiet(self, file_id: str) -> None:
        """Have the record of a file alone count again once nobody downloads it, so that reading it is cheap.

        Until then the sweep looks at it again. Raises what `Records.update` raises.
        """
        found = self.records.get(file_id)
        quiet_since = datetime.fromtimestamp(self._counter.last_counted(found.record), UTC)
        if self.now() - quiet_since < QUIET_FOR:
            self.expiries.add(file_id, self.now() + QUIET_FOR)
        else:
            self._counter.fold(found, may_widen=True)

    def verify(self, record: Record) -> None:
        """Read the whole blob of a file. Raises `UnknownFile`, and `DamagedFile` unless it is what the record says.

        Of one that is not sealed yet, only the size is known.
        """
        try:
            if not record.sealed:
                require_raw(self.store, record.file_id, record.file_size)
                return
            sha256 = hash_blob(self.store, record.file_id, record.file_size)
        except NotFound as error:
            # It may have been deleted since its record was read; only if not, the blob is missing.
            if self.records.get(record.file_id).record.state != READY:
                raise UnknownFile(record.file_id) from error
            raise DamagedFile(record.file_id, "the blob is missing") from error
        if record.sha256 not in (None, sha256):
            raise DamagedFile(record.file_id, "the SHA-256 of the blob is not that of its record")

    def storage_origin(self) -> str | None:
        """Scheme and host of signed URLs; None where bytes pass only through us. Raises `StorageUnavailable`."""
        if not self.store.signs:
            return None
        url = urlsplit(self.store.signed_url("raw/", 60, disposition="attachment", content_type="text/plain"))
        return f"{url.scheme}://{url.netloc}"

    def check(self) -> None:
        """Raise `StorageUnavailable` unless storage answers."""
        self.store.check()

    def _total(self, record: Record) -> Record:
        [total] = self._counter.totals([record])
        if isinstance(total, ShareError):
            raise total
        return total

    def _totals(self, records: Sequence[Record]) -> Iterator[Record]:
        for total in self._counter.totals(records):
            if isinstance(total, DamagedFile):
                log.error("%s", total)
            elif not isinstance(total, ShareError):
                yield total

    def _require_left(self, record: Record) -> None:
        if is_used_up(record):
            raise UsedUp(record.file_id)

    def _count(self, found: Stored) -> None:
        if self._counter.count(found, self._require_visible) is None:
            raise UsedUp(found.record.file_id)

    def _with_raw(self, found: Stored) -> Stored:
        """Have a raw object, and have it stay for longer than a URL. Raises `Preparing` and what `open` raises."""
        found = self._keep_raw(found)
        record = found.record
        try:
            require_raw(self.store, record.file_id, record.file_size)
            return found
        except NotFound as error:
            if not record.sealed and not self.find(record.file_id).record.sealed:
                raise DamagedFile(record.file_id, "its bytes are missing") from error
        try:
            extract(self.store, record.file_id, record.file_size, EXTRACT_WITHIN)
        except Unfinished as error:
            raise Preparing(record.file_id) from error
        except (NotFound, RangeNotSatisfiable, Changed) as error:
            self.find(record.file_id)
            raise DamagedFile(record.file_id, "its bytes are missing") from error
        try:
            self.find(record.file_id)
        except UnknownFile:
            # Its deletion was over before the copy was there.
            self.store.delete(raw_key(record.file_id))
            raise
        return found

    def _keep_raw(self, found: Stored) -> Stored:
        file_id, now = found.record.file_id, self.now()
        if found.record.raw_until is not None and found.record.raw_until - now > KEEP_RAW_MARGIN:
            return found
        until = now + KEEP_RAW_FOR
        self.expiries.add(file_id, until)

        def keep(record: Record) -> Record:
            self._require_visible(record)
            if _is_removing_raw(record, self.now()):
                raise Preparing(file_id)
            return dataclasses.replace(record, raw_until=until, raw_removed_since=None)

        attempts = self.records.attempts(file_id)
        while True:
            try:
                return self.records.update(file_id, keep, found)
            except Preparing:
                attempts.wait()
                found = self.find(file_id)

    def _new_expiry(self, record: Record, now: datetime, expires_in: int | None) -> datetime | None:
        if expires_in is None and self.lifetimes.longest is not None:
            raise InvalidValue("expires_in", "cannot be removed, since files may not be kept for ever here")
        expires_at = None if expires_in is None else self.lifetimes.expiry(now, expires_in)
        if expires_at is None or self.lifetimes.longest is None:
            return expires_at
        # Counted from the upload, or a change now and then would keep it for ever.
        return min(expires_at, record.created_at + timedelta(seconds=self.lifetimes.longest))

    def _note_widened(self, record: Record) -> None:
        try:
            self.expiries.add(record.file_id, self.now() + QUIET_FOR)
        except (StorageFull, StorageUnavailable) as error:
            # The download is counted. Without the entry, reading the file stays slow.
            log.warning("file %s will be counted in cells until it goes: %s", record.file_id, error)

    def _note_used_up(self, record: Record) -> None:
        self.expiries.add(record.file_id, self.now() + KEEP_USED_UP_FOR)

    def _require_visible(self, record: Record) -> None:
        if record.state != READY:
            raise UnknownFile(record.file_id)
        if record.expires_at is not None and record.expires_at <= self.now():
            raise Expired(record.file_id)


def is_used_up(record: Record) -> bool:
    """Whether its cap leaves no download."""
    return record.max_downloads is not None and record.download_count >= record.max_downloads


def _is_visible(record: Record, now: datetime) -> bool:
    return record.state == READY and (record.expires_at is None or record.expires_at > now)


def next_look(record: Record, now: datetime) -> datetime | None:
    """When the sweep is to look at a file because it expires."""
    if record.expires_at is None:
        return None
    looks = (now - record.created_at) // LOOK_EVERY + 1
    return min(record.expires_at, record.created_at + looks * LOOK_EVERY)


def _may_have_raw(record: Record) -> bool:
    return record.upload_id is not None or record.raw_until is not None


def _is_removing_raw(record: Record, now: datetime) -> bool:
    return record.raw_removed_since is not None and record.raw_removed_since + REMOVE_RAW_WITHIN > now
