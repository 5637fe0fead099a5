"""Checks every blob against its record, and changes nothing: `python -m shared.scrub`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from shared import bootstrap
from shared.errors import InvalidSetting, ShareError, StorageUnavailable, UnknownFile
from shared.sharing import Shares
from shared.storage.records import READY


def scrub(shares: Shares, report: Callable[[str], None]) -> bool:
    """Verify every file, reporting each that is damaged and a summary; whether all are whole."""
    whole = damaged = 0
    for file_id in shares.records.ids():
        try:
            record = shares.records.get(file_id).record
            if record.state == READY:
                shares.verify(record)
                whole += 1
        except UnknownFile:
            # Deleted since it was listed.
            continue
        except StorageUnavailable:
            raise
        except ShareError as error:
            damaged += 1
            report(str(error))
    report(f"{whole} whole, {damaged} damaged")
    return damaged == 0


def main() -> int:
    """The exit status: 0 if every file is whole, 1 if not, 2 if nothing could be checked."""
    try:
        return 0 if scrub(bootstrap.shares(), print) else 1
    except (InvalidSetting, StorageUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
