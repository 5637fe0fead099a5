"""Scheduled housekeeping: EventBridge runs it on AWS, `python -m functions.sweep` by hand."""

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
    def handle(self, _event: dict[str, Any], _context: Any) -> dict[str, int]:
        swept = dataclasses.asdict(Sweep(self.service.shares).run())
        for name, count in swept.items():
            # Metrics cost money, so leave out zeros.
            if count:
                metrics.add(f"Sweep{name.title()}", count)
        return swept


def main() -> int:
    """Sweep once and print the counts. Returns the exit status: 2 if storage is unavailable or a setting is invalid."""
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
