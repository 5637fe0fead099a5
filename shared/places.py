"""Places in inboxes: what each file reserves of the limits, and keeps for good once it has arrived.

A place is reserved before the first byte of a file, and becomes the file's own once its record is stored. Both count
the same until an hour without bytes has passed, so a place that already has the file's size becomes its own with the
next write to the inbox. If there is none, or after a crash, the next one to look decides by the file's record: if the
file is there, its place is taken; if not, a record that says *deleted* first makes sure that it never will be.

Small files often come one after the other, and would wait longer for the inbox than for their own bytes. So a process
that receives some also reserves places ahead, for those that may follow. An upload for which the rest of the inbox is
too small ends them like lapsed ones, except those that other uploads of its process use.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import InboxClosed, InboxFull, ShareError, TooLargeForInbox, UnknownFile
from shared.ids_ahead import SMALL
from shared.retention import KEEP_TOMBSTONE_FOR
from shared.sharing import FILE_ID, Shares
from shared.storage.inboxes import Change, Inbox, Place, settlement
from shared.storage.keys import INBOX_ENTRY
from shared.storage.records import READY, UPLOADING, Record, tombstone

log = logging.getLogger(__name__)

RESERVED_FOR = timedelta(minutes=55)
RENEW_EVERY = timedelta(minutes=10)
# How many places are reserved ahead for small files at most: by one upload, and in total.
AHEAD = 8
MOST_AHEAD = 64
# At most one in this many of the places that are left is reserved ahead.
AHEAD_SHARE = 4
# The last file came this recently, so that another one will probably follow.
SOON = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file that is being sent to an inbox. It has at least `least` and at most `most` bytes; None if unknown."""

    inbox_id: str
    sender: str | None = None
    least: int = 0
    most: int | None = None


class Reservation:
    """The place of one file in an inbox, for `size` bytes at most. `lifetime` is the file's, as `Places.lifetime`."""

    def __init__(self, places: Places, inbox: Inbox, file_id: str, size: int, until: datetime) -> None:
        self._places = places
        self._inbox = inbox
        self._is_ahead = file_id in inbox.ahead
        self._renew_at = until - RESERVED_FOR + RENEW_EVERY
        self.file_id = file_id
        self.until = until
        self.size = size
        self.lifetime = places.lifetime(inbox)

    def too_large(self) -> ShareError:
        """The error for a file that does not fit."""
        limit = self._places.largest(self._inbox)
        return TooLargeForInbox(limit) if self.size >= limit else InboxFull(self.size)

    def renew_if_due(self) -> None:
        """Keep the place of an upload that takes long. Raises `UnknownFile` if it is gone, and `InboxClosed`."""
        now = self._places.now()
        if now >= self._renew_at:
            self._places.renew(self._inbox.inbox_id, self.file_id)
            self._renew_at, self.until = now + RENEW_EVERY, now + RESERVED_FOR

    def settle(self, record: Record) -> None:
        self._places.settle(record, record.file_size if self._is_ahead else self.size)
        self._places.leave(self._inbox.inbox_id, self.file_id)

    def release(self) -> None:
        self._places.release(self._inbox.inbox_id, self.file_id)
        self._places.leave(self._inbox.inbox_id, self.file_id)


