"""Housekeeping: removes expired and used-up files, and what crashes left behind.

Each entry in the index of due files names a file, an inbox or several files, and the record of each alone decides what
to do. Entries are removed last, so a sweep can be killed at any point: the next one resumes. Several sweeps can run at
the same time.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta

from shared.errors import UnknownFile
from shared.inboxes import Inboxes
from shared.places import RESERVED_FOR, Places
from shared.redirects import remove_raw
from shared.retention import (
    KEEP_TOMBSTONE_FOR,
    KEEP_UNFINISHED_FOR,
    KEEP_USED_UP_FOR,
    UPLOAD_WITHIN,
    entries,
    has_ended,
    next_look,
)
from shared.sealing import seal
from shared.sharing import FILE_ID, Shares
from shared.storage.contract import NotFound
from shared.storage.expiries import several
from shared.storage.keys import INBOX_ENTRY, SEVERAL_ENTRY, blob_key, file_id_of, record_key
from shared.storage.probe import discard_old
from shared.storage.records import DELETED, UPLOADING, Record, tombstone

log = logging.getLogger(__name__)

PARALLEL = 16
SWEEP_EVERY = 3600.0  # seconds
# Keys to collect before removing them together: the maximum for one request to S3.
GATHERED = 1000
# A probe takes only seconds.
PROBES_END_WITHIN = timedelta(days=1)


@dataclass(slots=True)
class Swept:
    """The counts of one run.

    `removed`: files that had ended. `sealed`: files whose blob was missing. `leftovers`: IDs without a record, and
    unfinished writes. `failed`: files that the next run tries again.
    """

    removed: int = 0
    sealed: int = 0
    leftovers: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Settled:
    """The outcome for one file: keys to remove now, entries to remove after them, and what it `counts` as."""

    keys: Sequence[str] = ()
    entries: Sequence[str] = ()
    counts: str | None = None


class Sweep:
    """One run over the files of `shares`, in `threads` that end with it."""

    def __init__(self, shares: Shares, threads: Executor | None = None) -> None:
        self._shares = shares
        self._threads = threads or ThreadPoolExecutor(PARALLEL, thread_name_prefix="sweep")
        self._swept = Swept()
        self._gathered: list[_Settled] = []

    def run(self) -> Swept:
        """Handle every due file, 16 at a time.

        If a file fails, log it and leave it for the next run. Raises `StorageUnavailable` if the entries cannot be
        listed.
        """
        with self._threads as pool:
            running: dict[Future[_Settled], str] = {}
            for key in self._shares.expiries.due():
                file_id = file_id_of(key)
                # Submit only as many as can run, so that a process that ends has little to wait for. Handle entries of
                # one file one after the other, or two threads would make its blob.
                while len(running) == PARALLEL or file_id in running.values():
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    self._gather(done)
                    running = {future: other for future, other in running.items() if future not in done}
                running[pool.submit(self._attempt, key, file_id)] = file_id
            self._gather(running)
        self._remove_gathered()
        self._discard_unfinished()
        return self._swept

    def _attempt(self, key: str, file_id: str) -> _Settled:
        try:
            return self._settle(key, file_id)
        except Exception:
            # Handle the other files nevertheless.
            log.exception("left for the next sweep", extra={"file_id": file_id})
            return _Settled(counts="failed")

    def _settle(self, key: str, file_id: str) -> _Settled:
        """Do what is due for the file, or inbox, of an entry."""
        shares = self._shares
        if file_id.startswith(SEVERAL_ENTRY):
            return self._settle_several(key, file_id)
        if not FILE_ID.fullmatch(file_id.removeprefix(INBOX_ENTRY)):
            return _Settled(entries=[key])
        if file_id.startswith(INBOX_ENTRY):
            return self._settle_inbox(key, file_id)
        counts = None
        try:
            stored = shares.records.get(file_id)
        except UnknownFile:
            if not self._exists(key):
                # Another sweep has finished this file.
                return _Settled()
            # Another sweep may be about to remove the entry that led here.
            shares.expiries.add(file_id, shares.now() + KEEP_TOMBSTONE_FOR)
            record, counts = shares.records.bar(file_id, shares.now()), "leftovers"
        else:
            if has_ended(stored.record, shares.now()):
                shares.keep_place(stored.record)
            record = shares.records.update(file_id, self._ended, stored).record
            if stored.record.state != DELETED:
                counts = "removed"
        return self._remove(record, key, counts) if record.state == DELETED else self._keep(record, key)

    def _settle_inbox(self, key: str, file_id: str) -> _Settled:
        look = Inboxes(self._shares).tidy(file_id.removeprefix(INBOX_ENTRY))
        if look is not None:
            self._shares.expiries.add(file_id, look)
        return _Settled(entries=[key], counts="removed" if look is None else None)

    def _settle_several(self, key: str, name: str) -> _Settled:
        """File each blob without a record under an entry of its own. Files that arrived have the entries they need."""
        for file_id in several(name):
            if not self._exists(record_key(file_id)) and self._exists(blob_key(file_id)):
                self._shares.expiries.add(file_id, self._shares.now())
        return _Settled(entries=[key])

    def _exists(self, key: str) -> bool:
        try:
            self._shares.store.stat(key)
        except NotFound:
            return False
        return True

    def _ended(self, record: Record) -> Record:
        now = self._shares.now()
        return tombstone(record, now) if has_ended(record, now) else record

    def _remove(self, record: Record, key: str, counts: str | None) -> _Settled:
        """Remove a deleted file: its bytes at once, its record and entries an hour later."""
        shares, now = self._shares, self._shares.now()
        if not record.sealed:
            shares.store.multipart.abort(blob_key(record.file_id))
        shares.forget_parts(record)
        keys = shares.remains(record)
        # Old releases had no tombstones, so their deleted records have no time.
        if record.deleted_at is not None and record.deleted_at + KEEP_TOMBSTONE_FOR > now:
            return _Settled(keys, counts=counts)
        return _Settled([*keys, record_key(record.file_id)], [key, *entries(record, now)], counts)

    def _keep(self, record: Record, key: str) -> _Settled:
        """Do what is due for a file that is to stay, and schedule its next check."""
        shares, file_id = self._shares, record.file_id
        if record.state == UPLOADING:
            due = record.created_at + UPLOAD_WITHIN
            if record.inbox_id is not None:
                if not Places(shares).holds(record):
                    # Its place may be another file's by now.
                    shares.end(record)
                    return _Settled(counts="removed")
                due = shares.now() + RESERVED_FOR
            shares.expiries.add(file_id, due)
            return _Settled(entries=[key])
        if record.cells > 0:
            shares.fold_if_quiet(file_id)
        counts = "sealed" if not record.sealed and seal(shares, file_id) else None
        if record.raw_until is None:
            # A directory may still have parts if the process was killed just after it completed a direct upload.
            shares.forget_parts(record)
        elif record.raw_until > shares.now():
            shares.expiries.add(file_id, record.raw_until)
        elif not remove_raw(shares, file_id):
            return _Settled(counts=counts)
        look = next_look(record, shares.now())
        if look is not None:
            shares.expiries.add(file_id, look)
        if record.used_up_at is not None:
            shares.expiries.add(file_id, record.used_up_at + KEEP_USED_UP_FOR)
        return _Settled(entries=[key], counts=counts)

    def _gather(self, done: Iterable[Future[_Settled]]) -> None:
        for future in done:
            settled = future.result()
            if settled.counts is not None:
                setattr(self._swept, settled.counts, getattr(self._swept, settled.counts) + 1)
            self._gathered.append(settled)
        if sum(len(settled.keys) + len(settled.entries) for settled in self._gathered) >= GATHERED:
            self._remove_gathered()

    def _remove_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        try:
            self._remove_keys(gathered)
        except Exception:
            # One failure must not keep the entries of all files.
            for settled in gathered:
                with self._tolerating():
                    self._remove_keys([settled])

    def _remove_keys(self, gathered: Sequence[_Settled]) -> None:
        for keys in ([it.keys for it in gathered], [it.entries for it in gathered]):
            together = [key for several in keys for key in several]
            if together:
                self._shares.store.delete(*together)

    def _discard_unfinished(self) -> None:
        """Remove leftovers without an entry: staged files, probes, and unfinished uploads of old releases."""
        store, now = self._shares.store, self._shares.now()
        with self._tolerating():
            self._swept.leftovers += store.discard_unfinished(now - KEEP_UNFINISHED_FOR)
        with self._tolerating():
            self._swept.leftovers += discard_old(store, now - PROBES_END_WITHIN)

    @contextlib.contextmanager
    def _tolerating(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            log.exception("left for the next sweep")
            self._swept.failed += 1


def sweep_hourly(sweep: Callable[[], object], wait: Callable[[float], bool]) -> None:
    """Sweep an hour after the end of the previous sweep, until `wait(seconds)` is true. A schedule does this on AWS."""
    # Several workers may sweep, so let them start at different times.
    pause = random.uniform(0, 60)
    while not wait(pause):
        pause = SWEEP_EVERY
        try:
            sweep()
        except Exception:
            log.exception("the sweep failed; the next one is in an hour")
