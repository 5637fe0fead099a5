"""Counter cells: small documents beside the record of a busy file, to share the counting of its downloads.

S3 takes about 20 conditional writes a second to one object, so a burst of downloads of one file would queue for its
record. The record says how many cells there are. Each download is counted in one of them, chosen at random, and the
count of a cell only grows. When a download limit requires a single history again, the cells are closed for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from msgspec import Meta, structs

from shared.errors import DamagedFile
from shared.storage.codec import Codec, Document
from shared.storage.contract import NotFound
from shared.storage.documents import Attempts, Documents, Versioned
from shared.storage.keys import cell_key, cells_prefix, file_id_of

PARALLEL_CLOSES = 16


class Cell(Document, frozen=True):
    """The content of one cell. Once closed, it never changes."""

    file_id: str
    count: Annotated[int, Meta(ge=0)] = 0
    closed: bool = False


class Cells:
    """The cells of all files in an object store. `pick(n)` chooses one of n."""

    def __init__(self, documents: Documents, pick: Callable[[int], int]) -> None:
        self._documents = documents
        self._pick = pick

    def add(self, file_id: str, cells: range, downloads: int, attempts: Attempts) -> Cell | None:
        """Count this many downloads in one of these cells, and return the cell; None if it is closed.

        Raises what `Documents.apply` raises; `UnknownFile` means that the cell, and so the file, was deleted.
        """
        key = cell_key(file_id, cells[self._pick(len(cells))])

        closed = False

        def count(cell: Cell) -> Cell:
            nonlocal closed
            closed = cell.closed
            return cell if closed else structs.replace(cell, count=cell.count + downloads)

        cell = self._documents.apply(_CODEC, key, count, self._read(key, file_id), attempts).record
        # Do not use `cell.closed`: others may have closed the cell after we counted.
        return None if closed else cell

    def close(self, file_id: str, cells: range) -> int:
        """Close these cells and return their final total. Can be called again, even twice at once."""

        def close(number: int) -> int:
            key = cell_key(file_id, number)
            attempts = self._documents.attempts(file_id)
            return self._documents.apply(_CODEC, key, _closed, self._read(key, file_id), attempts).record.count

        return sum(_in_parallel(close, cells))

    def last_write(self, file_id: str, cells: range) -> float:
        """When a download was last counted in one of these cells, in seconds since 1970; 0 if never."""
        stored = self._documents.store.read_many(cell_key(file_id, number) for number in cells)
        return max((at for _, data in stored for _, at in _CODEC.decode(file_id, data).writes), default=0.0)

    def totals(self, cells: Mapping[str, range]) -> dict[str, int | DamagedFile]:
        """The total in the cells of each file. `cells` maps file IDs to cell numbers. Reads cells in parallel."""
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
        """The keys of all cells of a file."""
        return list(self._documents.store.list(cells_prefix(file_id)))

    def remove(self, file_id: str) -> None:
        """Remove all cells of a deleted file."""
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
    return cell if cell.closed else structs.replace(cell, closed=True)


_CODEC = Codec(Cell)