class Places:
    """The places in all inboxes of one store. `UnknownFile` also stands for unknown inboxes."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._documents = shares.inboxes
        self.now = shares.now
        self.leave = shares.inboxes.leave

    def require_open(self, inbox: Inbox) -> None:
        """Raises `InboxClosed`."""
        if not inbox.is_open(self.now()):
            raise InboxClosed(inbox.inbox_id)

    def largest(self, inbox: Inbox) -> int:
        """The most bytes that one file in this inbox can have."""
        return min(inbox.max_file_size, self._shares.max_file_size)

    def lifetime(self, inbox: Inbox) -> int | None:
        """The lifetime of a file in this inbox in seconds; None for the server's default."""
        # The server's limit may have become shorter.
        return None if inbox.file_expires_in is None else min(inbox.file_expires_in, self._shares.lifetimes.limit)

    def take(self, delivery: Delivery) -> Reservation:
        """Take a place ahead for a small file if there is one, or reserve one. Raises as `reserve`."""
        if delivery.most is None or delivery.most > SMALL:
            return self.reserve(str(uuid.uuid4()), delivery)
        name = self._documents.take_ahead(delivery.inbox_id)
        if name is not None:
            # It may have been closed or changed, or this place ended.
            inbox = self._documents.current(delivery.inbox_id).record
            until = inbox.places[name].until if name in inbox.ahead else None
            if self._has_room_ahead(inbox, delivery) and until is not None and until > self.now() + RENEW_EVERY:
                return Reservation(self, inbox, name, min(delivery.most, self.largest(inbox)), until)
            self.leave(delivery.inbox_id, name)
        ahead = AHEAD if self._documents.wrote_within(delivery.inbox_id, SOON) else 0
        return self.reserve(str(uuid.uuid4()), delivery, ahead)

    def reserve(self, file_id: str, delivery: Delivery, ahead: int = 0) -> Reservation:
        """Reserve a place for a file that is about to arrive, and at most so many ahead.

        Raises `UnknownFile`, `InboxClosed`, `InboxFull`, `TooLargeForInbox`, and as `Documents.apply`.
        """
        if not FILE_ID.fullmatch(delivery.inbox_id):
            raise UnknownFile(delivery.inbox_id)
        # If it is outdated, it lacks only places that are too new to have lapsed.
        seen = self._documents.latest(delivery.inbox_id).record
        end = self.end(seen, self.lapsed(seen))
        try:
            return self._reserve(file_id, delivery, ahead, end, wholly=True)
        except InboxFull:
            seen = self._documents.get(delivery.inbox_id).record
            if unused := self._documents.give_up_ahead(seen):
                # Written even if the file does not fit after all, or others would use places that have ended.
                self._documents.update(delivery.inbox_id, self.end(seen, unused))
            return self._reserve(file_id, delivery, 0, lambda inbox: inbox)

    def _reserve(
        self, file_id: str, delivery: Delivery, ahead: int, end: Change, *, wholly: bool = False
    ) -> Reservation:
        """Reserve as much as the file may need, or as there is; unless `wholly`, also less because of places ahead."""
        until = self.now() + RESERVED_FOR
        names = [str(uuid.uuid4()) for _ in range(ahead)]

        def apply(inbox: Inbox) -> Inbox:
            self.require_open(inbox)
            most = self.largest(inbox)
            if delivery.least > most:
                raise TooLargeForInbox(most)
            inbox = end(inbox)
            wanted = most if delivery.most is None else min(most, delivery.most)
            size = min(wanted, inbox.bytes_left)
            is_short = wholly and size < wanted and len(inbox.ahead) > 0
            if inbox.files_left == 0 or size < delivery.least or (size == 0 and delivery.most != 0) or is_short:
                raise InboxFull(inbox.bytes_left)
            inbox = inbox.with_place(file_id, Place(size, until))
            room = min(inbox.files_left, inbox.bytes_left // SMALL) // AHEAD_SHARE
            more = names[: max(0, min(room, MOST_AHEAD) - len(inbox.ahead))]
            return inbox.with_places_ahead({name: Place(SMALL, until) for name in more}) if more else inbox

        # This entry leads the sweep to what a crash leaves of the file.
        with self._shares.expiries.covering(INBOX_ENTRY + delivery.inbox_id, until):
            inbox = self._documents.update(delivery.inbox_id, apply).record
        self._documents.keep_ahead(delivery.inbox_id, [name for name in names if name in inbox.ahead])
        return Reservation(self, inbox, file_id, inbox.places[file_id].size, until)

    def _has_room_ahead(self, inbox: Inbox, delivery: Delivery) -> bool:
        """Whether a file may still take a place ahead, although the owner may have lowered the limits."""
        total = sum(place.size for place in inbox.places.values())
        return (
            inbox.is_open(self.now())
            and len(inbox.places) <= inbox.max_files
            and total <= inbox.max_bytes
            and delivery.least <= self.largest(inbox)
        )

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

    def _try_update(self, inbox_id: str, file_id: str, change: Callable[[Inbox], Inbox]) -> None:
        try:
            self._documents.update(inbox_id, change)
        except ShareError as error:
            # The file has arrived or failed already, and the reservation lapses.
            log.warning("the place of file %s in inbox %s stays reserved: %s", file_id, inbox_id, error)

    def lapsed(self, inbox: Inbox) -> Sequence[str]:
        """The files whose reservations have lapsed, and may have arrived."""
        now = self.now()
        return [name for name, place in inbox.places.items() if place.until is not None and place.until <= now]

    def end(self, seen: Inbox, names: Sequence[str]) -> Change:
        """Decide what becomes of these reservations, and return the change that says so in the inbox."""
        outcomes = {name: self._outcome(name) for name in names}

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
