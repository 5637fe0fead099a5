"""The use cases of shared files, with each step in the order that keeps the guarantees. Independent of HTTP."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import structs

from shared.errors import (
    DamagedFile,
    Expired,
    InvalidValue,
    ShareError,
    StorageFull,
    StorageUnavailable,
    UnknownFile,
    WrongPassword,
)
from shared.ids_ahead import IdsAhead
from shared.options import Lifetimes, Options
from shared.passwords import Passwords
from shared.retention import KEEP_TOMBSTONE_FOR, KEEP_USED_UP_FOR, QUIET_FOR, next_look
from shared.signing import Signing, stored_secret
from shared.storage.blobs import Payload, open_payload, open_raw
from shared.storage.contract import NotFound, ObjectStore, WouldWait
from shared.storage.counting.counter import Counted, Counter
from shared.storage.expiries import Expiries
from shared.storage.inboxes import InboxDocuments, settlement
from shared.storage.keys import blob_key, raw_entries_prefix, raw_key
from shared.storage.records import DELETED, READY, Record, Records, Stored, rfc3339, tombstone

log = logging.getLogger(__name__)

T = TypeVar("T")

__all__ = ["FILE_ID", "Payload", "Record", "Shares", "Stored", "rfc3339", "utc_now"]

FILE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


def utc_now() -> datetime:
    return datetime.now(UTC)


def has_password(record: Record, stored: Stored) -> bool:
    """Whether who knew the password of the file that was read as `stored` can have this one, read later."""
    return record.password_hash in (None, stored.record.password_hash)


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
        self.inboxes = InboxDocuments(store, clock)
        self.expiries = Expiries(store, clock)
        self.ids_ahead = IdsAhead(self.expiries, clock)
        self.passwords = Passwords()
        self.signing = Signing(lambda: secret or stored_secret(store), clock)
        self.now = clock
        self._counter = Counter(self.records, clock, self._note_used_up, after_widening=self._note_widened)
        self._ready: Shares | None = None
        if store.ready is not None:
            self._ready = Shares(store.ready, max_file_size=max_file_size, lifetimes=lifetimes, clock=clock)

    def at_once(self, work: Callable[[Shares], T]) -> T | None:
        """The result of `work` if it need not wait for storage, else None."""
        if self._ready is None:
            return None
        try:
            return work(self._ready)
        except WouldWait:
            return None

    def require_visible(self, record: Record) -> None:
        """Raises `UnknownFile` and `Expired`."""
        if record.state != READY:
            raise UnknownFile(record.file_id)
        if record.is_expired(self.now()):
            raise Expired(record.file_id)

    def find(self, file_id: str) -> Stored:
        """Find a visible file, by its record alone. Raises `UnknownFile`, `Expired` and `DamagedFile`."""
        if not FILE_ID.fullmatch(file_id):
            raise UnknownFile(file_id)
        stored = self.records.get(file_id)
        self.require_visible(stored.record)
        return stored

    def describe(self, file_id: str) -> Record:
        """Like `find`, but including the counts outside the record, which takes more reads and permissions."""
        return self._total(self.find(file_id).record)

    def authorise(self, stored: Stored, password: str | None) -> None:
        """Raises `WrongPassword` if the file has another password, `TooManyAttempts` and `DamagedFile`."""
        expected = stored.record.password_hash
        if expected is None:
            return
        try:
            if password is None or not self.passwords.matches(password, expected):
                raise WrongPassword
        except ValueError as error:
            raise DamagedFile(stored.record.file_id, "the hash of its password cannot be read") from error

    def open(self, stored: Stored, start: int, stop: int) -> Payload:
        """Open the bytes `[start, stop)` of a file, uncounted. Raises `UnknownFile`, `Expired` and `DamagedFile`."""
        record = stored.record
        read = open_payload if record.sealed else open_raw
        try:
            return read(self.store, record.file_id, record.file_size, start, stop)
        except NotFound as error:
            # It may have been deleted since its record was read, or sealed; only if not, the bytes are missing.
            current = self.find(record.file_id)
            if current.record.sealed and not record.sealed:
                return self.open(current, start, stop)
            raise DamagedFile(record.file_id, "its bytes are missing") from error

    def read(self, stored: Stored, start: int, stop: int) -> bytes:
        """Read the bytes `[start, stop)` of a file. Raises as `open`, and `StorageUnavailable`."""
        with contextlib.closing(self.open(stored, start, stop)) as payload:
            return b"".join(iter(lambda: payload.read(stop - start), b""))

    def count(self, stored: Stored, downloads: int = 1) -> Counted:
        """Count these downloads by one write, or as many as the limit allows.

        Raises `UnknownFile`, `Expired`, `Contended` and `OutcomeUnknown`, and `WrongPassword` if the password is no
        longer that of `stored`, which was checked.
        """

        def allow(record: Record) -> None:
            self.require_visible(record)
            if not has_password(record, stored):
                raise WrongPassword

        return self._counter.count(stored, downloads, allow)

    def change(self, file_id: str, options: Options, names: frozenset[str]) -> Record:
        """Set the options with these names, where None removes one, and return the changed file.

        Raises `UnknownFile`, `Expired`, `DamagedFile`, `InvalidValue`, `TooManyAttempts`, `Contended` and
        `OutcomeUnknown`.
        """
        stored = self.find(file_id)
        now = self.now()
        values: dict[str, object] = {}
        if "expires_in" in names:
            values["expires_at"] = self._new_expiry(stored.record, now, options.expires_in)
        if "max_downloads" in names:
            values["max_downloads"] = options.max_downloads
        if "shared" in names and stored.record.inbox_id is not None:
            values["shared"] = options.shared is True
        if "password" in names:
            values["password_hash"] = None if options.password is None else self.passwords.hash(options.password)

        caps = options.max_downloads is not None
        if caps:
            stored = self._counter.fold(stored)

        def apply(record: Record) -> Record:
            self.require_visible(record)
            if caps and record.cells > 0:
                # It has widened meanwhile, and what was read of it says too little to set a cap by.
                return record
            changed = structs.replace(record, **values)
            used_up_at = (record.used_up_at or now) if changed.is_used_up else None
            return structs.replace(changed, used_up_at=used_up_at)

        # An unnecessary entry is harmless, a missing one is not.
        look = next_look(apply(stored.record), now)
        with self.expiries.covering(file_id, look, now + KEEP_USED_UP_FOR if caps else None):
            while True:
                stored = self.records.update(file_id, apply, stored)
                if not caps or stored.record.cells <= 0:
                    return self._total(stored.record)
                stored = self._counter.fold(stored)

    def delete(self, file_id: str) -> None:
        """Delete a file. Raises `UnknownFile`, `Expired`, `DamagedFile`, `Contended` and `OutcomeUnknown`."""
        stored = self.find(file_id)
        self.end(stored.record, stored)

    def end(self, seen: Record, stored: Stored | None = None) -> None:
        """Delete a file or an upload. Raises `UnknownFile` if its state has changed meanwhile, else as `delete`.

        As soon as the record says so, the file is deleted for everyone, and the sweep removes what a crash leaves. The
        record stays for an hour, because a late write to a store that recreates missing records would restore the file.
        """

        def mark(record: Record) -> Record:
            if record.state == DELETED:
                return record
            if record.state != seen.state:
                raise UnknownFile(seen.file_id)
            return tombstone(record, self.now())

        self.expiries.add(seen.file_id, self.now() + KEEP_TOMBSTONE_FOR)
        self.keep_place(seen)
        self.remove(self.records.update(seen.file_id, mark, stored).record)

    def keep_place(self, record: Record) -> None:
        """Let a file count towards the limits of its inbox for good, before its record no longer says that it came."""
        if record.inbox_id is not None and record.state == READY:
            with contextlib.suppress(UnknownFile):
                self.inboxes.update(record.inbox_id, settlement(record))

    def remove(self, record: Record) -> None:
        """Remove the bytes and counts of a deleted file."""
        self.forget_parts(record)
        self.store.delete(*self.remains(record))

    def remains(self, record: Record) -> list[str]:
        """The keys of everything that may be stored for a deleted file, except its record."""
        keys = [blob_key(record.file_id), *self._counter.cells(record)]
        return [*keys, *self.raw_keys(record)] if record.may_have_raw else keys

    def raw_keys(self, record: Record) -> list[str]:
        """The keys of the copies that redirects of a file lead to; some may not exist."""
        copies = () if record.raw_until is None else self.store.list(raw_entries_prefix(record.file_id))
        return [raw_key(record.file_id), *copies]

    def forget_parts(self, record: Record) -> None:
        """Remove the parts of a file's raw object."""
        if record.may_have_raw:
            self.store.multipart.abort(raw_key(record.file_id))

    def fold_if_quiet(self, file_id: str) -> None:
        """Move the counts of cells into the record once nobody downloads the file, so that reading it is cheap.

        Until then, schedule another check. Raises what `Records.update` raises.
        """
        stored = self.records.get(file_id)
        quiet_since = datetime.fromtimestamp(self._counter.last_counted(stored.record), UTC)
        if self.now() - quiet_since < QUIET_FOR:
            self.expiries.add(file_id, self.now() + QUIET_FOR)
        else:
            self._counter.fold(stored, may_widen=True)

    def totals(self, records: Sequence[Record]) -> Iterator[Record]:
        """The records with all downloads counted, without those that are gone. Damaged ones are only logged."""
        for total in self._counter.totals(records):
            if isinstance(total, DamagedFile):
                log.error("%s", total)
            elif not isinstance(total, ShareError):
                yield total

    def check(self) -> None:
        """Raise `StorageUnavailable` unless storage answers."""
        self.store.check()

    def _total(self, record: Record) -> Record:
        [total] = self._counter.totals([record])
        if isinstance(total, ShareError):
            raise total
        return total

    def _new_expiry(self, record: Record, now: datetime, expires_in: int | None) -> datetime | None:
        if expires_in is None and self.lifetimes.longest is not None:
            raise InvalidValue("expires_in", "cannot be removed, because this server does not keep files forever")
        expires_at = None if expires_in is None else self.lifetimes.expiry(now, expires_in)
        if expires_at is None or self.lifetimes.longest is None:
            return expires_at
        # From the upload, or repeated changes could keep a file forever.
        return min(expires_at, record.created_at + timedelta(seconds=self.lifetimes.longest))

    def _note_widened(self, record: Record) -> None:
        try:
            self.expiries.add(record.file_id, self.now() + QUIET_FOR)
        except (StorageFull, StorageUnavailable) as error:
            # The download is counted. Without the entry, only reading the file stays slow.
            log.warning("file %s will be counted in cells until it goes: %s", record.file_id, error)

    def _note_used_up(self, record: Record) -> None:
        self.expiries.add(record.file_id, self.now() + KEEP_USED_UP_FOR)
