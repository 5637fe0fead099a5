"""Counting what happens, wherever it happens.

A count is a line of the log, so that nothing has to be passed down to where it is made, and costs next to nothing
unless somebody listens. On Lambda `telemetry` makes CloudWatch metrics of these lines.
"""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def add(name: str, value: float = 1) -> None:
    """Add to the metric of this name, which is in bytes if it ends in `Bytes`."""
    log.debug(name, extra={"value": value})
