"""Names that a file may have here, whatever it is called elsewhere."""

from __future__ import annotations

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
    """At most so many bytes of UTF-8, the extension kept."""
    if len(name.encode(errors="replace")) <= limit:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}" if stem and len(extension.encode()) <= 16 else ""
    return name.encode()[: limit - len(tail.encode())].decode(errors="ignore") + tail
