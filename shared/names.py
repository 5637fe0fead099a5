"""The rules for file names."""

from __future__ import annotations

import re
import unicodedata

from shared.errors import InvalidValue

MAX_NAME_BYTES = 255

_NEUTRAL_NAME = "file"

# Control characters end strings in C and control terminals, bidi controls make "txt.exe" look like "exe.txt", and lone
# surrogates have no UTF-8. U+2028 and U+2029 stay: they are text, and JSON and RFC 8187 can transport them.
_UNWANTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SEPARATOR = re.compile(r"[/\\]")


def clean_name(text: str) -> str:
    """The last path segment of `text` without control, bidi and surrogate characters, otherwise unchanged.

    `.` and `..` become a neutral name, so the result is never a path. Raises `InvalidValue` if the result is empty or
    longer than `MAX_NAME_BYTES` of UTF-8.
    """
    name = _UNWANTED.sub("", _SEPARATOR.split(text)[-1])
    if not name:
        raise InvalidValue("filename", "must not be empty")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidValue("filename", f"must not be longer than {MAX_NAME_BYTES} bytes of UTF-8")
    return _NEUTRAL_NAME if name in (".", "..") else name


def clean_text(field: str, text: str, most: int, *, lines: bool = False) -> str:
    """Text that people wrote for others to read, without control, bidi and surrogate characters.

    Line breaks stay if it can have several `lines`. Raises `InvalidValue` if it has more than `most` characters.
    """
    parts = text.splitlines() if lines else [text]
    text = "\n".join(_UNWANTED.sub("", part) for part in parts).strip()
    if len(text) > most:
        raise InvalidValue(field, f"must not be longer than {most} characters")
    return text


def plain_name(name: str) -> str:
    """A file name that no gateway, client or file system alters, for the last segment of a link.

    Letters and marks of any script, digits, `.`, `_` and `-` stay. Every other character becomes `_`, and so does a
    name that consists of dots.
    """
    if not name.strip("."):
        return "_"
    return "".join(c if c in "._-" or unicodedata.category(c)[0] in "LM" or c.isdecimal() else "_" for c in name)
