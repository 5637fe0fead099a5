"""How often Python collects cyclic garbage."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# New objects before a collection of the youngest, and such collections before one of the older generations. With
# Python's own 700 (2,000 since 3.13), each request causes several collections, yet leaves hardly any cycles.
THRESHOLDS = (10_000, 20, 20)


@contextlib.contextmanager
def long_lived() -> Iterator[None]:
    """Create objects that live as long as the process within this: the collector ignores them afterwards (gc.freeze).

    With all modules loaded, a full collection takes 40 ms, in the middle of a start or a request. After an exception,
    nothing changes.
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
