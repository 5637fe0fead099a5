"""The document of each inbox: its limits, and which files hold how many bytes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta, structs

from shared.errors import ShareError, UnknownFile
from shared.storage.codec import Codec, Document
from shared.storage.contract import NotFound, ObjectStore
from shared.storage.documents import Documents, Versioned
from shared.storage.keys import inbox_key
from shared.storage.records import Record, Size, Time


@dataclass(frozen=True, slots=True)
class Place:
    """What one file holds of an inbox's limits, in bytes. It is reserved until that time; None once it is received."""

    size: Size
    until: Time | None = None


class Inbox(Document, frozen=True):
    """An inbox. Sizes are in bytes, lifetimes in seconds. `places` are by file ID.

    Those `ahead` are for files that a process may receive soon: they have no file yet, or one that came since the last
    write. The owner of the inbox closes it for good at `closed_at`.
    """

    inbox_id: str
    title: str
    note: str
    max_files: Annotated[int, Meta(ge=1)]
    max_bytes: Annotated[int, Meta(ge=1)]
    max_file_size: Annotated[int, Meta(ge=1)]
    created_at: Time
    expires_at: Time
    file_expires_in: Annotated[int, Meta(ge=1)] | None = None
    closed_at: Time | None = None
    places: Mapping[str, Place] = msgspec.field(default_factory=dict)
    ahead: tuple[str, ...] = ()

    @property
    def file_id(self) -> str:
        return self.inbox_id

    def is_open(self, now: datetime) -> bool:
        return self.closed_at is None and now < self.expires_at

    @property
    def files_left(self) -> int:
        return max(0, self.max_files - len(self.places))

    @property
    def bytes_left(self) -> int:
        return max(0, self.max_bytes - sum(place.size for place in self.places.values()))

    def with_place(self, file_id: str, place: Place) -> Inbox:
        return self._with(file_id, {**self.places, file_id: place})

    def with_places_ahead(self, places: Mapping[str, Place]) -> Inbox:
        return structs.replace(self, places={**self.places, **places}, ahead=(*self.ahead, *places))

    def without_place(self, file_id: str) -> Inbox:
        """Without the place of this file; the inbox itself if it has none."""
        if file_id not in self.places:
            return self
        return self._with(file_id, {name: it for name, it in self.places.items() if name != file_id})

    def _with(self, file_id: str, places: Mapping[str, Place]) -> Inbox:
        return structs.replace(self, places=places, ahead=tuple(name for name in self.ahead if name != file_id))


Change = Callable[[Inbox], Inbox]


def settlement(record: Record) -> Change:
    """The change that makes the place of a file that has arrived its own, with its actual size."""
    place = Place(record.file_size)

    def change(inbox: Inbox) -> Inbox:
        return inbox if inbox.places.get(record.file_id) == place else inbox.with_place(record.file_id, place)

    return change


# Releases that reserved no places ahead did not store this.
CODEC = Codec(Inbox, ["ahead"])

StoredInbox = Versioned[Inbox]

# How many inboxes a process remembers, and for how long: for less time than a reservation lasts, and not until the
# sweep could have removed one.
REMEMBERED = 256
REMEMBER_FOR = timedelta(minutes=10)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(eq=False, slots=True)
class _Request:
    """A change that waits to be written; `error` is why it was refused or not written."""

    change: Change
    woken: threading.Event = field(default_factory=threading.Event)
    stored: StoredInbox | None = None
    error: BaseException | None = None


@dataclass(eq=False, slots=True)
class _Queue:
    """What this process knows of one inbox: changes that wait to be written, its last write, and its places ahead.

    Of these, `in_use` are those of uploads in progress.
    """

    latest: StoredInbox | None = None
    written_at: datetime = _NEVER
    ahead: list[str] = field(default_factory=list)
    in_use: set[str] = field(default_factory=set)
    settlements: list[Change] = field(default_factory=list)
    waiting: list[_Request] = field(default_factory=list)
    busy: bool = False


