"""File IDs that a process reserves ahead for small files, so that most of their uploads write no expiry entry.

The entry of an upload, which leads the sweep to what a crash leaves of it, must be stored before the first byte. One
entry can do this for several IDs. So after the second small file, and whenever no ID is left, some are reserved for the
files that follow, twice as many as last time. Those that are never used cost the sweep two requests each.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import StorageFull, StorageUnavailable
from shared.retention import KEEP_UNFINISHED_FOR
from shared.storage.expiries import Expiries

log = logging.getLogger(__name__)

# Bytes of a small file: S3 gets it in one request, so that a crash leaves no parts of it.
SMALL = 1024 * 1024
# How many IDs one entry is for.
LEAST, MOST = 2, 16
USABLE_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class IdAhead:
    """An ID whose entry was made at `since`."""

    file_id: str
    since: datetime


class IdsAhead:
    """The IDs of one process. `clock` returns aware UTC times. `most` is the size of a file; None if unknown."""

    def __init__(self, expiries: Expiries, clock: Callable[[], datetime]) -> None:
        self._expiries = expiries
        self._clock = clock
        self._ahead: deque[IdAhead] = deque()
        self._count = 0

    def take(self, most: int | None) -> IdAhead | None:
        """An ID for a small file, if there is one."""
        while _is_small(most):
            try:
                ahead = self._ahead.popleft()
            except IndexError:
                break
            if self._clock() < ahead.since + USABLE_FOR:
                return ahead
            self._count = 0
        return None

    def reserve(self, most: int | None) -> None:
        """Reserve IDs for those that will probably follow a small file that has arrived, unless it was the first one.

        If that fails, they write entries of their own.
        """
        if not _is_small(most):
            return
        count, self._count = self._count, min(max(LEAST, 2 * self._count), MOST)
        if count == 0:
            return
        now = self._clock()
        try:
            file_ids = self._expiries.add_several(count, now + KEEP_UNFINISHED_FOR)
        except (StorageFull, StorageUnavailable) as error:
            log.warning("no IDs were reserved ahead: %s", error)
            return
        self._ahead.extend(IdAhead(file_id, now) for file_id in file_ids)


def _is_small(most: int | None) -> bool:
    return most is not None and most <= SMALL
