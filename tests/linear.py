"""That an input which somebody crafted costs no more than others of its length."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

# Every input takes milliseconds, and minutes if each of its bytes costs more the more bytes there are.
LIMIT = 10.0  # seconds


@contextlib.contextmanager
def linear() -> Iterator[None]:
    """Fails if the block takes far longer than it should. Counts time of this process, so others do not matter."""
    started = time.process_time()
    yield
    assert time.process_time() - started < LIMIT
