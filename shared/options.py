"""What a sender may choose for a file, checked once for every way of saying it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import InvalidValue

MAX_DOWNLOADS_LIMIT = 1_000_000_000
# A century: past what anyone means, and far from where dates end.
MAX_EXPIRES_IN = 100 * 366 * 24 * 3600
MAX_PASSWORD_LENGTH = 256

_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """Lifetime in seconds, cap, password in clear; None where the sender chose nothing."""

    expires_in: int | None = None
    max_downloads: int | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """What the service allows and presumes, in seconds; None where it does not."""

    default: int | None = None
    longest: int | None = None

    @property
    def limit(self) -> int:
        """The longest that can be asked for."""
        return MAX_EXPIRES_IN if self.longest is None else self.longest

    def expiry(self, created_at: datetime, expires_in: int | None) -> datetime | None:
        """When a file expires whose sender asked for this. Raises `InvalidValue`."""
        if expires_in is None:
            expires_in = self.default if self.default is not None else self.longest
        if expires_in is None:
            return None
        if not 1 <= expires_in <= self.limit:
            raise InvalidValue("expires_in", f"must be a whole number of seconds from 1 to {self.limit}")
        return created_at + timedelta(seconds=expires_in)


def parse_options(expires_in: str | None, max_downloads: str | None, password: str | None, longest: int) -> Options:
    """Options from their text forms; `longest` bounds the lifetime. Raises `InvalidValue`."""
    return checked(
        Options(
            None if expires_in is None else whole_number("expires_in", expires_in, longest),
            None if max_downloads is None else whole_number("max_downloads", max_downloads, MAX_DOWNLOADS_LIMIT),
            password,
        ),
        longest,
    )


def checked(options: Options, longest: int) -> Options:
    """The options, if each is within its bounds, of which `longest` is the lifetime's. Raises `InvalidValue`."""
    _require_within("expires_in", options.expires_in, longest)
    _require_within("max_downloads", options.max_downloads, MAX_DOWNLOADS_LIMIT)
    password = options.password
    if password is not None and not 1 <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidValue("password", f"must have 1 to {MAX_PASSWORD_LENGTH} characters")
    if password is not None and "\0" in password:
        # Programs written in C would send, or compare, only what stands before it.
        raise InvalidValue("password", "must not contain the character U+0000")
    return options


def whole_number(field: str, text: str, most: int) -> int:
    """A whole number of ASCII digits from 1 to `most`; Python's own `int` also takes signs, spaces and underscores."""
    number = int(text) if _DIGITS.fullmatch(text) else 0
    _require_within(field, number, most)
    return number


def _require_within(field: str, number: int | None, most: int) -> None:
    if number is not None and not 1 <= number <= most:
        raise InvalidValue(field, f"must be a whole number from 1 to {most}")
