"""Decides the answer to conditional and range requests (RFC 9110 §13 and §14), without any I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.http.headers import parse_digits, parse_http_date


@dataclass(frozen=True, slots=True)
class Whole:
    """Send all of it: 200."""


@dataclass(frozen=True, slots=True)
class Part:
    """Send the bytes from `start` up to, not including, `stop`: 206. Never empty, always within the file."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class NotModified:
    """The client has the current representation: 304."""


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """The client requires another representation than the current one: 412."""


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """The range contains no byte of the file: 416."""


Outcome = Whole | Part | NotModified | PreconditionFailed | Unsatisfiable

_OPAQUE_TAG = r'"[!#-~\x80-\xff]*+"'
_STRONG_TAG = re.compile(_OPAQUE_TAG)

# An element does not end at the first comma, because tags can contain commas (RFC 9110 §8.8.3).
_LISTED_TAG = re.compile(rf"(?:^|,)[ \t]*+(W/)?({_OPAQUE_TAG})[ \t]*+(?=,|$)")

# `[0-9]`, because `\d` and `int()` accept digits of every script, and `int()` also signs and underscores.
_ONE_RANGE = re.compile(r"(?i:bytes)=[ \t]*+(?:([0-9]++)-([0-9]*+)|-([0-9]++))[ \t]*+")


def strong_tags(text: str) -> list[str]:
    """The strong entity tags in a list, with their quotes; elements that are not entity tags are ignored."""
    return [tag for prefix, tag in (match.groups() for match in _LISTED_TAG.finditer(text)) if prefix is None]


@dataclass(frozen=True, slots=True)
class _Current:
    """The current representation, for conditions to compare with."""

    is_current: Callable[[str], bool]
    last_modified: datetime

    def listed(self, tags: str, *, weak: bool) -> bool:
        """Whether the list contains its tag, or is `*`; elements that are not entity tags are ignored."""
        if tags.strip(" \t") == "*":
            return True
        pairs = (match.groups() for match in _LISTED_TAG.finditer(tags))
        return any(self.is_current(tag) for prefix, tag in pairs if weak or prefix is None)

    def changed_since(self, date: str) -> bool | None:
        """Whether it is newer than the date; None for an invalid date, which makes the condition void."""
        moment = parse_http_date(date)
        return None if moment is None else self.last_modified > moment

    def validates(self, if_range: str) -> bool:
        """Whether this is its strong tag or exact date (RFC 9110 §13.1.5)."""
        value = if_range.strip(" \t")
        if _STRONG_TAG.fullmatch(value):
            return self.is_current(value)
        return parse_http_date(value) == self.last_modified


def decide(
    method: str,
    headers: Mapping[str, str],
    *,
    is_current: Callable[[str], bool],
    last_modified: datetime,
    size: int,
) -> Outcome:
    """The answer to `method` for a file of `size` bytes; conditions are checked in the order of RFC 9110 §13.2.2.

    `headers` has lower-case names, and `last_modified` is aware. `is_current` tells whether a strong tag, with
    its quotes, is one of the file's. Malformed or unsupported conditions and ranges (several ranges, other units) are
    ignored, as RFC 9110 §14.2 allows, except that a malformed `If-Match` matches nothing. Never raises, whatever the
    headers.
    """
    current = _Current(is_current, last_modified.replace(microsecond=0))
    refusal = _refusal(method, headers, current)
    if refusal is not None:
        return refusal
    range_header = headers.get("range")
    if method != "GET" or range_header is None:
        return Whole()
    if_range = headers.get("if-range")
    if if_range is not None and not current.validates(if_range):
        return Whole()
    return _select(range_header, size)


def _refusal(method: str, headers: Mapping[str, str], current: _Current) -> NotModified | PreconditionFailed | None:
    if not _is_expected(headers, current):
        return PreconditionFailed()
    if not _is_cached(method, headers, current):
        return None
    return NotModified() if method in ("GET", "HEAD") else PreconditionFailed()


def _is_expected(headers: Mapping[str, str], current: _Current) -> bool:
    if_match = headers.get("if-match")
    if if_match is not None:
        return current.listed(if_match, weak=False)
    date = headers.get("if-unmodified-since")
    return date is None or not current.changed_since(date)


def _is_cached(method: str, headers: Mapping[str, str], current: _Current) -> bool:
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        return current.listed(if_none_match, weak=True)
    date = headers.get("if-modified-since")
    return date is not None and method in ("GET", "HEAD") and current.changed_since(date) is False


def _select(range_header: str, size: int) -> Whole | Part | Unsatisfiable:
    match = _ONE_RANGE.fullmatch(range_header)
    if match is None:
        return Whole()
    first, last, suffix = match.groups()
    if suffix is not None:
        return _within(max(size - parse_digits(suffix), 0), size, size)
    start = parse_digits(first)
    if not last:
        return _within(start, size, size)
    stop = parse_digits(last) + 1
    return Whole() if stop <= start else _within(start, stop, size)


def _within(start: int, stop: int, size: int) -> Part | Unsatisfiable:
    return Part(start, min(stop, size)) if start < size else Unsatisfiable()
