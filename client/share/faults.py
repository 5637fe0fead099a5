"""What may happen to anybody, and the exit status that tells scripts."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit statuses, for scripts. 1 is left for what nobody foresaw."""

    OK = 0
    USAGE = 2
    NOT_FOUND = 3
    GONE = 4
    DENIED = 5
    DAMAGED = 6
    UNAVAILABLE = 7
    LOCAL = 8
    REFUSED = 9
    INTERRUPTED = 130


class Fault(Exception):
    """Something that may happen to anybody: what to say of it, and the exit status."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class Missing(Fault):
    """The server answered 404 or 405."""


class Stopped(Exception):
    """Another part failed, so this one has no use any more."""
