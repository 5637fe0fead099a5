"""Makes safe local file names, whatever name the server sends."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence

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


class Tree:
    """Keeps names distinct on every file system, even if it ignores case and the Unicode form of accents."""

    def __init__(self) -> None:
        self._names: set[tuple[str, ...]] = set()
        self._folders: dict[tuple[str, ...], str] = {}
        self._numbers: dict[tuple[str, ...], int] = {}

    def place(self, parts: Sequence[str], *, is_folder: bool) -> tuple[str, ...]:
        """A safe path for a file or folder. A name that is taken gets a number; an existing folder is reused."""
        path: list[str] = []
        for depth, part in enumerate(parts, start=1):
            path.append(self._name(tuple(path), safe_component(part), is_folder=is_folder or depth < len(parts)))
        return tuple(path)

    def _name(self, folder: tuple[str, ...], name: str, *, is_folder: bool) -> str:
        wish = key = (*folder, normal(name))
        if is_folder and wish in self._folders:
            return self._folders[wish]
        unique = name
        while key in self._names:
            number = self._numbers[wish] = self._numbers.get(wish, 1) + 1
            tag = f" ({number})"
            short = shortened(name, MAX_NAME_BYTES - len(tag))
            stem, dot, extension = short.rpartition(".")
            unique = f"{stem}{tag}.{extension}" if dot and stem else f"{short}{tag}"
            key = (*folder, normal(unique))
        self._names.add(key)
        if is_folder:
            self._folders[wish] = unique
        return unique


def normal(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
