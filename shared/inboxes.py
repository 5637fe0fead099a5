"""Inboxes, into which anyone with the link can upload files, up to limits that hold however many do so at once."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import structs

from shared.errors import InboxClosed, UnknownFile
from shared.inbox_options import InboxOptions, values_of
from shared.places import Places
from shared.retention import KEEP_TOMBSTONE_FOR
from shared.sharing import FILE_ID, Shares
from shared.storage.inboxes import Inbox, Place
from shared.storage.keys import INBOX_ENTRY, inbox_key
from shared.storage.records import DELETED, READY, Record

LOOK_AGAIN_AFTER = timedelta(days=1)

__all__ = ["Inbox", "InboxOptions", "Inboxes"]


class Inboxes:
    """The inboxes of one store. `UnknownFile` also stands for unknown inboxes."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._documents = shares.inboxes
        self.places = Places(shares)
        self.now = shares.now

    def create(self, options: InboxOptions) -> Inbox:
        """Raises `InvalidValue`, and as `Documents.insert`."""
        now = self.now()
        empty = Inbox(str(uuid.uuid4()), "", "", 1, 1, 1, created_at=now, expires_at=now)
        names = frozenset(field.name for field in dataclasses.fields(InboxOptions))
        inbox = structs.replace(empty, **values_of(options, names, self._shares, now))
        self._shares.expiries.add(INBOX_ENTRY + inbox.inbox_id, inbox.expires_at)
        return self._documents.create(inbox).record

    def find(self, inbox_id: str) -> Inbox:
        """The inbox, open or not. Raises `UnknownFile` and `DamagedFile`."""
        if not FILE_ID.fullmatch(inbox_id):
            raise UnknownFile(inbox_id)
        return self._documents.get(inbox_id).record

    def left(self, inbox: Inbox) -> tuple[int, int]:
        """How many files and bytes more an inbox accepts now."""
        places = dict(inbox.places)
        unsure = {*self.places.lapsed(inbox), *inbox.ahead}
        for name in unsure:
            del places[name]
        if unsure:
            records = self._shares.records.get_many(sorted(unsure))
            places |= {record.file_id: Place(record.file_size) for record in records if record.state == READY}
        inbox = structs.replace(inbox, places=places)
        return inbox.files_left, inbox.bytes_left if inbox.files_left else 0

    def files(self, inbox: Inbox) -> Sequence[Record]:
        """The files that are still in the inbox, in order of arrival."""
        now = self.now()
        records = sorted(self._shares.records.get_many(inbox.places), key=lambda record: record.created_at)
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
            return structs.replace(inbox, **values)

        self._shares.expiries.add(INBOX_ENTRY + inbox_id, apply(inbox).expires_at)
        return self._documents.update(inbox_id, apply).record

    def close(self, inbox_id: str) -> None:
        """Accept no further files; existing ones stay. Raises as `change`, but not if it is closed already."""
        self.find(inbox_id)
        self._shares.expiries.add(INBOX_ENTRY + inbox_id, self.now())
        self._documents.update(inbox_id, self._closed)

    def tidy(self, inbox_id: str) -> datetime | None:
        """End lapsed reservations, and remove an inbox that has ended and whose files are gone.

        Otherwise say when to look again.
        """
        try:
            inbox = self._documents.get(inbox_id).record
        except UnknownFile:
            return None
        now = self.now()
        if self.places.lapsed(inbox):
            inbox = self._documents.update(inbox_id, self.places.end(inbox, self.places.lapsed(inbox))).record
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
        return inbox if inbox.closed_at is not None else structs.replace(inbox, closed_at=self.now())
