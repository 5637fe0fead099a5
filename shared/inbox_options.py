"""What the owner of an inbox can choose, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.names import clean_text
from shared.options import MAX_EXPIRES_IN, require_within
from shared.sharing import Shares

MAX_FILES = 1000
MAX_TITLE = 200  # characters
MAX_NOTE = 2000
MAX_SENDER = 100
MAX_SIZE = 2**53 - 1  # bytes; JavaScript has no larger exact numbers
DEFAULT_FILES = 100
DEFAULT_BYTES = 10 * 1024**3
DEFAULT_LIFETIME = 7 * 24 * 3600  # seconds


@dataclass(frozen=True, slots=True)
class InboxOptions:
    """What the owner of an inbox can choose; None for the default. Sizes are in bytes, lifetimes in seconds."""

    title: str | None = None
    note: str | None = None
    max_files: int | None = None
    max_bytes: int | None = None
    max_file_size: int | None = None
    expires_in: int | None = None
    file_expires_in: int | None = None


def values_of(options: InboxOptions, names: frozenset[str], shares: Shares, now: datetime) -> dict[str, Any]:
    """The fields of an inbox that the options with these names set. Raises `InvalidValue`."""
    values: dict[str, Any] = {}
    for name, most, default in (
        ("max_files", MAX_FILES, DEFAULT_FILES),
        ("max_bytes", MAX_SIZE, DEFAULT_BYTES),
        ("max_file_size", MAX_SIZE, shares.max_file_size),
        ("expires_in", MAX_EXPIRES_IN, DEFAULT_LIFETIME),
        ("file_expires_in", shares.lifetimes.limit, None),
    ):
        if name not in names:
            continue
        value = getattr(options, name)
        require_within(name, value, most)
        values[name] = default if value is None else value
    if "expires_in" in values:
        values["expires_at"] = now + timedelta(seconds=values.pop("expires_in"))
    if "title" in names:
        values["title"] = clean_text("title", options.title or "", MAX_TITLE)
    if "note" in names:
        values["note"] = clean_text("note", options.note or "", MAX_NOTE, lines=True)
    return values
