"""Counting downloads: exactly, and together where they meet.

Downloads of one file that arrive in this process while a count is being written wait for the next write and share it,
so that a burst costs a few writes and not one each. Other processes and machines are met by conditional writes alone.
"""

from __future__ import annotations

import dataclasses
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime

from shared.storage.records import Record, Records, Stored

TURNS = 256


class _Batch:
    """Downloads that will be counted by one write, and what becomes of each, in their order of arrival."""

    def __init__(self) -> None:
        self.members: list[Future[Stored | None]] = []
        self.base: Stored | None = None


class Counter:
    """Counts downloads in the records of their files.

    `before_last` is called with the record before the write that spends the last download of a cap, perhaps repeatedly.
    """

    def __init__(self, records: Records, clock: Callable[[], datetime], before_last: Callable[[Record], None]) -> None:
        self._records = records
        self._clock = clock
        self._before_last = before_last
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

    def _commit(self, batch: _Batch, seen: Stored, allow: Callable[[Record], None]) -> None:
        granted = 0

        def add(record: Record) -> Record:
            nonlocal granted
            allow(record)
            granted = len(batch.members)
            if record.max_downloads is not None:
                granted = min(granted, max(0, record.max_downloads - record.download_count))
            if not granted:
                return record
            counted = dataclasses.replace(record, download_count=record.download_count + granted)
            if counted.download_count != counted.max_downloads:
                return counted
            self._before_last(counted)
            return dataclasses.replace(counted, used_up_at=self._clock())

        try:
            stored = self._records.update(seen.record.file_id, add, seen)
        except BaseException as error:
            # Whoever waits must hear of it, whatever it is.
            for member in batch.members:
                member.set_exception(error)
            return
        with self._guard:
            waiting = self._forming.get(stored.record.file_id)
            if waiting is not None:
                # What its leader read is out of date by this very write.
                waiting.base = stored
        for position, member in enumerate(batch.members):
            member.set_result(stored if position < granted else None)
