"""The JSON record of each file, and the one loop that changes it, and other documents, by conditional write.

A record is the truth about its file: visible if and only if it says *ready*. Records are read strictly, so that one
that was damaged is reported as such and never half believed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import math
import random
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from shared import metrics
from shared.errors import Contended, DamagedFile, OutcomeUnknown, StorageFull, StorageUnavailable, UnknownFile
from shared.storage.contract import ABSENT, AlreadyExists, Ambiguous, Changed, Matches, NotFound, NotSent, ObjectStore
from shared.storage.keys import METADATA, file_id_of
from shared.storage.keys import record_key as record_key

log = logging.getLogger(__name__)

UPLOADING, READY, DELETED = "uploading", "ready", "deleted"

RETRY_FOR = 10.0  # seconds
BACKOFF_BASE = 0.01
BACKOFF_CAP = 0.5
REMEMBER_WRITES_FOR = 60.0  # seconds
REMEMBER_WRITES = 256

# Records that were read last are kept by their bytes, since of a hot file the same are read again and again.
DECODED = 64

# How many counter cells a record may speak of; CLOSED once they take no more, and the record counts what they hold.
CELLS = (0, 16, 64)
CLOSED = -1


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored about one file. Times are aware and in UTC, sizes in bytes, `sha256` in hex.

    A file that its sender uploads in parts has the `upload_id` of that for good, and `announced_size` is what the
    sender said it would have. Until it is `sealed` its bytes are those of the raw object, which stays afterwards until
    `raw_until`; a raw copy of any other file is made when it is needed. While that copy is being removed,
    `raw_removed_since` says since when.

    `revision` grows by one with each write, and `writes` holds the IDs of recent ones with their time (seconds since
    1970): together they tell whether a write that got no answer is in. `unknown` keeps what a newer version stored.

    Downloads are counted in `download_count` and in so many `cells`, whose numbers begin at `first_cell`; a file with a
    cap has no cells, or closed ones.
    """

    file_id: str
    state: str
    original_name: str
    content_type: str
    file_size: int
    sha256: str | None
    created_at: datetime
    expires_at: datetime | None = None
    max_downloads: int | None = None
    download_count: int = 0
    used_up_at: datetime | None = None
    password_hash: str | None = None
    cells: int = 0
    first_cell: int = 0
    upload_id: str | None = None
    announced_size: int | None = None
    sealed: bool = True
    raw_until: datetime | None = None
    raw_removed_since: datetime | None = None
    deleted_at: datetime | None = None
    revision: int = 0
    writes: tuple[tuple[str, float], ...] = ()
    unknown: dict[str, Any] = field(default_factory=dict)

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_visible(self, now: datetime) -> bool:
        return self.state == READY and not self.is_expired(now)

    @property
    def downloads_left(self) -> int | None:
        """Downloads until the cap is reached; None without a cap."""
        return None if self.max_downloads is None else max(0, self.max_downloads - self.download_count)

    @property
    def is_used_up(self) -> bool:
        return self.downloads_left == 0

    @property
    def may_have_raw(self) -> bool:
        """Whether there may be a raw object of the file, or parts of one."""
        return self.upload_id is not None or self.raw_until is not None


def tombstone(record: Record, now: datetime) -> Record:
    """What stays of a deleted file for a while, so that no late write brings it back.

    It says only what is needed to remove the rest.
    """
    return dataclasses.replace(
        record,
        state=DELETED,
        deleted_at=now,
        original_name="",
        content_type="application/octet-stream",
        sha256=None,
        password_hash=None,
    )


class Document(Protocol):
    """What the loop needs of the data classes that it changes."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def file_id(self) -> str: ...

    @property
    def revision(self) -> int: ...

    @property
    def writes(self) -> tuple[tuple[str, float], ...]: ...


D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Versioned(Generic[D]):
    """A document as it was read or written, with the etag that stands for exactly that; an empty one for no object."""

    record: D
    etag: str


Stored = Versioned[Record]


@dataclass(frozen=True, slots=True)
class Kind(Generic[D]):
    """How documents of one class are stored. `decode` is given the file's ID and raises `DamagedFile`."""

    encode: Callable[[D], bytes]
    decode: Callable[[str, bytes], D]


