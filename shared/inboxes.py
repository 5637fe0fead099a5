"""Inboxes, into which anyone with the link can upload files, up to limits that hold however many do so at once.

A place is reserved before the first byte of a file, and becomes the file's own once its record is stored. Both count
the same until an hour without bytes has passed, so a place that already has the file's size becomes its own with the
next write to the inbox. If there is none, or after a crash, the next one to look decides by the file's record: if the
file is there, its place is taken; if not, a record that says *deleted* first makes sure that it never will be.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import InboxClosed, InboxFull, ShareError, TooLargeForInbox, UnknownFile
from shared.inbox_options import InboxOptions, values_of
from shared.retention import KEEP_TOMBSTONE_FOR
from shared.sharing import FILE_ID, Shares
from shared.storage.inboxes import Inbox, Place, settlement
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
        self.until = until
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
            self._renew_at, self.until = now + RENEW_EVERY, now + RESERVED_FOR

    def settle(self, record: Record) -> None:
        self._inboxes.settle(record, self.size)

    def release(self) -> None:
        self._inboxes.release(self._inbox.inbox_id, self._file_id)


class Inboxes:
    """The inboxes of one store. `UnknownFile` also stands for unknown inboxes."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._documents = shares.inboxes
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
        if not FILE_ID.fullmatch(inbox_id):
            raise UnknownFile(inbox_id)
        return self._documents.get(inbox_id).record

    def require_open(self, inbox: Inbox) -> None:
        """Raises `InboxClosed`."""
        if not inbox.is_open(self.now()):
            raise InboxClosed(inbox.inbox_id)

    def left(self, inbox: Inbox) -> tuple[int, int]:
        """How many files and bytes more an inbox accepts now."""
        places = dict(inbox.places)
        for name in self._lapsed(inbox):
            del places[name]
        if len(places) < len(inbox.places):
            records = self._shares.records.get_many(self._lapsed(inbox))
            places |= {record.file_id: Place(record.file_size) for record in records if record.state == READY}
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
        inbox = self.find(inbox_id)
        values = values_of(options, names, self._shares, self.now())

        def apply(inbox: Inbox) -> Inbox:
            if inbox.closed_at is not None:
                raise InboxClosed(inbox_id)
            return dataclasses.replace(inbox, **values)

        self._shares.expiries.add(INBOX_ENTRY + inbox_id, apply(inbox).expires_at)
        return self._documents.update(inbox_id, apply).record

    def close(self, inbox_id: str) -> None:
        """Accept no further files; existing ones stay. Raises as `change`, but not if it is closed already."""
        self.find(inbox_id)
        self._shares.expiries.add(INBOX_ENTRY + inbox_id, self.now())
        self._documents.update(inbox_id, self._closed)

    def reserve(self, file_id: str, delivery: Delivery) -> Reservation:
        """Reserve a place for a file that is about to arrive.

        Raises `UnknownFile`, `InboxClosed`, `InboxFull`, `TooLargeForInbox`, and as `Documents.apply`.
        """
        if not FILE_ID.fullmatch(delivery.inbox_id):
            raise UnknownFile(delivery.inbox_id)
        # If it is outdated, it lacks only places that are too new to have lapsed.
        seen = self._documents.latest(delivery.inbox_id).record
        end_lapsed = self._end_lapsed(seen)
        until = self.now() + RESERVED_FOR

        def apply(inbox: Inbox) -> Inbox:
            self.require_open(inbox)
            most = self.largest(inbox)
            if delivery.least > most:
                raise TooLargeForInbox(most)
            inbox = end_lapsed(inbox)
            size = min(most, inbox.bytes_left, most if delivery.most is None else delivery.most)
            if inbox.files_left == 0 or size < delivery.least or (size == 0 and delivery.most != 0):
                raise InboxFull(inbox.bytes_left)
            return inbox.with_place(file_id, Place(size, until))

        # This entry leads the sweep to what a crash leaves of the file.
        with self._shares.expiries.covering(INBOX_ENTRY + delivery.inbox_id, until):
            inbox = self._documents.update(delivery.inbox_id, apply).record
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

    def settle(self, record: Record, reserved: int | None = None) -> None:
        """Give a file that has arrived a place of its own size. If that fails, the first request an hour later does it.

        If exactly this size is `reserved`, it can wait for the next write.
        """
        assert record.inbox_id is not None
        if reserved == record.file_size:
            self._documents.settle_later(record)
        else:
            self._try_update(record.inbox_id, record.file_id, settlement(record))

    def release(self, inbox_id: str, file_id: str) -> None:
        """Give up the place of a file that does not arrive. If that fails, it is free within an hour."""
        self._try_update(inbox_id, file_id, lambda inbox: inbox.without_place(file_id))

    def holds(self, record: Record) -> bool:
        """Whether an upload still has its place."""
        assert record.inbox_id is not None
        try:
            place = self._documents.get(record.inbox_id).record.places.get(record.file_id)
        except UnknownFile:
            return False
        return place is not None and (place.until is None or place.until > self.now())

    def tidy(self, inbox_id: str) -> datetime | None:
        """End lapsed reservations, and remove an inbox that has ended and whose files are gone.

        Otherwise say when to look again.
        """
        try:
            inbox = self._documents.get(inbox_id).record
        except UnknownFile:
            return None
        now = self.now()
        if self._lapsed(inbox):
            inbox = self._documents.update(inbox_id, self._end_lapsed(inbox)).record
        looks = [place.until for place in inbox.places.values() if place.until is not None]
        if inbox.is_open(now):
            looks.append(inbox.expires_at)
        if looks:
            return min(looks)
        if any(record.state != DELETED for record in self._shares.records.get_many(inbox.places)):
            return now + LOOK_AGAIN_AFTER
        if inbox.closed_at is None:
            inbox = self._documents.update(inbox_id, self._closed).record
        assert inbox.closed_at is not None
        # Until then, a late write to a store that recreates missing documents would restore it.
        if inbox.closed_at + KEEP_TOMBSTONE_FOR > now:
            return inbox.closed_at + KEEP_TOMBSTONE_FOR
        self._shares.store.delete(inbox_key(inbox_id))
        return None

    def _closed(self, inbox: Inbox) -> Inbox:
        return inbox if inbox.closed_at is not None else dataclasses.replace(inbox, closed_at=self.now())

    def _try_update(self, inbox_id: str, file_id: str, change: Callable[[Inbox], Inbox]) -> None:
        try:
            self._documents.update(inbox_id, change)
        except ShareError as error:
            # The file has arrived or failed already, and the reservation lapses.
            log.warning("the place of file %s in inbox %s stays reserved: %s", file_id, inbox_id, error)

    def _lapsed(self, inbox: Inbox) -> Sequence[str]:
        """The files whose reservations have lapsed, and may have arrived."""
        now = self.now()
        return [name for name, place in inbox.places.items() if place.until is not None and place.until <= now]

    def _end_lapsed(self, seen: Inbox) -> Callable[[Inbox], Inbox]:
        """Decide what becomes of lapsed reservations, and return the change that says so in the inbox."""
        outcomes = {name: self._outcome(name) for name in self._lapsed(seen)}

        def change(inbox: Inbox) -> Inbox:
            for name, outcome in outcomes.items():
                # Unless its sender has renewed it meanwhile.
                if inbox.places.get(name) == seen.places[name]:
                    inbox = inbox.without_place(name) if outcome is None else inbox.with_place(name, outcome)
            return inbox

        return change

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
