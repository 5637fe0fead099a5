"""Housekeeping on a schedule: by EventBridge on AWS, by hand as `python -m functions.sweep`."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from shared import metrics
from shared.bootstrap import Service
from shared.errors import InvalidSetting, StorageUnavailable
from shared.settings import Settings
from shared.sweeping import Sweep
from shared.telemetry import LambdaHandler


class SweepHandler(LambdaHandler):
    def prepare(self) -> None:
        self.service = Service.open(Settings.from_environment())

    def connect(self) -> None:
        _ = self.service.shares

    def handle(self, _event: dict[str, Any], _context: Any) -> dict[str, int]:
        swept = dataclasses.asdict(Sweep(self.service.shares).run())
        for name, count in swept.items():
            # Each metric costs money, so silence stands for nothing done.
            if count:
                metrics.add(f"Sweep{name.title()}", count)
        return swept


def main() -> int:
    """Sweep once and print what was done; the exit status, 2 if storage cannot be used."""
    try:
        service = Service.open(Settings.from_environment())
        print(json.dumps(dataclasses.asdict(Sweep(service.shares).run())))
    except (InvalidSetting, StorageUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


handler = SweepHandler(__name__, "id", cold_starts=False)

if __name__ == "__main__":
    sys.exit(main())
