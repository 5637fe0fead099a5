"""The index of what falls due, by the hour, so that the sweep reads only what is due.

An entry says "look at this file then" and no more: its record decides. An entry can be too early, or left over; a file
without one that it needs would stay for ever, so an entry is written before what makes it needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.storage.contract import ObjectStore
from shared.storage.keys import EXPIRIES, entries_prefix, entry_key, file_id_of

# Longer than the write that an entry is filed for can take, so that the sweep does not look before it.
HEADSTART = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to look at."""

    key: str
    file_id: str


class Expiries:
    """Entries in an object store. `clock` gives aware UTC times."""

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def add(self, file_id: str, due: datetime) -> str:
        """Have the file looked at once the hour of `due` has passed, and return the key of that entry.

        At least ten minutes are left for what is to be written next.
        """
        key = entry_key(file_id, max(due, self._clock() + HEADSTART))
        self._store.put(key, b"")
        return key

    @contextlib.contextmanager
    def covering(self, file_id: str, *moments: datetime | None) -> Iterator[None]:
        """Have the file looked at at these moments because of the write that is made within."""
        began = self._clock()
        due = [moment for moment in moments if moment is not None]
        for moment in due:
            self.add(file_id, moment)
        yield
        if self._clock() - began >= HEADSTART:
            # The process was suspended, and the sweep may have looked before the write.
            for moment in due:
                self.add(file_id, moment)

    def due(self) -> Iterator[Entry]:
        """Entries whose hour has passed by the time they are reached, the oldest first."""
        for key in self._store.list(EXPIRIES):
            if key >= entries_prefix(self._clock()):
                return
            yield Entry(key, file_id_of(key))
