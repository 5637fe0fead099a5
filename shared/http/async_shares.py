"""The use cases for an event loop. Calls that need not wait run directly; others run in a thread, equal ones together.

Reading from memory takes some ten microseconds, less than handing it to a thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from starlette.requests import Request

from shared.bootstrap import Service
from shared.errors import ShareError, UsedUp, WrongPassword
from shared.http.lanes import Lanes
from shared.http.streams import in_thread
from shared.http.threads import PerFile
from shared.sharing import Record, Shares, Stored, has_password

# Seconds. Far less than a request to S3 takes, and longer than the gaps between simultaneous requests.
PATIENCE = 0.005

T = TypeVar("T")


class AsyncShares:
    """`Shares` for an event loop; methods raise the same errors as those of `Shares`."""

    def __init__(self, service: Service, threads: Executor, short: Executor, patience: float = PATIENCE) -> None:
        self._service = service
        self._threads = threads
        self.threads_of = PerFile(threads).of
        self._finds = Lanes(short, self._find, patience)
        self._descriptions = Lanes(short, self._describe, patience)
        self._reads = Lanes(short, self._read, patience)
        self._counts = Lanes(short, self._count)

    @property
    def shares(self) -> Shares:
        return self._service.shares

    async def run(self, work: Callable[[Shares], T], subject: str | None = None) -> T:
        """Run work that may wait or take long, in not too many threads for the same subject, such as a file ID."""
        threads = self._threads if subject is None else self.threads_of(subject)
        return await in_thread(threads, lambda: work(self.shares))

    async def check(self) -> None:
        """Raise `StorageUnavailable` unless storage answers."""
        if not self.shares.at_once(_answers):
            # Not on the event loop, which would stop if the file system hangs.
            await self.run(_answers, "health")

    async def find(self, file_id: str) -> Stored:
        stored = self.shares.at_once(lambda shares: shares.find(file_id))
        return await self._finds.join(file_id, file_id) if stored is None else stored

    async def describe(self, file_id: str) -> Record:
        record = self.shares.at_once(lambda shares: shares.describe(file_id))
        return await self._descriptions.join(file_id, file_id) if record is None else record

    async def read(self, stored: Stored, start: int, stop: int) -> bytes:
        """Read bytes, at most as many as one answer can keep in memory."""
        data = self.shares.at_once(lambda shares: shares.read(stored, start, stop))
        if data is not None:
            return data
        return await self._reads.join(stored.record.file_id, (stored, start, stop), (start, stop))

    async def count(self, stored: Stored) -> None:
        """Count one download. Raises as `Shares.count`, and `UsedUp` if the file has reached its limit."""
        await self._counts.join(stored.record.file_id, stored)

    def _find(self, file_ids: Sequence[str], _former: object) -> Sequence[Stored]:
        return [self.shares.find(file_ids[0])] * len(file_ids)

    def _describe(self, file_ids: Sequence[str], _former: object) -> Sequence[Record]:
        return [self.shares.describe(file_ids[0])] * len(file_ids)

    def _read(self, ranges: Sequence[tuple[Stored, int, int]], _former: object) -> Sequence[bytes]:
        # Use the last record, because the bytes may have moved since the earlier ones were read.
        return [self.shares.read(*ranges[-1])] * len(ranges)

    def _count(self, seen: Sequence[Stored], former: Sequence[Stored | BaseException]) -> Sequence[Stored | ShareError]:
        # Start from the newest record, including those of former writes, or the conditional write would fail first.
        records = [*seen, *(one for one in former if not isinstance(one, BaseException))]
        latest = max(records, key=lambda stored: stored.record.revision)
        allowed = [has_password(latest.record, one) for one in seen]
        if not any(allowed):
            return [WrongPassword()] * len(seen)
        counted = self.shares.count(latest, sum(allowed))
        granted = itertools.repeat(counted.stored, counted.granted)
        refusal = UsedUp(latest.record.file_id)
        return [next(granted, refusal) if each else WrongPassword() for each in allowed]


def _answers(shares: Shares) -> bool:
    shares.check()
    return True


def files_of(request: Request) -> AsyncShares:
    """The files of the application that handles this request."""
    files: AsyncShares = request.app.state.files
    return files
