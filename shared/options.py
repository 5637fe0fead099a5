"""The options of a file, validated in one place wherever they come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta

from shared.errors import InvalidValue

MAX_DOWNLOADS_LIMIT = 1_000_000_000
# A century: more than anyone needs, and far from the last date that Python supports.
MAX_EXPIRES_IN = 100 * 366 * 24 * 3600
MAX_PASSWORD_LENGTH = 256

ENCRYPTED_NAME = "encrypted"
MAX_ENCRYPTED_METADATA = 8192  # characters

_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Encryption:
    """How the sender encrypted the file, and its name, type and size, encrypted too (docs/private-links.md)."""

    scheme: Literal["c2sp-chunked-v1-aes128gcm"]
    metadata: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]+\Z", max_length=MAX_ENCRYPTED_METADATA)]


@dataclass(frozen=True, slots=True)
class Options:
    """Lifetime in seconds, download limit, password in plain text, encryption, and whether everyone
    can download a file from an inbox; None if the sender did not set it."""

    expires_in: int | None = None
    max_downloads: int | None = None
    password: str | None = None
    encryption: Encryption | None = None
    shared: bool | None = None


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The server's default and maximum lifetime, in seconds; None if not set."""

    default: int | None = None
    longest: int | None = None

    @property
    def limit(self) -> int:
        """The longest lifetime that a sender can choose."""
        return MAX_EXPIRES_IN if self.longest is None else self.longest

    def expiry(self, created_at: datetime, expires_in: int | None) -> datetime | None:
        """When a file expires if its sender chose this lifetime. Raises `InvalidValue`."""
        if expires_in is None:
            expires_in = self.default if self.default is not None else self.longest
        if expires_in is None:
            return None
        require_within("expires_in", expires_in, self.limit)
        return created_at + timedelta(seconds=expires_in)


def checked(options: Options, longest: int) -> Options:
    """The options, if all are within their limits; `longest` is the lifetime's. Raises `InvalidValue`."""
    require_within("expires_in", options.expires_in, longest)
    require_within("max_downloads", options.max_downloads, MAX_DOWNLOADS_LIMIT)
    password = options.password
    if password is not None and not 1 <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidValue("password", f"must have 1 to {MAX_PASSWORD_LENGTH} characters")
    if password is not None and "\0" in password:
        # C programs would send or compare only the part before it.
        raise InvalidValue("password", "must not contain the character U+0000")
    return options


def whole_number(field: str, text: str, most: int) -> int:
    """Parse ASCII digits as a number from 1 to `most`. Raises `InvalidValue`."""
    number = parse_number(text) or 0
    require_within(field, number, most)
    return number


def parse_number(text: str | None) -> int | None:
    """Parse ASCII digits; 0, which no option allows, for other text. `int` would accept signs and underscores, too."""
    return None if text is None else int(text) if _DIGITS.fullmatch(text) else 0


def require_within(field: str, number: int | None, most: int) -> None:
    """Raises `InvalidValue` unless the number is from 1 to `most`, or None."""
    if number is not None and not 1 <= number <= most:
        raise InvalidValue(field, f"must be a whole number from 1 to {most}")
