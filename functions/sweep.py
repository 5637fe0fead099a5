"""Housekeeping on a schedule: by EventBridge on AWS, by hand as `python -m functions.sweep`."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from shared import bootstrap, metrics
from shared.errors import InvalidSetting, StorageUnavailable
from shared.sweeping import Sweep
from shared.telemetry import LambdaHandler


class SweepHandler(LambdaHandler):
    def connect(self) -> None:
        bootstrap.proven_shares()

    def handle(self, _event: dict[str, Any], _context: Any) -> dict[str, int]:
        swept = dataclasses.asdict(Sweep(bootstrap.proven_shares()).run())
        for name, count in swept.items():
            # Each metric costs money, so silence stands for nothing done.
            if count:
                metrics.add(f"Sweep{name.title()}", count)
        return swept


def main() -> int:
    """Sweep once and print what was done; the exit status, 2 if storage cannot be used."""
    try:
        print(json.dumps(dataclasses.asdict(Sweep(bootstrap.proven_shares()).run())))
    except (InvalidSetting, StorageUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


handler = SweepHandler(__name__, "id", cold_starts=False)

if __name__ == "__main__":
    sys.exit(main())
