"""The document of each inbox: its limits, and which files hold how many bytes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from shared.errors import UnknownFile
from shared.storage.codec import Codec, Writes
from shared.storage.contract import NotFound
from shared.storage.documents import Documents, Versioned
from shared.storage.keys import inbox_key
from shared.storage.records import Size, Time


@dataclass(frozen=True, slots=True)
class Place:
    """What one file holds of an inbox's limits, in bytes. It is reserved until that time; None once it is received."""

    size: Size
    until: Time | None = None


@dataclass(frozen=True, slots=True)
class Inbox:
    """An inbox. Sizes are in bytes, lifetimes in seconds. `places` are by file ID, in order of arrival.

    The owner of the inbox closes it for good at `closed_at`. `revision`, `writes` and `unknown` are as in a `Record`.
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
    places: Mapping[str, Place] = field(default_factory=dict)
    revision: Annotated[int, Meta(ge=0)] = 0
    writes: Writes = ()
    unknown: dict[str, Any] | UnsetType = UNSET

    @property
    def file_id(self) -> str:
        """The ID under which errors name it."""
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
        return dataclasses.replace(self, places={**self.places, file_id: place})

    def without_place(self, file_id: str) -> Inbox:
        """Without the place of this file; the inbox itself if it has none."""
        if file_id not in self.places:
            return self
        return dataclasses.replace(self, places={name: it for name, it in self.places.items() if name != file_id})


CODEC = Codec(Inbox)

StoredInbox = Versioned[Inbox]


class InboxDocuments(Documents):
    """Inboxes in an object store. Methods raise as those of `Records`."""

    def get(self, inbox_id: str) -> StoredInbox:
        try:
            return self.read(CODEC, inbox_key(inbox_id), inbox_id)
        except NotFound as error:
            raise UnknownFile(inbox_id) from error

    def create(self, inbox: Inbox) -> StoredInbox:
        return self.insert(CODEC, inbox_key(inbox.inbox_id), inbox)

    def update(self, inbox_id: str, change: Callable[[Inbox], Inbox], base: StoredInbox | None = None) -> StoredInbox:
        return self.apply(CODEC, inbox_key(inbox_id), change, base or self.get(inbox_id), self.attempts(inbox_id))
