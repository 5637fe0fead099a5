"""Makes the blobs of files that were uploaded straight to storage.

On AWS, an event of the bucket starts it; on a server with S3, `Sealing` does. The sweep seals files for which this
failed or the process ended first.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue

from msgspec import structs

from shared.errors import DamagedFile, UnknownFile
from shared.sharing import Shares
from shared.storage.blobs import make_blob, require_raw
from shared.storage.contract import Changed, NotFound, RangeNotSatisfiable
from shared.storage.keys import blob_key
from shared.storage.records import READY, UPLOADING, Record

log = logging.getLogger(__name__)

# Storage copies the bytes, in many parallel requests for a large file.
AT_ONCE = 2


class StillUploading(Exception):
    """A file cannot be sealed before its upload is complete."""


def seal(shares: Shares, file_id: str) -> bool:
    """Make the blob of a completed upload if it has none. Returns whether this call did it.

    Can be called at any time, even twice at once. Does nothing for deleted files. Raises `StillUploading`, and
    `DamagedFile` if the bytes are missing.
    """
    record = _unsealed(shares, file_id)
    if record is None:
        return False
    if record.state == UPLOADING:
        raise StillUploading(file_id)
    try:
        make_blob(shares.store, file_id, [require_raw(shares.store, file_id, record.file_size)])
    except (NotFound, Changed, RangeNotSatisfiable) as error:
        if _unsealed(shares, file_id) is None:
            return False
        raise DamagedFile(file_id, "its bytes are missing") from error

    def note(record: Record) -> Record:
        if record.state != READY:
            raise UnknownFile(file_id)
        return record if record.sealed else structs.replace(record, sealed=True)

    try:
        shares.records.update(file_id, note)
    except UnknownFile:
        # The file was deleted while the blob was made.
        shares.store.delete(blob_key(file_id))
        return False
    return True


def _unsealed(shares: Shares, file_id: str) -> Record | None:
    """The record of a file or upload that is not sealed; None if it is sealed or deleted."""
    try:
        record = shares.records.get(file_id).record
    except UnknownFile:
        return None
    return None if record.state not in (READY, UPLOADING) or record.sealed else record


class Sealing:
    """Seals completed uploads, a few at a time. Call its methods from one thread only."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def add(self, file_id: str) -> None:
        """Seal a file soon, without waiting for it."""
        self._waiting.put(file_id)
        if len(self._threads) < AT_ONCE:
            # A daemon, because sealing can be interrupted anywhere and must not delay the end of the process.
            thread = threading.Thread(target=self._run, name="seal", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop once the waiting files are sealed."""
        for _ in self._threads:
            self._waiting.put(None)

    def _run(self) -> None:
        while (file_id := self._waiting.get()) is not None:
            try:
                seal(self._shares, file_id)
            except Exception:
                log.exception("sealing file %s failed; the sweep will try again", file_id)
