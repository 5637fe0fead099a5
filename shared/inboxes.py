"""Inboxes, into which anyone with the link can upload files, up to limits that hold however many do so at once.

A place is reserved before the first byte of a file, and becomes the file's own size once its record is stored. A crash
can leave a reservation. After an hour without bytes, the next one to look decides by the file's record: if the file is
there, its place is taken; if not, a record that says *deleted* first makes sure that it never will be.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import InboxClosed, InboxFull, ShareError, TooLargeForInbox, UnknownFile
from shared.inbox_options import InboxOptions, values_of
from shared.retention import KEEP_TOMBSTONE_FOR
from shared.sharing import FILE_ID, Shares
from shared.storage.inboxes import Inbox, InboxDocuments, Place, StoredInbox
from shared.storage.keys import INBOX_ENTRY, inbox_key
from shared.storage.records import DELETED, READY, UPLOADING, Record, tombstone

log = logging.getLogger(__name__)

RESERVED_FOR = timedelta(minutes=55)
RENEW_EVERY = timedelta(minutes=10)
LOOK_AGAIN_AFTER = timedelta(days=1)

__all__ = ["Delivery", "Inbox", "InboxOptions", "Inboxes", "Reservation"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file that is being sent to an inbox. It has at least `least` and at most `most` bytes; None if unknown."""

    inbox_id: str
    sender: str | None = None
    least: int = 0
    most: int | None = None


class Reservation:
    """The place of one file in an inbox, for `size` bytes at most."""

    def __init__(self, inboxes: Inboxes, inbox: Inbox, file_id: str, size: int, until: datetime) -> None:
        self._inboxes = inboxes
        self._inbox = inbox
        self._file_id = file_id
        self._renew_at = until - RESERVED_FOR + RENEW_EVERY
        self.size = size

    @property
    def lifetime(self) -> int | None:
        """The lifetime of the file in seconds; None for the server's default."""
        return self._inboxes.lifetime(self._inbox)

    def too_large(self) -> ShareError:
        """The error for a file that does not fit."""
        limit = self._inboxes.largest(self._inbox)
        return TooLargeForInbox(limit) if self.size >= limit else InboxFull(self.size)

    def renew_if_due(self) -> None:
        """Keep the place of an upload that takes long. Raises `UnknownFile` if it is gone, and `InboxClosed`."""
        now = self._inboxes.now()
        if now >= self._renew_at:
            self._inboxes.renew(self._inbox.inbox_id, self._file_id)
            self._renew_at = now + RENEW_EVERY

    def settle(self, record: Record) -> None:
        self._inboxes.settle(record)

    def release(self) -> None:
        self._inboxes.release(self._inbox.inbox_id, self._file_id)


