"""Counting downloads, exactly.

Conditional writes are the only coordination. If they keep losing to other processes or machines, the counter of a file
without a download limit widens: its record names cells to count in. The total is the record's count plus the counts of
the cells. A reader reads the record first, so a cell that it does not name counted nothing before the reader began.

Reading the total of a file takes one read for each cell. Once the file is quiet, its cells are closed and folded into
the record. The record can name other cells later, with new numbers.

A download limit requires a single history: the record's. Before a limit is set on a file with cells, the cells are
closed. Then a single write to the record adds their sum and notes that they are closed. A download that finds its cell
closed is counted in the record, which can always count.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from shared.errors import DamagedFile, ShareError, UnknownFile
from shared.storage.counting.cells import Cells
from shared.storage.documents import Attempts
from shared.storage.records import CELLS, CLOSED, READY, Record, Records, Stored

# How many writes can lose before the counter widens. If that many clients meet once, none loses more often than that.
# With reads of 18 ms and writes of 28 ms, a burst of 1,000 within 250 ms has a p99 of 1.8 s; with 5, it is 1.5 s.
WIDEN_AFTER = 7


@dataclass(frozen=True, slots=True)
class Counted:
    """How many downloads were `granted`, and the file at that time."""

    stored: Stored
    granted: int


class Counter:
    """Counts downloads in the records of their files.

    `before_last` is called with the record before the write that uses the last download of a limit. `after_widening` is
    called with the record that names cells, and must not raise. Both may be called repeatedly.
    `pick(n)` chooses one of n cells.
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

    def count(self, seen: Stored, downloads: int, allow: Callable[[Record], None]) -> Counted:
        """Count this many downloads of the file that was read as `seen`, or as many as its limit leaves, in one write.

        `allow` gets the latest record and raises to refuse. Returns once the count is durable. Raises what
        `Records.update` raises.
        """
        file_id = seen.record.file_id
        attempts = self._records.attempts(file_id)
        granted = tries = 0
        written = False
        use_cells = True

        def add(record: Record) -> Record:
            nonlocal granted, tries, written
            allow(record)
            tries += 1
            granted = downloads if record.downloads_left is None else min(downloads, record.downloads_left)
            written = granted > 0 and not (use_cells and record.cells > 0)
            if not written:
                return record
            counted = structs.replace(record, download_count=record.download_count + granted)
            if record.max_downloads is None and record.cells == 0 and tries > WIDEN_AFTER:
                return structs.replace(counted, cells=CELLS)
            if not counted.is_used_up:
                return counted
            self._before_last(counted)
            return structs.replace(counted, used_up_at=self._clock())

        stored = self._records.update(file_id, add, seen, attempts)
        if granted and not written and not self._count_in_cell(stored.record, granted, attempts):
            use_cells = False
            stored = self._records.update(file_id, add, attempts=attempts)
        if written and stored.record.cells > 0:
            self._after_widening(stored.record)
        return Counted(stored, granted)

    def totals(self, records: Sequence[Record]) -> list[Record | ShareError]:
        """The same records plus the downloads counted in cells: at least all those before each record was read.

        Returns `UnknownFile` in place of a record deleted meanwhile, and `DamagedFile` for one with a damaged cell.
        """
        widened = {record.file_id: record.cell_numbers for record in records if record.cells > 0}
        if not widened:
            return [*records]
        totals = self._cells.totals(widened)
        # Once a record says *deleted*, its cells are removed, and their sum means nothing.
        alive = {record.file_id for record in self._records.get_many(widened) if record.state == READY}

        def total(record: Record) -> Record | ShareError:
            if record.file_id not in widened:
                return record
            held = totals[record.file_id]
            if record.file_id not in alive:
                return UnknownFile(record.file_id)
            if isinstance(held, DamagedFile):
                return held
            return structs.replace(record, download_count=record.download_count + held)

        return [total(record) for record in records]

    def last_counted(self, record: Record) -> float:
        """When a download of a file with cells was last counted, in seconds since 1970. Raises `DamagedFile`."""
        own = max((at for _, at in record.writes), default=0.0)
        return max(own, self._cells.last_write(record.file_id, record.cell_numbers))

    def fold(self, stored: Stored, *, may_widen: bool = False) -> Stored:
        """Make the record count alone, permanently unless it `may_widen` again, and return it.

        The closed cells stay, for downloads that still reach them. Raises what `Records.update` raises.
        """
        while stored.record.cells > 0:
            record = stored.record
            held = self._cells.close(record.file_id, record.cell_numbers)

            def fold(latest: Record, folded: range = record.cell_numbers, held: int = held) -> Record:
                if latest.state != READY:
                    raise UnknownFile(latest.file_id)
                if latest.cell_numbers != folded:
                    return latest
                return structs.replace(
                    latest,
                    download_count=latest.download_count + held,
                    cells=0 if may_widen else CLOSED,
                    first_cell=folded.stop,
                )

            try:
                stored = self._records.update(record.file_id, fold, stored)
            except UnknownFile:
                # The deletion may have looked for cells before `close` created these.
                self._cells.remove(record.file_id)
                raise
        return stored

    def cells(self, record: Record) -> list[str]:
        """The keys of the cells of a file."""
        return [] if record.cells == record.first_cell == 0 else self._cells.keys(record.file_id)

    def _count_in_cell(self, record: Record, downloads: int, attempts: Attempts) -> bool:
        """Count in one of the cells; False if it is closed. Raises `UnknownFile` if the file was deleted."""
        cell = self._cells.add(record.file_id, record.cell_numbers, downloads, attempts)
        if cell is not None and cell.revision == 1:
            # A deletion may have looked for cells before this one existed.
            try:
                gone = self._records.get(record.file_id).record.state != READY
            except UnknownFile:
                gone = True
            if gone:
                self._cells.remove(record.file_id)
                raise UnknownFile(record.file_id)
        return cell is not None
