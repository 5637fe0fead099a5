"""Makes safe local file names, whatever name the server sends."""

from __future__ import annotations

import os
import re

MAX_NAME_BYTES = 255

# Windows opens a device for these names, whatever their extension.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def safe_name(name: str) -> str:
    """A name that stays in its directory, is no dotfile, option or device, and has no effect on a terminal."""
    name = _harmless(re.split(r"[/\\]", name)[-1]).lstrip(".-~ ")
    return safe_component(name) if name else "download"


def safe_component(name: str) -> str:
    """Like `safe_name`, for a file in its own folder, where a dotfile is harmless."""
    name = _harmless(name) or "_"
    if _DEVICE.fullmatch(name):
        name = f"_{name}"
    return shortened(name, MAX_NAME_BYTES)


def _harmless(name: str) -> str:
    # A zero-width joiner is part of many emoji.
    name = "".join(character if character.isprintable() or character == "\u200d" else "_" for character in name)
    return re.sub(r'[:*?"<>|]', "_", name).rstrip(". ")


def shortened(name: str, limit: int) -> str:
    """Shorten a name to at most `limit` bytes in the file system. Keeps the extension, and cuts no character in two."""
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}" if stem and len(os.fsencode(extension)) <= 16 else ""
    stem = name.removesuffix(tail)
    room = limit - len(os.fsencode(tail))
    # Each character has at least one byte.
    stem = stem[:room]
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + tail
