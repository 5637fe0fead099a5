"""Expected errors, and the exit statuses that report them to scripts."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit statuses. 1 is for unexpected errors."""

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
    """An expected error: its message and exit status."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class Missing(Fault):
    """The server answered 404 or 405."""


class Damaged(Fault):
    """A file is not the one that its sender uploaded."""

    def __init__(
        self, message: str = "The file was damaged, or replaced by another one: it cannot be decrypted."
    ) -> None:
        super().__init__(Exit.DAMAGED, message)


class Changed(Fault):
    """A local file has changed since its upload began."""

    def __init__(self, message: str) -> None:
        super().__init__(Exit.LOCAL, message)


class Stopped(Exception):
    """Another part failed, so this one is no longer needed."""
