"""Local file names that are safe, whatever name the server gives."""

from __future__ import annotations

import os
import re

MAX_NAME_BYTES = 255

# Device names that Windows opens instead of a file, whatever their extension.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def safe_name(name: str) -> str:
    """A name that stays in its directory, is no dotfile, option or device, and does nothing to a terminal."""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(character if character.isprintable() else "_" for character in name)
    name = re.sub(r'[:*?"<>|]', "_", name).lstrip(".-~ ").rstrip(". ")
    if _DEVICE.fullmatch(name):
        name = f"_{name}"
    return shortened(name, MAX_NAME_BYTES) or "download"


def shortened(name: str, limit: int) -> str:
    """At most so many bytes in the file system, no character cut in two, the extension kept."""
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}" if stem and len(os.fsencode(extension)) <= 16 else ""
    stem = name.removesuffix(tail)
    room = limit - len(os.fsencode(tail))
    # Each character has at least one byte.
    stem = stem[:room]
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + tail
