"""The record of each file, which is authoritative: a file is visible if and only if its record says *ready*."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, structs

from shared.errors import DamagedFile, UnknownFile
from shared.options import Encryption
from shared.storage.codec import Codec, Document
from shared.storage.contract import AlreadyExists, NotFound
from shared.storage.documents import Attempts, Documents, Versioned
from shared.storage.keys import METADATA, file_id_of, record_key

log = logging.getLogger(__name__)

UPLOADING: Final = "uploading"
READY: Final = "ready"
DELETED: Final = "deleted"

# The number of counter cells of a busy file. CLOSED: the cells count no more, and the record includes their counts.
CELLS = 64
CLOSED = -1

Time = Annotated[datetime, Meta(tz=True)]
Size = Annotated[int, Meta(ge=0)]
# Becomes a header unchanged, so a line break would start another header.
ContentType = Annotated[str, Meta(pattern=r"\A[ -~]+\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Record(Document, frozen=True):
    """Everything stored about one file, except its bytes. Times are aware and in UTC, sizes in bytes, `sha256` in hex.

    A file that its sender uploads in parts has the `upload_id` of that for good, and `announced_size` is what the
    sender said it would have. Until it is `sealed` its bytes are those of the raw object, which stays afterwards until
    `raw_until`; a raw copy of any other file is made when it is needed. While that copy is being removed,
    `raw_removed_since` says since when.

    Downloads are counted in `download_count` and in this many `cells`, whose numbers begin at `first_cell`. A file with
    a download limit has no cells, or closed ones.

    A file in the inbox `inbox_id` is only for the owner of the inbox until it is `shared`. `sender` is the
    name that its sender gave, and `reserved_size` what its direct upload can have at most.
    """

    file_id: str
    state: Literal["uploading", "ready", "deleted"]
    original_name: str
    content_type: ContentType
    file_size: Size
    sha256: Sha256 | None
    created_at: Time
    expires_at: Time | None = None
    max_downloads: Annotated[int, Meta(ge=1)] | None = None
    download_count: Annotated[int, Meta(ge=0)] = 0
    used_up_at: Time | None = None
    password_hash: str | None = None
    cells: Annotated[int, Meta(ge=CLOSED, le=CELLS)] = 0
    first_cell: Annotated[int, Meta(ge=0)] = 0
    upload_id: str | None = None
    announced_size: Size | None = None
    sealed: bool = True
    raw_until: Time | None = None
    raw_removed_since: Time | None = None
    deleted_at: Time | None = None
    encryption: Encryption | None = None
    inbox_id: str | None = None
    sender: str | None = None
    reserved_size: Size | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        for name in TIMES:
            moment = getattr(self, name)
            if moment is not None and moment.utcoffset():
                raise ValueError(f"{name} is not in UTC")

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_visible(self, now: datetime) -> bool:
        """Whether clients can see the file, and download it unless it has reached its download limit."""
        return self.state == READY and not self.is_expired(now)

    @property
    def is_private(self) -> bool:
        """Whether only the owner of its inbox can describe and download it."""
        return self.inbox_id is not None and not self.shared

    @property
    def downloads_left(self) -> int | None:
        """Downloads until the limit is reached; None without a limit."""
        return None if self.max_downloads is None else max(0, self.max_downloads - self.download_count)

    @property
    def is_used_up(self) -> bool:
        """Whether the file has reached its download limit."""
        return self.downloads_left == 0

    @property
    def may_have_raw(self) -> bool:
        """Whether there may be a raw object, or parts of one."""
        return self.upload_id is not None or self.raw_until is not None

    @property
    def cell_numbers(self) -> range:
        """The numbers of the cells that currently count downloads."""
        return range(self.first_cell, self.first_cell + max(0, self.cells))


TIMES = ("created_at", "expires_at", "used_up_at", "raw_until", "raw_removed_since", "deleted_at")
_FIELDS = Record.__struct_fields__
# Fields that releases without direct uploads, counter cells, tombstones, encryption or inboxes did not store.
LATER = _FIELDS[_FIELDS.index("cells") : _FIELDS.index("revision")]
CODEC = Codec(Record, LATER)

Stored = Versioned[Record]


def tombstone(record: Record, now: datetime) -> Record:
    """The record of a deleted file, which stays for a while so that no late write restores the file.

    It keeps only the fields that are needed to remove the rest.
    """
    return structs.replace(
        record,
        state=DELETED,
        deleted_at=now,
        original_name="",
        content_type="application/octet-stream",
        sha256=None,
        password_hash=None,
        encryption=None,
        sender=None,
    )


def rfc3339(moment: datetime | None) -> str | None:
    """Format a moment as RFC 3339 in UTC, with milliseconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Records(Documents):
    """Records in an object store."""

    def get(self, file_id: str) -> Stored:
        """Raises `UnknownFile` and `DamagedFile`."""
        try:
            return self.read(CODEC, record_key(file_id), file_id)
        except NotFound as error:
            raise UnknownFile(file_id) from error

    def get_many(self, file_ids: Iterable[str]) -> Iterator[Record]:
        """Records in the order of the IDs, without missing ones and, with a log line, damaged ones."""
        for key, data in self.store.read_many(map(record_key, file_ids)):
            try:
                yield CODEC.decode(file_id_of(key), data)
            except DamagedFile as error:
                log.error("%s", error)

    def ids(self, after: str = "") -> Iterator[str]:
        """Sorted IDs of all records, in any state."""
        for key in self.store.list(METADATA, record_key(after) if after else ""):
            file_id = file_id_of(key)
            if key == record_key(file_id):
                yield file_id

    def create(self, record: Record) -> Stored:
        """Write the record of a new ID. Raises as `Documents.insert`."""
        return self.insert(CODEC, record_key(record.file_id), record)

    def bar(self, file_id: str, now: datetime) -> Record:
        """Create a record for an ID without one, which says *deleted*, and return it or the one that came first.

        A late uploader then cannot create another, so no acknowledged file is removed. The entry for its removal must
        be there already.
        """
        # Assume that every kind of object is stored.
        unknown = Record(
            file_id, UPLOADING, "", "application/octet-stream", 0, None, now, cells=CLOSED, sealed=False, raw_until=now
        )
        try:
            return self.create(tombstone(unknown, now)).record
        except AlreadyExists:
            return self.get(file_id).record

    def update(
        self,
        file_id: str,
        change: Callable[[Record], Record],
        base: Stored | None = None,
        attempts: Attempts | None = None,
    ) -> Stored:
        """Like `apply`. Passing `base` saves a read if it is still the latest."""
        attempts = attempts or self.attempts(file_id)
        return self.apply(CODEC, record_key(file_id), change, base or self.get(file_id), attempts)