class ConditionalWrites:
    """Documents changed by conditional write alone. `clock` gives aware UTC times; `sleep` and so on time the waits."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Callable[[], datetime],
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.store = store
        self._clock = clock
        self._sleep = sleep
        self._monotonic = monotonic
        self._jitter = jitter

    def attempts(self, file_id: str) -> Attempts:
        """A bound for several updates together."""
        return Attempts(self, file_id)

    def read(self, kind: Kind[D], key: str, file_id: str) -> Versioned[D]:
        """Raises `NotFound` and `DamagedFile`."""
        data, etag = self.store.read(key)
        return Versioned(kind.decode(file_id, data), etag)

    def apply(
        self, kind: Kind[D], key: str, change: Callable[[D], D], base: Versioned[D], attempts: Attempts
    ) -> Versioned[D]:
        """Apply a pure change to the latest document, exactly once, however many others write at the same time.

        `base` is what was read, maybe a while ago. `change` may raise to refuse; returning its argument changes
        nothing. Raises `UnknownFile`, `DamagedFile`, `Contended` and `OutcomeUnknown`; `StorageFull` and
        `StorageUnavailable` only if nothing was written.
        """
        current = base
        while True:
            changed = change(current.record)
            if changed is current.record:
                return current
            new, write_id = self._stamped(changed)
            with attempts.reporting():
                written, current = self._write(kind, key, attempts, current, new, write_id)
            if written:
                return current

    def _write(
        self, kind: Kind[D], key: str, attempts: Attempts, base: Versioned[D], new: D, write_id: str
    ) -> tuple[bool, Versioned[D]]:
        """Repeat one write until it is known to be in (True) or to have lost (False, with what won)."""
        data, condition = kind.encode(new), Matches(base.etag) if base.etag else ABSENT
        while True:
            try:
                return True, Versioned(new, self.store.put(key, data, condition))
            except NotFound as error:
                raise UnknownFile(new.file_id) from error
            except Ambiguous:
                attempts.uncertain = True
            except NotSent as error:
                attempts.wait(error)
                continue
            except (AlreadyExists, Changed):
                # Read after the pause, so that what is written next builds on what is not long out of date.
                certain = not attempts.uncertain
                if certain:
                    attempts.wait()
                current = self._latest(kind, key, base)
                if not certain and _holds(current.record, write_id):
                    attempts.uncertain = False
                    return True, current
                if current.etag != base.etag:
                    metrics.add("CounterConflicts")
                    if not certain:
                        self._require_memory(base.record, current.record)
                        attempts.uncertain = False
                        attempts.wait()
                    return False, current
                if certain:
                    continue
            attempts.wait()

    def _latest(self, kind: Kind[D], key: str, base: Versioned[D]) -> Versioned[D]:
        try:
            return self.read(kind, key, base.record.file_id)
        except NotFound as error:
            if not base.etag:
                return base
            raise UnknownFile(base.record.file_id) from error

    def _require_memory(self, base: Document, current: Document) -> None:
        """Raise `OutcomeUnknown` unless every write since `base` is still listed, so that a missing ID is proof."""
        if current.revision - base.revision > len(current.writes):
            raise _unknown(base.file_id)

    def _stamped(self, document: D) -> tuple[D, str]:
        now = self._clock().timestamp()
        write_id = secrets.token_urlsafe(9)
        # Only ever cut at the front, whatever the clocks of others said: without gaps, a missing ID proves something.
        recent = itertools.dropwhile(lambda write: write[1] <= now - REMEMBER_WRITES_FOR, document.writes)
        writes = (*list(recent)[-(REMEMBER_WRITES - 1) :], (write_id, round(now, 3)))
        return dataclasses.replace(document, revision=document.revision + 1, writes=writes), write_id


class Records(ConditionalWrites):
    """Records in an object store."""

    def get(self, file_id: str) -> Stored:
        """Raises `UnknownFile` and `DamagedFile`."""
        try:
            return self.read(_RECORD, record_key(file_id), file_id)
        except NotFound as error:
            raise UnknownFile(file_id) from error

    def get_many(self, file_ids: Iterable[str]) -> Iterator[Record]:
        """Records in the order of the IDs; those that are gone are left out, damaged ones too, with a log line."""
        for key, data in self.store.read_many(map(record_key, file_ids)):
            try:
                yield decode(file_id_of(key), data)
            except DamagedFile as error:
                log.error("%s", error)

    def ids(self, after: str = "") -> Iterator[str]:
        """IDs that have a record, whatever its state, sorted."""
        for key in self.store.list(METADATA, record_key(after) if after else ""):
            file_id = file_id_of(key)
            if key == record_key(file_id):
                yield file_id

    def create(self, record: Record) -> Stored:
        """Write a record under an ID that was never used before. Raises `OutcomeUnknown` and `Contended`.

        After `StorageFull` and `Contended` there is certainly no record.
        """
        new, write_id = self._stamped(record)
        attempts = self.attempts(record.file_id)
        with attempts.reporting():
            return self._create(new, write_id, attempts)

    def _create(self, record: Record, write_id: str, attempts: Attempts) -> Stored:
        while True:
            try:
                return Versioned(record, self.store.put(record_key(record.file_id), encode(record), ABSENT))
            except (AlreadyExists, Changed):
                # The ID is random and ours alone: whatever is there came from an earlier try of this loop.
                try:
                    stored = self.get(record.file_id)
                except UnknownFile:
                    attempts.wait()
                    continue
                if _holds(stored.record, write_id):
                    return stored
                raise
            except Ambiguous:
                attempts.uncertain = True
                attempts.wait()
            except NotSent as error:
                attempts.wait(error)

    def update(
        self,
        file_id: str,
        change: Callable[[Record], Record],
        seen: Stored | None = None,
        attempts: Attempts | None = None,
    ) -> Stored:
        """As `apply`. `seen` saves a read where it still is the latest."""
        attempts = attempts or self.attempts(file_id)
        return self.apply(_RECORD, record_key(file_id), change, seen or self.get(file_id), attempts)


class Attempts:
    """The bound on one caller's tries, and the waits between them: exponential, capped, with full jitter."""

    def __init__(self, loop: ConditionalWrites, file_id: str) -> None:
        self._loop = loop
        self._file_id = file_id
        self._deadline = loop._monotonic() + RETRY_FOR
        self._pause = BACKOFF_BASE
        self.uncertain = False

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Report a refusal as `OutcomeUnknown` where an earlier try may be in, since it does not prove the contrary."""
        try:
            yield
        except (StorageFull, StorageUnavailable) as error:
            if self.uncertain:
                raise _unknown(self._file_id) from error
            raise

    def wait(self, unsent: NotSent | None = None) -> None:
        """Pause before the next try, or report why there is none: `unsent` if it is given, else too many writers."""
        loop = self._loop
        pause = self._pause * loop._jitter()
        if loop._monotonic() + pause >= self._deadline:
            if self.uncertain:
                raise _unknown(self._file_id)
            if unsent is not None:
                raise StorageUnavailable(unsent.reason) from unsent
            raise Contended(self._file_id)
        metrics.add("Retries")
        loop._sleep(pause)
        self._pause = min(self._pause * 2, BACKOFF_CAP)


def _unknown(file_id: str) -> OutcomeUnknown:
    log.error("outcome unknown of a write for %s", file_id)
    return OutcomeUnknown(file_id)


def _holds(document: Document, write_id: str) -> bool:
    return any(known == write_id for known, _ in document.writes)


_TIMES = ("created_at", "expires_at", "used_up_at", "raw_until", "raw_removed_since", "deleted_at")
# What a record has that says nothing about it.
# These go into headers as they are, and a line break would begin another header.
_CONTENT_TYPE = re.compile(r"[ -~]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEFAULTS: dict[str, Any] = {
    "first_cell": 0,
    "upload_id": None,
    "announced_size": None,
    "sealed": True,
    "raw_until": None,
    "raw_removed_since": None,
    "deleted_at": None,
}


def encode(record: Record) -> bytes:
    known = {entry.name: getattr(record, entry.name) for entry in dataclasses.fields(Record) if entry.name != "unknown"}
    for name in _TIMES:
        known[name] = rfc3339(known[name])
    return json.dumps({**record.unknown, **known}, ensure_ascii=False, allow_nan=False).encode()


@functools.lru_cache(maxsize=DECODED)
def decode(file_id: str, data: bytes) -> Record:
    """Raises `DamagedFile` for anything that `encode` cannot have written for this ID."""
    try:
        record = _record(parse_json(data))
        if record.file_id != file_id:
            raise ValueError("the record of another file")
        if b"\\u" in data or record.unknown:
            # Only an escape can smuggle in a lone surrogate, which no answer of ours could carry, and only what is
            # unknown an infinite number.
            encode(record)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedFile(file_id, f"the record cannot be read: {type(error).__name__}: {error}"[:200]) from error
    return record


_RECORD = Kind(encode, decode)


def parse_json(data: bytes) -> Any:
    """JSON as RFC 8259 has it and no more: no duplicate keys, no NaN. Raises `ValueError` and `RecursionError`.

    A number that is too large is infinite, though.
    """
    return json.loads(data.decode(), object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)


def parse_writes(value: list[Any]) -> tuple[tuple[str, float], ...]:
    """The IDs of recent writes. Raises `ValueError`."""
    # Plain loops: a hot file's record has hundreds, and each download reads them.
    if not all(type(item) is list and len(item) == 2 for item in value):
        raise ValueError("writes is of the wrong type")
    if not all(type(write_id) is str and type(at) in (int, float) and math.isfinite(at) for write_id, at in value):
        raise ValueError("writes is of the wrong type")
    return tuple((write_id, float(at)) for write_id, at in value)


def rfc3339(moment: datetime | None) -> str | None:
    """The moment in UTC as RFC 3339 has it, to the millisecond."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _record(values: Any) -> Record:
    if not isinstance(values, dict):
        raise TypeError("not an object")

    def take(name: str, *kinds: type) -> Any:
        value = values.pop(name)
        # bool is an int to isinstance, and never a value here.
        if type(value) not in kinds:
            raise ValueError(f"{name} is of the wrong type")
        return value

    def text(name: str, form: re.Pattern[str], *kinds: type) -> Any:
        value = take(name, str, *kinds)
        if value is not None and not form.fullmatch(value):
            raise ValueError(f"{name} is not of its form")
        return value

    def number(name: str, least: int, *kinds: type) -> Any:
        value = take(name, int, *kinds)
        if value is not None and value < least:
            raise ValueError(f"{name} is too small")
        return value

    def moment(name: str, *kinds: type) -> Any:
        value = take(name, str, *kinds)
        if value is None:
            return None
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is None:
            raise ValueError(f"{name} has no time zone")
        return parsed.astimezone(UTC)

    values = {**_DEFAULTS, **values}
    nothing = type(None)
    state = take("state", str)
    if state not in (UPLOADING, READY, DELETED):
        raise ValueError("state is none of ours")
    # Records that were written before there were cells have none.
    cells = take("cells", int) if "cells" in values else 0
    if cells not in (CLOSED, *CELLS):
        raise ValueError("cells is none of ours")
    return Record(
        file_id=take("file_id", str),
        state=state,
        original_name=take("original_name", str),
        content_type=text("content_type", _CONTENT_TYPE),
        file_size=number("file_size", 0),
        sha256=text("sha256", _SHA256, nothing),
        created_at=moment("created_at"),
        expires_at=moment("expires_at", nothing),
        max_downloads=number("max_downloads", 1, nothing),
        download_count=number("download_count", 0),
        used_up_at=moment("used_up_at", nothing),
        password_hash=take("password_hash", str, nothing),
        cells=cells,
        first_cell=number("first_cell", 0),
        upload_id=take("upload_id", str, nothing),
        announced_size=number("announced_size", 0, nothing),
        sealed=take("sealed", bool),
        raw_until=moment("raw_until", nothing),
        raw_removed_since=moment("raw_removed_since", nothing),
        deleted_at=moment("deleted_at", nothing),
        revision=number("revision", 0),
        writes=parse_writes(take("writes", list)),
        unknown=values,
    )


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