class Inboxes:
    """The inboxes of one store. `UnknownFile` also stands for unknown inboxes."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._documents = InboxDocuments(shares.store, shares.now)
        self.now = shares.now

    def create(self, options: InboxOptions) -> Inbox:
        """Raises `InvalidValue`, and as `Documents.insert`."""
        now = self.now()
        empty = Inbox(str(uuid.uuid4()), "", "", 1, 1, 1, created_at=now, expires_at=now)
        names = frozenset(field.name for field in dataclasses.fields(InboxOptions))
        inbox = dataclasses.replace(empty, **values_of(options, names, self._shares, now))
        self._shares.expiries.add(INBOX_ENTRY + inbox.inbox_id, inbox.expires_at)
        return self._documents.create(inbox).record

    def find(self, inbox_id: str) -> Inbox:
        """The inbox, open or not. Raises `UnknownFile` and `DamagedFile`."""
        return self._find(inbox_id).record

    def require_open(self, inbox: Inbox) -> None:
        """Raises `InboxClosed`."""
        if not inbox.is_open(self.now()):
            raise InboxClosed(inbox.inbox_id)

    def left(self, inbox: Inbox) -> tuple[int, int]:
        """How many files and bytes more an inbox accepts now."""
        now = self.now()
        places = {name: place for name, place in inbox.places.items() if place.until is None or place.until > now}
        inbox = dataclasses.replace(inbox, places=places)
        return inbox.files_left, inbox.bytes_left if inbox.files_left else 0

    def largest(self, inbox: Inbox) -> int:
        """The most bytes that one file in this inbox can have."""
        return min(inbox.max_file_size, self._shares.max_file_size)

    def lifetime(self, inbox: Inbox) -> int | None:
        """The lifetime of a file in this inbox in seconds; None for the server's default."""
        # The server's limit may have become shorter.
        return None if inbox.file_expires_in is None else min(inbox.file_expires_in, self._shares.lifetimes.limit)

    def files(self, inbox: Inbox) -> Sequence[Record]:
        """The files that are still in the inbox, in order of arrival."""
        now = self.now()
        records = self._shares.records.get_many(inbox.places)
        return [record for record in records if record.is_visible(now) and record.inbox_id == inbox.inbox_id]

    def change(self, inbox_id: str, options: InboxOptions, names: frozenset[str]) -> Inbox:
        """Set the options with these names, where None restores the default.

        Raises `UnknownFile`, `InboxClosed` if it was closed, `InvalidValue`, and as `Documents.apply`.
        """
        stored = self._find(inbox_id)
        values = values_of(options, names, self._shares, self.now())

        def apply(inbox: Inbox) -> Inbox:
            if inbox.closed_at is not None:
                raise InboxClosed(inbox_id)
            return dataclasses.replace(inbox, **values)

        changed = apply(stored.record)
        self._shares.expiries.add(INBOX_ENTRY + inbox_id, changed.expires_at)
        return self._documents.update(inbox_id, apply, stored).record

    def close(self, inbox_id: str) -> None:
        """Accept no further files; existing ones stay. Raises as `change`, but not if it is closed already."""
        stored = self._find(inbox_id)
        self._shares.expiries.add(INBOX_ENTRY + inbox_id, self.now())
        self._documents.update(inbox_id, self._closed, stored)

    def reserve(self, file_id: str, delivery: Delivery) -> Reservation:
        """Reserve a place for a file that is about to arrive.

        Raises `UnknownFile`, `InboxClosed`, `InboxFull`, `TooLargeForInbox`, and as `Documents.apply`.
        """
        inbox_id = delivery.inbox_id
        stored = self._find(inbox_id)
        self.require_open(stored.record)
        most = self.largest(stored.record)
        if delivery.least > most:
            raise TooLargeForInbox(most)
        outcomes = self._settle_lapsed(stored.record)
        until = self.now() + RESERVED_FOR

        def apply(inbox: Inbox) -> Inbox:
            self.require_open(inbox)
            for name, outcome in outcomes.items():
                # Unless its sender has renewed it meanwhile.
                if inbox.places.get(name) == stored.record.places[name]:
                    inbox = inbox.without_place(name) if outcome is None else inbox.with_place(name, outcome)
            size = min(most, inbox.bytes_left, most if delivery.most is None else delivery.most)
            if inbox.files_left == 0 or size < delivery.least or (size == 0 and delivery.most != 0):
                raise InboxFull(inbox.bytes_left)
            return inbox.with_place(file_id, Place(size, until))

        inbox = self._documents.update(inbox_id, apply, stored).record
        return Reservation(self, inbox, file_id, inbox.places[file_id].size, until)

    def renew(self, inbox_id: str, file_id: str) -> None:
        """Keep the place of a file that is still arriving. Raises `InboxClosed`, and `UnknownFile` if it is gone."""
        until = self.now() + RESERVED_FOR

        def apply(inbox: Inbox) -> Inbox:
            self.require_open(inbox)
            place = inbox.places.get(file_id)
            if place is None or place.until is None:
                raise UnknownFile(file_id)
            if until - place.until < RENEW_EVERY:
                return inbox
            return inbox.with_place(file_id, Place(place.size, until))

        self._documents.update(inbox_id, apply)

    def settle(self, record: Record) -> None:
        """Note the size of a file that has arrived. If that fails, a reservation made an hour later does it."""
        assert record.inbox_id is not None
        place = Place(record.file_size)
        self._note(record.inbox_id, record.file_id, lambda inbox: inbox.with_place(record.file_id, place))

    def release(self, inbox_id: str, file_id: str) -> None:
        """Give up the place of a file that does not arrive. If that fails, it is free within an hour."""
        self._note(inbox_id, file_id, lambda inbox: inbox.without_place(file_id))

    def holds(self, record: Record) -> bool:
        """Whether an upload still has its place."""
        assert record.inbox_id is not None
        try:
            place = self._documents.get(record.inbox_id).record.places.get(record.file_id)
        except UnknownFile:
            return False
        return place is not None and (place.until is None or place.until > self.now())

    def tidy(self, inbox_id: str) -> datetime | None:
        """Remove an inbox that has ended and whose files are gone; otherwise say when to look again."""
        try:
            stored = self._documents.get(inbox_id)
        except UnknownFile:
            return None
        inbox, now = stored.record, self.now()
        if inbox.is_open(now):
            return inbox.expires_at
        if any(record.state != DELETED for record in self._shares.records.get_many(inbox.places)):
            return now + LOOK_AGAIN_AFTER
        if inbox.closed_at is None:
            inbox = self._documents.update(inbox_id, self._closed, stored).record
        assert inbox.closed_at is not None
        # Until then, a late write to a store that recreates missing documents would restore it.
        if inbox.closed_at + KEEP_TOMBSTONE_FOR > now:
            return inbox.closed_at + KEEP_TOMBSTONE_FOR
        self._shares.store.delete(inbox_key(inbox_id))
        return None

    def _closed(self, inbox: Inbox) -> Inbox:
        return inbox if inbox.closed_at is not None else dataclasses.replace(inbox, closed_at=self.now())

    def _find(self, inbox_id: str) -> StoredInbox:
        if not FILE_ID.fullmatch(inbox_id):
            raise UnknownFile(inbox_id)
        return self._documents.get(inbox_id)

    def _note(self, inbox_id: str, file_id: str, change: Callable[[Inbox], Inbox]) -> None:
        try:
            self._documents.update(inbox_id, change)
        except ShareError as error:
            # The file has arrived or failed already, and the reservation lapses.
            log.warning("the place of file %s in inbox %s stays reserved: %s", file_id, inbox_id, error)

    def _settle_lapsed(self, inbox: Inbox) -> Mapping[str, Place | None]:
        """What became of the files whose reservations have lapsed: their places, or None where there will be none."""
        now = self.now()
        lapsed = [name for name, place in inbox.places.items() if place.until is not None and place.until <= now]
        return {name: self._outcome(name) for name in lapsed}

    def _outcome(self, file_id: str) -> Place | None:
        try:
            record = self._shares.records.get(file_id).record
        except UnknownFile:
            self._shares.expiries.add(file_id, self.now() + KEEP_TOMBSTONE_FOR)
            record = self._shares.records.bar(file_id, self.now())
        if record.state == UPLOADING:
            # The sweep removes its parts.
            self._shares.expiries.add(file_id, self.now() + KEEP_TOMBSTONE_FOR)
            record = self._shares.records.update(file_id, self._ended).record
        return Place(record.file_size) if record.state == READY else None

    def _ended(self, record: Record) -> Record:
        return tombstone(record, self.now()) if record.state == UPLOADING else record
