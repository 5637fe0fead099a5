"""Counter cells: small documents beside the record of a hot file, which share the counting of its downloads.

One object takes about 20 conditional writes a second on S3, so a burst of downloads of one file would queue at its
record. The record says how many cells there are, and each download is counted in one of them, taken at random; what a
cell holds only grows. Where one history is needed again, for a cap, the cells are closed, each for good.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from shared.errors import DamagedFile
from shared.storage.codec import Codec, Writes
from shared.storage.contract import NotFound
from shared.storage.documents import Attempts, Documents, Versioned
from shared.storage.keys import cell_key, cells_prefix, file_id_of

PARALLEL_CLOSES = 16


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell holds. Closed, it never changes again; `revision`, `writes` and `unknown` are as in a record."""

    file_id: str
    count: Annotated[int, Meta(ge=0)] = 0
    closed: bool = False
    revision: Annotated[int, Meta(ge=0)] = 0
    writes: Writes = ()
    unknown: dict[str, Any] | UnsetType = UNSET


class Cells:
    """The cells of all files in an object store. `pick` chooses one of so many."""

    def __init__(self, documents: Documents, pick: Callable[[int], int]) -> None:
        self._documents = documents
        self._pick = pick

    def add(self, file_id: str, cells: range, downloads: int, attempts: Attempts) -> Cell | None:
        """Count so many downloads in one of these cells; the cell then, None if it is closed.

        Raises what `Documents.apply` raises; `UnknownFile` says that the cell, and so the file, was deleted.
        """
        key = cell_key(file_id, cells[self._pick(len(cells))])

        closed = False

        def count(cell: Cell) -> Cell:
            nonlocal closed
            closed = cell.closed
            return cell if closed else dataclasses.replace(cell, count=cell.count + downloads)

        cell = self._documents.apply(_CODEC, key, count, self._read(key, file_id), attempts).record
        # Not as the cell says by now: others may have closed it after we counted.
        return None if closed else cell

    def close(self, file_id: str, cells: range) -> int:
        """Close these cells, and say what they hold together from now on. May be called again, and twice at once."""

        def close(number: int) -> int:
            key = cell_key(file_id, number)
            attempts = self._documents.attempts(file_id)
            return self._documents.apply(_CODEC, key, _closed, self._read(key, file_id), attempts).record.count

        return sum(_in_parallel(close, cells))

    def last_write(self, file_id: str, cells: range) -> float:
        """When something was counted last in one of these cells, in seconds since 1970; 0 if never."""
        stored = self._documents.store.read_many(cell_key(file_id, number) for number in cells)
        return max((at for _, data in stored for _, at in _CODEC.decode(file_id, data).writes), default=0.0)

    def totals(self, cells: Mapping[str, range]) -> dict[str, int | DamagedFile]:
        """What the cells hold of each file, given as its ID with the numbers of its cells; read in parallel."""
        totals: dict[str, int | DamagedFile] = dict.fromkeys(cells, 0)
        keys = (cell_key(file_id, number) for file_id, numbers in cells.items() for number in numbers)
        for key, data in self._documents.store.read_many(keys):
            file_id = file_id_of(key)
            total = totals[file_id]
            if isinstance(total, DamagedFile):
                continue
            try:
                totals[file_id] = total + _CODEC.decode(file_id, data).count
            except DamagedFile as error:
                totals[file_id] = error
        return totals

    def keys(self, file_id: str) -> list[str]:
        """The keys of all cells that a file has."""
        return list(self._documents.store.list(cells_prefix(file_id)))

    def remove(self, file_id: str) -> None:
        """Remove all cells of a file that is gone."""
        self._documents.store.delete(*self.keys(file_id))

    def _read(self, key: str, file_id: str) -> Versioned[Cell]:
        try:
            return self._documents.read(_CODEC, key, file_id)
        except NotFound:
            return Versioned(Cell(file_id), "")


def _in_parallel(work: Callable[[int], int], numbers: Iterable[int]) -> Iterable[int]:
    with ThreadPoolExecutor(PARALLEL_CLOSES) as pool:
        return list(pool.map(work, numbers))


def _closed(cell: Cell) -> Cell:
    return cell if cell.closed else dataclasses.replace(cell, closed=True)


_CODEC = Codec(Cell)
