"""Counts events anywhere in the code.

A count is a log line: nothing has to be passed down to the code that counts, and without a handler it costs next to
nothing. On Lambda, `telemetry` turns these lines into CloudWatch metrics.
"""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def add(name: str, value: float = 1) -> None:
    """Add to the metric with this name; the unit is bytes if the name ends in `Bytes`."""
    log.debug(name, extra={"value": value})
