"""A bound on the calls to AWS of one invocation, which has to end with an answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from shared.errors import StorageUnavailable


class TimeLimit:
    """Has calls fail that begin too late after the invocation did; until one has begun, there is no limit.

    All in seconds: the last try of a call begins after `last_try` at most, and takes at most `connect` and `read`. That
    is 26 together, and Lambda ends an invocation after 28.
    """

    def __init__(
        self,
        last_try: float = 19.0,
        connect: float = 2.0,
        read: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last_try = last_try
        self.connect = connect
        self.read = read
        self._monotonic = monotonic
        self._until = math.inf

    def begin(self) -> None:
        """Note that an invocation begins."""
        self._until = self._monotonic() + self.last_try

    def require(self) -> None:
        """Raise `StorageUnavailable` if it is too late for another try."""
        if self._monotonic() >= self._until:
            raise StorageUnavailable("no answer from S3 in the time that an invocation has")
