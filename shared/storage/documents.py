"""Documents that many processes change at the same time, and the loop that writes them.

Conditional writes are the only coordination. Every write has an ID. Where storage may not answer, the document keeps
the IDs of recent writes: they show whether a write without an answer was applied. Elsewhere it keeps only the last one:
each download reads the record, and all IDs would make that of a busy file 13 times as large.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Generic

from msgspec import structs

from shared import metrics
from shared.errors import Contended, OutcomeUnknown, StorageFull, StorageUnavailable, UnknownFile
from shared.storage.codec import Codec, D, Document
from shared.storage.contract import ABSENT, AlreadyExists, Ambiguous, Changed, Matches, NotFound, NotSent, ObjectStore

log = logging.getLogger(__name__)

RETRY_FOR = 10.0  # seconds
BACKOFF_BASE = 0.01
BACKOFF_CAP = 0.5
REMEMBER_WRITES_FOR = 60.0  # seconds
REMEMBER_WRITES = 256


@dataclass(frozen=True)
class Versioned(Generic[D]):
    """A document with its etag, which is empty if there is no object yet."""

    record: D
    etag: str


class Documents:
    """Documents in an object store. `clock` returns aware UTC times; `sleep`, `monotonic` and `jitter` time retries."""

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
        """A common time limit for several writes."""
        return Attempts(self, file_id)

    def read(self, codec: Codec[D], key: str, file_id: str) -> Versioned[D]:
        """Raises `NotFound` and `DamagedFile`."""
        data, etag = self.store.read(key)
        return Versioned(codec.decode(file_id, data), etag)

    def insert(self, codec: Codec[D], key: str, document: D) -> Versioned[D]:
        """Write a document under a key that nobody else knows. Raises `OutcomeUnknown` and `Contended`.

        After `StorageFull` and `Contended`, there is certainly no document. Raises `AlreadyExists` if there was one.
        """
        new, write_id = self._stamped(document)
        attempts = self.attempts(document.file_id)
        with attempts.reporting():
            written, current = self._write(codec, key, attempts, Versioned(document, ""), new, write_id)
        if not written:
            raise AlreadyExists(key)
        return current

    def apply(
        self, codec: Codec[D], key: str, change: Callable[[D], D], base: Versioned[D], attempts: Attempts
    ) -> Versioned[D]:
        """Apply a pure change to the latest document, exactly once, however many others write at the same time.

        `base` is an earlier version, which can be outdated. `change` can raise to refuse; if it returns its argument,
        nothing changes. Raises `UnknownFile`, `DamagedFile`, `Contended` and `OutcomeUnknown`; `StorageFull` and
        `StorageUnavailable` only if nothing was written.
        """
        current = base
        while True:
            new = change(current.record)
            if new is current.record:
                return current
            new, write_id = self._stamped(new)
            with attempts.reporting():
                applied, current = self._write(codec, key, attempts, current, new, write_id)
            if applied:
                return current

    def _write(
        self, codec: Codec[D], key: str, attempts: Attempts, base: Versioned[D], new: D, write_id: str
    ) -> tuple[bool, Versioned[D]]:
        """Repeat one write until it was certainly applied (True) or has lost (False, with the winner)."""
        data, condition = codec.encode(new), Matches(base.etag) if base.etag else ABSENT
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
                # Read after the pause, so that the next write builds on a recent version.
                certain = not attempts.uncertain
                if certain:
                    attempts.wait()
                current = self._latest(codec, key, base)
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

    def _latest(self, codec: Codec[D], key: str, base: Versioned[D]) -> Versioned[D]:
        try:
            return self.read(codec, key, base.record.file_id)
        except NotFound as error:
            if not base.etag:
                return base
            raise UnknownFile(base.record.file_id) from error

    def _require_memory(self, base: Document, current: Document) -> None:
        """Raise `OutcomeUnknown` unless the document lists all writes since `base`, so that a missing ID is proof."""
        if current.revision - base.revision > len(current.writes):
            raise _unknown(base.file_id)

    def _stamped(self, document: D) -> tuple[D, str]:
        """The next revision of a document, and the ID of the write that will store it."""
        now = self._clock().timestamp()
        write_id = secrets.token_urlsafe(9)
        # Only remove from the front, whatever the clocks of others said: a missing ID is proof only without gaps.
        recent = itertools.dropwhile(lambda write: write[1] <= now - REMEMBER_WRITES_FOR, document.writes)
        # The last one also tells when a file with cells was last downloaded.
        writes = deque(recent if self.store.can_be_ambiguous else (), REMEMBER_WRITES)
        writes.append((write_id, round(now, 3)))
        return structs.replace(document, revision=document.revision + 1, writes=(*writes,)), write_id


class Attempts:
    """The time limit for one caller's tries, and the pauses between them: exponential, limited, with full jitter.

    There is no pause before the second try: a pause would only help if the next write collided, too.
    """

    def __init__(self, documents: Documents, file_id: str) -> None:
        self._documents = documents
        self._file_id = file_id
        self._deadline = documents._monotonic() + RETRY_FOR
        self._pause = 0.0
        self.uncertain = False

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Report failures as `OutcomeUnknown` if an earlier try may have been applied."""
        try:
            yield
        except (StorageFull, StorageUnavailable) as error:
            if self.uncertain:
                raise _unknown(self._file_id) from error
            raise

    def wait(self, unsent: NotSent | None = None) -> None:
        """Pause before the next try. When time is up, report `unsent` if there is one, else `Contended`."""
        documents = self._documents
        pause = self._pause * documents._jitter()
        if documents._monotonic() + pause >= self._deadline:
            if self.uncertain:
                raise _unknown(self._file_id)
            if unsent is not None:
                raise StorageUnavailable(unsent.reason) from unsent
            raise Contended(self._file_id)
        metrics.add("Retries")
        documents._sleep(pause)
        self._pause = min(max(self._pause * 2, BACKOFF_BASE), BACKOFF_CAP)


def _unknown(file_id: str) -> OutcomeUnknown:
    log.error("unknown outcome of a write for %s", file_id)
    return OutcomeUnknown(file_id)


def _holds(document: Document, write_id: str) -> bool:
    return any(other == write_id for other, _ in document.writes)
