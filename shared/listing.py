"""Lists the files that are visible, in pages."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from shared.sharing import Shares
from shared.storage.records import Record

# Records that are read at once.
MAX_BATCH = 1001


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of one listing, sorted by ID; `more` says whether others follow."""

    files: list[Record]
    more: bool


def list_files(shares: Shares, after: str, limit: int, *, private: bool = False) -> Listing:
    """List at most `limit` visible files, perhaps `private` ones, after an ID. Damaged records are only logged."""
    now = shares.now()
    files: list[Record] = []
    ids = shares.records.ids(after)
    # One more than requested, to know whether there are more.
    size = limit + 1
    while True:
        batch = list(itertools.islice(ids, size))
        visible = [
            record
            for record in shares.records.get_many(batch)
            if record.is_visible(now) and (private or not record.is_private)
        ]
        files += shares.totals(visible)
        if len(files) > limit or not batch:
            return Listing(files[:limit], len(files) > limit)
        # Many files in a row may be invisible, and each batch waits for storage.
        size = min(2 * size, MAX_BATCH)
