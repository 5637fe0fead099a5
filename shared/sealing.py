"""Making the blob of a file whose sender uploaded its bytes straight to storage.

An event of the bucket starts it on AWS, and `Sealing` on a server over S3. Whatever fails, or is not sealed when the
process ends, is left to the sweep.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from queue import SimpleQueue

from shared.errors import DamagedFile, UnknownFile
from shared.sharing import Shares
from shared.storage.blobs import make_blob, require_raw
from shared.storage.contract import Changed, NotFound, RangeNotSatisfiable
from shared.storage.keys import blob_key
from shared.storage.records import READY, UPLOADING, Record

log = logging.getLogger(__name__)

# Storage copies the bytes itself, in many requests at once for a large file.
AT_ONCE = 2


class StillUploading(Exception):
    """A file cannot be sealed before its upload is complete."""


def seal(shares: Shares, file_id: str) -> bool:
    """Make the blob of a completed upload, unless that is done; whether this call did it.

    May be called at any time, also twice at once. Does nothing for a file that is gone. Raises `StillUploading`, and
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
        return record if record.sealed else dataclasses.replace(record, sealed=True)

    try:
        shares.records.update(file_id, note)
    except UnknownFile:
        # The file was deleted before the blob was there.
        shares.store.delete(blob_key(file_id))
        return False
    return True


def _unsealed(shares: Shares, file_id: str) -> Record | None:
    """The record of a file or an upload that is not sealed; None if it is, or is gone."""
    try:
        record = shares.records.get(file_id).record
    except UnknownFile:
        return None
    return None if record.state not in (READY, UPLOADING) or record.sealed else record


class Sealing:
    """Seals a few completed uploads at a time; the others wait. Its methods are called from one thread."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def add(self, file_id: str) -> None:
        """Have a file sealed soon. Returns at once."""
        self._waiting.put(file_id)
        if len(self._threads) < AT_ONCE:
            # A daemon, since sealing can be interrupted anywhere and a process that ends must not wait for it.
            thread = threading.Thread(target=self._run, name="seal", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Take no more."""
        for _ in self._threads:
            self._waiting.put(None)

    def _run(self) -> None:
        while (file_id := self._waiting.get()) is not None:
            try:
                seal(self._shares, file_id)
            except Exception:
                log.exception("file %s could not be sealed and is left to the sweep", file_id)
