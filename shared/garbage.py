"""How often Python looks for garbage that refers to itself."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# Objects that are made before the youngest are looked through, and rounds before the older ones are. Python's own 700
# (2,000 from 3.13 on) are met several times in one request, which leaves hardly anything that refers to itself.
THRESHOLDS = (10_000, 20, 20)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Put together here what lives as long as the process: nothing that exists at the end is ever looked through again.

    With all modules loaded, that takes 40 ms each time, in the middle of a start or of a request (gc.freeze). What
    raises is not kept.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
    finally:
        if enabled:
            gc.enable()
