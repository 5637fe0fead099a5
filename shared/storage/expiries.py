"""The index of due files, by the hour, so that the sweep reads only files that are due.

An entry only says "check this file then": the file's record decides. An entry can be too early or obsolete, but without
an entry that it needs, a file would stay forever. So an entry is always written before the change that requires it.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from shared.storage.contract import ObjectStore
from shared.storage.keys import EXPIRIES, INBOX_ENTRY, SEVERAL_ENTRY, entries_prefix, entry_key

# Longer than the write after an entry can take, so that the sweep does not check the file before it.
HEADSTART = timedelta(minutes=10)
# How many entries of inboxes a process remembers.
REMEMBERED = 1000


class Expiries:
    """Entries in an object store. `clock` returns aware UTC times."""

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._of_inboxes: set[str] = set()

    def add(self, file_id: str, due: datetime) -> str:
        """Schedule a check of the file once the hour of `due` has passed, and return the key of the entry.

        This leaves at least ten minutes for the next write.
        """
        key = entry_key(file_id, max(due, self._clock() + HEADSTART))
        if key not in self._of_inboxes:
            self._store.put(key, b"")
            if file_id.startswith(INBOX_ENTRY):
                # Nothing removes it before it is due, and all reservations of an hour need the same one.
                if len(self._of_inboxes) >= REMEMBERED:
                    self._of_inboxes.clear()
                self._of_inboxes.add(key)
        return key

    def add_several(self, count: int, due: datetime) -> Sequence[str]:
        """Return so many new file IDs, for which one entry schedules a check once the hour of `due` has passed."""
        name = f"{SEVERAL_ENTRY}{count}-{uuid.uuid4()}"
        self._store.put(entry_key(name, due), b"")
        return several(name)

    @contextlib.contextmanager
    def covering(self, file_id: str, *moments: datetime | None) -> Iterator[None]:
        """Schedule checks of the file at these moments, for the write that is made within."""
        start = self._clock()
        due = [moment for moment in moments if moment is not None]
        for moment in due:
            self.add(file_id, moment)
        yield
        if self._clock() - start >= HEADSTART:
            # The process was suspended, and the sweep may have checked the file before the write.
            for moment in due:
                self.add(file_id, moment)

    def due(self) -> Iterator[str]:
        """The keys of entries whose hour has passed by the time they are read, oldest first."""
        for key in self._store.list(EXPIRIES):
            if key >= entries_prefix(self._clock()):
                return
            yield key


def several(name: str) -> Sequence[str]:
    """The IDs of an entry for several files. Who knows some of them can find out neither the entry nor the others."""
    count, dash, _ = name.removeprefix(SEVERAL_ENTRY).partition("-")
    numbers = range(int(count) if dash and count.isdecimal() else 0)
    digests = (hashlib.sha256(f"{name} {number}".encode()).digest() for number in numbers)
    return [str(uuid.UUID(bytes=digest[:16], version=4)) for digest in digests]
