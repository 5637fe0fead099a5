"""Text for people: safe in a terminal, with sizes and times in words."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable

_LIMIT = re.compile("must be a whole number (?:from 1 to|of at most) ([0-9]{1,18})")


def printable(text: str) -> str:
    """Replace characters that control a terminal, because names and messages come from the server."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def as_utf8(name: str) -> str:
    """A local file name as UTF-8: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode(errors="replace")


def reason_of(error: Exception) -> str:
    """Why something failed, as the end of a sentence: without the system's error number, and in lower case."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    reason = printable(re.sub(r"^\[Errno -?[0-9]+\] |\.$", "", reason))
    # An abbreviation keeps its case.
    return reason[:1].lower() + reason[1:] if reason[1:2].islower() else reason or type(error).__name__


def describe(error: OSError) -> str:
    """The error and its file, as a sentence."""
    where = f"{printable(os.fspath(error.filename))}: " if isinstance(error.filename, str) else ""
    reason = reason_of(error)
    return f"{where}{reason}." if where else f"{reason[:1].upper()}{reason[1:]}."


def human_size(size: int) -> str:
    """A size in powers of 1000, as on the server's pages."""
    # From 999,950 on, one decimal would be rounded to 1000.0.
    amount, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 999.95 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{size} byte{'' if size == 1 else 's'}" if size < 1000 else f"{amount:.1f} {units[0]}"


def exact_size(size: int) -> str:
    return human_size(size) if size < 1000 else f"{human_size(size)} ({size:,} bytes)"


def local_time(moment: str | None) -> str:
    """The server's time in the local time zone; unchanged if it has no zone or is not a time."""
    try:
        at = datetime.datetime.fromisoformat(moment or "")
        return f"{at if at.tzinfo is None else at.astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return printable(moment or "")


def human_time(moment: str | None) -> str:
    """Like `local_time`, with the time until or since then."""
    if moment is None:
        return "never"
    try:
        left = datetime.datetime.fromisoformat(moment) - datetime.datetime.now(datetime.UTC)
    except (ValueError, TypeError, OverflowError):
        # This is not a time, or has no zone.
        return printable(moment)
    distance = human_distance(abs(left.total_seconds()))
    return f"{local_time(moment)} ({f'in {distance}' if left.total_seconds() > 0 else f'{distance} ago'})"


def human_time_left(moment: str | None) -> str:
    """Only the time until or since then, as in `human_time`."""
    return human_time(moment).partition("(")[2].rstrip(")") or human_time(moment)


def human_distance(seconds: float) -> str:
    unit, length = next(
        ((unit, length) for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)) if seconds >= 2 * length),
        ("s", 1),
    )
    return f"{seconds / length:.0f} {unit}"


def human_downloads(count: int, most: int | None) -> str:
    return str(count) if most is None else f"{count} of {most}"


def option_limit(field: str, reason: str) -> str:
    """Why the server refuses a number, in terms of the option that set it; empty if there is another reason."""
    options: dict[str, tuple[str, Callable[[int], str]]] = {
        "expires_in": ("--expires", human_distance),
        "file_expires_in": ("--file-expires", human_distance),
        "max_downloads": ("--max-downloads", "{:,}".format),
        "max_files": ("--max-files", "{:,}".format),
        "max_bytes": ("--max-size", human_size),
        "max_file_size": ("--max-file-size", human_size),
    }
    limit = _LIMIT.fullmatch(reason)
    if limit is None or field not in options:
        return ""
    option, shown = options[field]
    return f"{option} can be at most {shown(int(limit[1]))} here."
