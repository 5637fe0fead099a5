"""Checks every blob against its record without changing anything: `python -m shared.scrub`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from shared.bootstrap import build_shares
from shared.errors import DamagedFile, InvalidSetting, ShareError, StorageUnavailable, UnknownFile
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.blobs import hash_blob, require_raw
from shared.storage.contract import NotFound
from shared.storage.records import READY, Record


def scrub(shares: Shares, report: Callable[[str], None]) -> bool:
    """Verify all files, and report the damaged ones and a summary. Returns whether all are intact."""
    intact = damaged = 0
    for file_id in shares.records.ids():
        try:
            record = shares.records.get(file_id).record
            if record.state == READY:
                verify(shares, record)
                intact += 1
        except UnknownFile:
            # Deleted since it was listed.
            continue
        except StorageUnavailable:
            raise
        except ShareError as error:
            damaged += 1
            report(str(error))
    report(f"{intact} intact, {damaged} damaged")
    return damaged == 0


def verify(shares: Shares, record: Record) -> None:
    """Read the whole blob of a file. Raises `UnknownFile`, and `DamagedFile` unless it matches the record.

    Before a file is sealed, only its size can be checked.
    """
    try:
        if not record.sealed:
            require_raw(shares.store, record.file_id, record.file_size)
            return
        sha256 = hash_blob(shares.store, record.file_id, record.file_size)
    except NotFound as error:
        # It may have been deleted since its record was read; only if not, the blob is missing.
        if shares.records.get(record.file_id).record.state != READY:
            raise UnknownFile(record.file_id) from error
        raise DamagedFile(record.file_id, "the blob is missing") from error
    if record.sha256 not in (None, sha256):
        raise DamagedFile(record.file_id, "the SHA-256 of the blob differs from the record")


def main() -> int:
    """Returns the exit status: 0 if all files are intact, 1 if not, 2 if they could not be checked."""
    try:
        return 0 if scrub(build_shares(Settings.from_environment()), print) else 1
    except (InvalidSetting, StorageUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
