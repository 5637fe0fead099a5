"""What people read: nothing that acts in a terminal, sizes and times in words."""

from __future__ import annotations

import datetime
from typing import Any


def printable(text: str) -> str:
    """Without what would act in a terminal; whoever runs the server chooses its names and messages."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def human_size(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def exact_size(size: int) -> str:
    return human_size(size) if size < 1024 else f"{human_size(size)} ({size:,} bytes)"


def human_time(moment: str | None) -> str:
    """A time of the server's in this place's time zone, and how far off it is."""
    if moment is None:
        return "never"
    try:
        at = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return printable(moment)
    left = at - datetime.datetime.now(datetime.UTC)
    seconds = abs(left.total_seconds())
    unit, length = next(
        ((unit, length) for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)) if seconds >= 2 * length),
        ("s", 1),
    )
    distance = f"{seconds / length:.0f} {unit}"
    return f"{at.astimezone():%Y-%m-%d %H:%M} ({f'in {distance}' if left.total_seconds() > 0 else f'{distance} ago'})"


def human_downloads(known: dict[str, Any]) -> str:
    most = known.get("max_downloads")
    return str(known["download_count"]) if most is None else f"{known['download_count']} of {most}"
