"""A time limit for the AWS calls of one invocation, so that it always ends with an answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from shared.errors import StorageUnavailable


class TimeLimit:
    """Makes calls fail that start too late in an invocation. There is no limit before the first invocation.

    In seconds: the last try of a call starts within `last_try`, and takes at most `connect` plus `read`. Together that
    is 26, and Lambda ends an invocation after 28.
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
        """Start the clock of an invocation."""
        self._until = self._monotonic() + self.last_try

    def require(self, **_request: object) -> None:
        """Raise `StorageUnavailable` if it is too late for another try. botocore passes the request."""
        if self._monotonic() >= self._until:
            raise StorageUnavailable("S3 did not answer within the time limit of an invocation")