class InboxDocuments(Documents):
    """Inboxes in an object store. Methods raise as those of `Records`.

    While one thread of a process writes an inbox, the changes of the others wait. Then one of these writes them all.
    """

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime]) -> None:
        super().__init__(store, clock)
        self._queues: dict[str, _Queue] = {}
        self._guard = threading.Lock()

    def get(self, inbox_id: str) -> StoredInbox:
        try:
            return self.read(CODEC, inbox_key(inbox_id), inbox_id)
        except NotFound as error:
            raise UnknownFile(inbox_id) from error

    def create(self, inbox: Inbox) -> StoredInbox:
        return self.insert(CODEC, inbox_key(inbox.inbox_id), inbox)

    def current(self, inbox_id: str) -> StoredInbox:
        """Like `get`, but without decoding a version that this process wrote."""
        remembered = self._remembered(inbox_id)
        if remembered is None:
            return self.get(inbox_id)
        try:
            data, etag = self.store.read(inbox_key(inbox_id))
        except NotFound as error:
            raise UnknownFile(inbox_id) from error
        return remembered if etag == remembered.etag else Versioned(CODEC.decode(inbox_id, data), etag)

    def latest(self, inbox_id: str) -> StoredInbox:
        """The version that this process wrote last, which can be outdated, or else the stored one."""
        return self._remembered(inbox_id) or self.get(inbox_id)

    def keep_ahead(self, inbox_id: str, names: Sequence[str]) -> None:
        """Remember places that this process has reserved ahead."""
        with self._guard:
            self._queue(inbox_id).ahead += names

    def take_ahead(self, inbox_id: str) -> str | None:
        """A place that this process has reserved ahead, which may be gone meanwhile. Use it until `leave`."""
        with self._guard:
            queue = self._queues.get(inbox_id)
            if queue is None or not queue.ahead:
                return None
            name = queue.ahead.pop(0)
            queue.in_use.add(name)
            return name

    def leave(self, inbox_id: str, name: str) -> None:
        """Use a place ahead no longer."""
        with self._guard:
            if inbox_id in self._queues:
                self._queues[inbox_id].in_use.discard(name)

    def give_up_ahead(self, inbox: Inbox) -> Sequence[str]:
        """The places ahead that no upload of this process uses. From now on, none will."""
        with self._guard:
            queue = self._queue(inbox.inbox_id)
            queue.ahead.clear()
            return [name for name in inbox.ahead if name not in queue.in_use]

    def wrote_within(self, inbox_id: str, period: timedelta) -> bool:
        """Whether this process has written the inbox in the last `period`."""
        with self._guard:
            queue = self._queues.get(inbox_id)
        return queue is not None and self._clock() - queue.written_at < period

    def settle_later(self, record: Record) -> None:
        """Write the `settlement` of a file together with the next change, if this process makes another."""
        assert record.inbox_id is not None
        with self._guard:
            self._queue(record.inbox_id).settlements.append(settlement(record))

    def update(self, inbox_id: str, change: Change) -> StoredInbox:
        """Like `apply`, perhaps in one write with the changes of other threads."""
        request = _Request(change)
        with self._guard:
            queue = self._queue(inbox_id)
            queue.waiting.append(request)
            leads, queue.busy = not queue.busy, True
        if not leads:
            request.woken.wait()
        if request.stored is None and request.error is None:
            self._write_waiting(inbox_id, queue)
        if request.error is not None:
            raise request.error
        assert request.stored is not None
        return request.stored

    def _queue(self, inbox_id: str) -> _Queue:
        queue = self._queues.pop(inbox_id, None) or _Queue()
        # The last one is the one that was used last.
        self._queues[inbox_id] = queue
        if len(self._queues) > REMEMBERED:
            idle = next((name for name, other in self._queues.items() if not other.busy), inbox_id)
            if idle != inbox_id:
                del self._queues[idle]
        return queue

    def _remembered(self, inbox_id: str) -> StoredInbox | None:
        with self._guard:
            queue = self._queues.get(inbox_id)
        return None if queue is None else self._recent(queue)

    def _recent(self, queue: _Queue) -> StoredInbox | None:
        # Read first, because it is set after the time of its write.
        latest = queue.latest
        return latest if self._clock() - queue.written_at < REMEMBER_FOR else None

    def _write_waiting(self, inbox_id: str, queue: _Queue) -> None:
        with self._guard:
            requests, queue.waiting = queue.waiting, []
            settlements = list(queue.settlements)
        try:
            stored = self._write_together(inbox_id, queue, settlements, requests)
            for request in requests:
                request.stored = stored
        except BaseException as error:
            for request in requests:
                request.error = error
        with self._guard:
            if queue.waiting:
                # Its thread writes next, so that nobody works for others forever.
                queue.waiting[0].woken.set()
            else:
                queue.busy = False
        for request in requests:
            request.woken.set()

    def _write_together(
        self, inbox_id: str, queue: _Queue, settlements: Sequence[Change], requests: Sequence[_Request]
    ) -> StoredInbox:
        def change(inbox: Inbox) -> Inbox:
            for settle in settlements:
                inbox = settle(inbox)
            for request in requests:
                try:
                    inbox, request.error = request.change(inbox), None
                except ShareError as error:
                    request.error = error
            return inbox

        latest, queue.latest = self._recent(queue), None
        stored = latest or self.get(inbox_id)
        written = self.apply(CODEC, inbox_key(inbox_id), change, stored, self.attempts(inbox_id))
        if written is latest:
            # Nothing was written, which would have proved that this version is the latest.
            written = self.apply(CODEC, inbox_key(inbox_id), change, self.get(inbox_id), self.attempts(inbox_id))
        if written is not stored:
            queue.written_at = self._clock()
        if written.record.revision == stored.record.revision + 1:
            # Otherwise, other processes write it too, and it would soon be outdated.
            queue.latest = written
        del queue.settlements[: len(settlements)]
        return written
