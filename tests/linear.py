"""Checks that crafted input takes no longer than other input of its length."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

# Every input takes milliseconds. With quadratic effort, it would take minutes.
LIMIT = 10.0  # seconds


@contextlib.contextmanager
def linear() -> Iterator[None]:
    """Fails if the block takes far too long. It counts only this process's time, so others do not matter."""
    started = time.process_time()
    yield
    assert time.process_time() - started < LIMIT
