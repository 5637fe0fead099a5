"""Counting downloads: exactly, and together where they meet.

Downloads of one file that arrive in this process while a count is being written wait for the next write and share it,
so that a burst costs a few writes and not one each. Other processes and machines are met by conditional writes alone,
and where those conflict the counter of a file without a cap widens: its record names 16 and then 64 cells to count in.
The total is the record's count and what the cells hold. A reader reads the record first, so a cell that is not named
there counted nothing before the reader began.

Reading a file with cells costs as many reads. Once it is quiet these are closed and folded into the record, which may
name others later, with numbers of their own.

A cap needs one history, the record's. Before it is set on a file with cells these are closed, and their sum is folded
into the record by the one write that says so. A download that meets a closed cell is counted in the record, which can
always count.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import datetime

from shared.errors import DamagedFile, ShareError, UnknownFile
from shared.storage.counting.cells import Cells, Outcome
from shared.storage.documents import Attempts
from shared.storage.records import CELLS, CLOSED, READY, Record, Records, Stored

TURNS = 256
# Conflicts that one write may meet before the counter widens, to 16 cells and then to 64. Simulated with reads of 18 ms
# and writes of 28 ms, a burst of 1,000 within 250 ms ends with a p99 of 1.3 s; with 1 and 1 it is 1.2 s, but then two
# clients that meet once would cost 16 reads ever after, and with 2 and 2 or 3 and 1 it is 1.4 to 1.6 s.
WIDEN_AFTER = 2
WIDEN_AGAIN_AFTER = 1


class _Batch:
    """Downloads that will be counted by one write, and what becomes of each, in their order of arrival."""

    def __init__(self) -> None:
        self.members: list[Future[Stored | None]] = []
        self.base: Stored | None = None


class Counter:
    """Counts downloads in the records of their files.

    `before_last` is called with the record before the write that spends the last download of a cap, perhaps repeatedly,
    `after_widening` with the record that names cells, perhaps repeatedly; it must not raise.
    `pick` chooses one of so many cells.
    """

    def __init__(
        self,
        records: Records,
        clock: Callable[[], datetime],
        before_last: Callable[[Record], None],
        pick: Callable[[int], int] = random.randrange,
        after_widening: Callable[[Record], None] = lambda _record: None,
    ) -> None:
        self._records = records
        self._cells = Cells(records, pick)
        self._clock = clock
        self._before_last = before_last
        self._after_widening = after_widening
        self._guard = threading.Lock()
        self._forming: dict[str, _Batch] = {}
        # A file's batches are written one after another. Files that share a lock merely wait for each other.
        self._turns = tuple(threading.Lock() for _ in range(TURNS))

    def count(self, seen: Stored, allow: Callable[[Record], None]) -> Stored | None:
        """Count one download of the file that was read as `seen`; None if its cap leaves none for us.

        `allow` is asked about the latest record and raises to refuse, for all that wait together. Returns once the
        count is durable. Raises what `Records.update` raises.
        """
        file_id = seen.record.file_id
        mine: Future[Stored | None] = Future()
        with self._guard:
            batch = self._forming.get(file_id)
            leads = batch is None
            if batch is None:
                batch = self._forming[file_id] = _Batch()
            batch.members.append(mine)
        if leads:
            with self._turns[zlib.crc32(file_id.encode()) % TURNS]:
                with self._guard:
                    del self._forming[file_id]
                self._commit(batch, batch.base or seen, allow)
        return mine.result()

    def totals(self, records: Iterable[Record]) -> list[Record | ShareError]:
        """The same records with the downloads counted in cells added: at least all that were before each was read.

        In the place of a record is an `UnknownFile` if it was deleted meanwhile, or the `DamagedFile` of its cells.
        """
        listed = list(records)
        widened = {record.file_id: record.cell_numbers for record in listed if record.cells > 0}
        if not widened:
            return list(listed)
        totals = self._cells.totals(widened)
        # Cells are deleted once the record says so, and their sum means nothing then.
        alive = {record.file_id for record in self._records.get_many(widened) if record.state == READY}

        def total(record: Record) -> Record | ShareError:
            if record.file_id not in widened:
                return record
            held = totals[record.file_id]
            if record.file_id not in alive:
                return UnknownFile(record.file_id)
            if isinstance(held, DamagedFile):
                return held
            return dataclasses.replace(record, download_count=record.download_count + held)

        return [total(record) for record in listed]

    def last_counted(self, record: Record) -> float:
        """When a download of a file with cells was counted last, as seconds since 1970. Raises `DamagedFile`."""
        own = max((at for _, at in record.writes), default=0.0)
        return max(own, self._cells.last_write(record.file_id, record.cell_numbers))

    def fold(self, stored: Stored, *, may_widen: bool = False) -> Stored:
        """Have the record alone count, for ever unless it `may_widen` again; the record then.

        The cells stay, closed, for downloads that still come to them. Raises what `Records.update` raises.
        """
        while stored.record.cells > 0:
            record = stored.record
            held = self._cells.close(record.file_id, record.cell_numbers)

            def fold(latest: Record, folded: range = record.cell_numbers, held: int = held) -> Record:
                if latest.state != READY:
                    raise UnknownFile(latest.file_id)
                if latest.cell_numbers != folded:
                    return latest
                return dataclasses.replace(
                    latest,
                    download_count=latest.download_count + held,
                    cells=0 if may_widen else CLOSED,
                    first_cell=folded.stop,
                )

            try:
                stored = self._records.update(record.file_id, fold, stored)
            except UnknownFile:
                # Its deletion may have looked for cells before these were made to be closed.
                self._cells.remove(record.file_id)
                raise
        return stored

    def cells(self, record: Record) -> list[str]:
        """The keys of the cells that a file has."""
        return [] if record.cells == record.first_cell == 0 else self._cells.keys(record.file_id)

    def _commit(self, batch: _Batch, seen: Stored, allow: Callable[[Record], None]) -> None:
        try:
            stored, granted, written = self._count(batch, seen, allow)
        except BaseException as error:
            # All that wait must be notified of it, whatever it is.
            for member in batch.members:
                member.set_exception(error)
            return
        with self._guard:
            waiting = self._forming.get(stored.record.file_id)
            if waiting is not None and written:
                # What its leader read is out of date by this very write.
                waiting.base = stored
        for position, member in enumerate(batch.members):
            member.set_result(stored if position < granted else None)

    def _count(self, batch: _Batch, seen: Stored, allow: Callable[[Record], None]) -> tuple[Stored, int, bool]:
        """The record then, how many of the batch are granted, and whether the record was written for them."""
        file_id = seen.record.file_id
        attempts = self._records.attempts(file_id)
        granted = tries = 0
        use_cells = True
        written = False

        def add(record: Record) -> Record:
            nonlocal granted, tries, written
            allow(record)
            tries += 1
            written = False
            granted = len(batch.members)
            if record.downloads_left is not None:
                granted = min(granted, record.downloads_left)
            if not granted or (record.cells > 0 and use_cells):
                return record
            written = True
            counted = dataclasses.replace(record, download_count=record.download_count + granted)
            if record.max_downloads is None and record.cells == 0 and tries > WIDEN_AFTER:
                return dataclasses.replace(counted, cells=CELLS[1])
            if not counted.is_used_up:
                return counted
            self._before_last(counted)
            return dataclasses.replace(counted, used_up_at=self._clock())

        stored = seen
        while True:
            stored = self._records.update(file_id, add, stored, attempts)
            if written and stored.record.cells > 0:
                self._after_widening(stored.record)
            if written or not granted:
                return stored, granted, written
            match self._add_to_cell(stored.record, granted, attempts):
                case Outcome.CLOSED:
                    use_cells = False
                    stored = self._records.get(file_id)
                case Outcome.CROWDED:
                    # Read first, since others come to the same conclusion.
                    stored = self._records.update(file_id, _widened, attempts=attempts)
                case Outcome.COUNTED | Outcome.CREATED:
                    return stored, granted, written

    def _add_to_cell(self, record: Record, downloads: int, attempts: Attempts) -> Outcome:
        file_id = record.file_id
        conflicts = None if record.cells == CELLS[-1] else WIDEN_AGAIN_AFTER
        outcome = self._cells.add(file_id, record.cell_numbers, downloads, conflicts, attempts)
        if outcome is Outcome.CREATED:
            # A deletion may have looked for cells before this one was there.
            try:
                gone = self._records.get(file_id).record.state != READY
            except UnknownFile:
                gone = True
            if gone:
                self._cells.remove(file_id)
                raise UnknownFile(file_id)
        return outcome


def _widened(record: Record) -> Record:
    return dataclasses.replace(record, cells=CELLS[-1]) if 0 < record.cells < CELLS[-1] else record
