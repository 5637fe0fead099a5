"""The index of what falls due, by the hour, so that the sweep reads only what is due.

An entry says "look at this file then" and no more: its record decides. An entry may be too early, or left over, and is
dropped then; a file without one that it needs would stay for ever, so an entry is written before what makes it needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.storage.objects import NotFound, ObjectStore

PREFIX = "expiries/"
_FORMAT = "%Y-%m-%dT%H"
_ORPHAN = b"orphan"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to look at."""

    key: str
    file_id: str


class Expiries:
    """Entries in an object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def add(self, file_id: str, due: datetime) -> None:
        """Have the file looked at once the hour of `due` is over."""
        self._store.put(_key(file_id, due), b"")

    def add_orphan(self, file_id: str, due: datetime) -> None:
        """Have what is stored under this ID removed then, unless it has got a record by that time."""
        self._store.put(_key(file_id, due), _ORPHAN)

    def is_orphan(self, entry: Entry) -> bool:
        """Whether the entry was made because there was no record."""
        try:
            return self._store.read(entry.key)[0] == _ORPHAN
        except NotFound:
            return False

    def due(self, now: datetime) -> Iterator[Entry]:
        """Entries whose hour is over, the oldest first."""
        current = PREFIX + now.astimezone(UTC).strftime(_FORMAT)
        for key in self._store.list(PREFIX):
            if key >= current:
                return
            yield Entry(key, key.rpartition("/")[2])

    def remove(self, entry: Entry) -> None:
        self._store.delete(entry.key)

    def withdraw(self, file_id: str, due: datetime) -> None:
        """Undo `add`."""
        self._store.delete(_key(file_id, due))


def _key(file_id: str, due: datetime) -> str:
    return f"{PREFIX}{due.astimezone(UTC).strftime(_FORMAT)}/{file_id}"
