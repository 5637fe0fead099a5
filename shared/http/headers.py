"""Writes and checks header values in one place, so that no client's text gets into a response unescaped."""

from __future__ import annotations

import functools
import mimetypes
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from os.path import splitext
from urllib.parse import quote

from starlette.datastructures import Headers

DEFAULT_MEDIA_TYPE = "application/octet-stream"
# Of a form without files.
FORM_TYPE = "application/x-www-form-urlencoded"

_MAX_MEDIA_TYPE_LENGTH = 255
_TYPES_OF_ANY_BODY = frozenset({FORM_TYPE, "application/json"})
_MAX_DIGITS = 20
_LONGEST_HTTP_DATE = len("Wednesday, 09-Nov-1994 08:49:37 GMT")

# `quote` itself keeps letters, digits and "_.-~"; these are the rest of attr-char (RFC 8187 §3.2.1).
_ATTR_CHARS = "!#$&+^`|"

# "%" is not plain, because some browsers percent-decode a plain `filename` (RFC 6266, appendix D).
_NOT_PLAIN = re.compile(r'[^ -~]|["\\%]')

_NO_WEIGHT = re.compile(r"q=0(?:\.0*)?")

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'

# Possessive repeats, because backtracking would try all ways to split a run of spaces. The groups are unambiguous, and
# not possessive: Python before 3.11.5 matches half of a possessive group (python/cpython#106052).
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*+;[ \t]*+(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))?)*")


def joined(headers: Headers) -> dict[str, str]:
    """Headers by lower-case name; repeated ones are joined to a list (RFC 9110 §5.3)."""
    values: dict[str, list[str]] = {}
    for name, value in headers.items():
        values.setdefault(name, []).append(value)
    return {name: ", ".join(repeated) for name, repeated in values.items()}


def content_disposition(name: str) -> str:
    """An `attachment` that saves as `name`, in printable ASCII only (RFC 6266 §4, RFC 8187 §3.2).

    A plain name needs `filename` alone; any other also gets the exact `filename*`, which every browser prefers.
    """
    fallback = _NOT_PLAIN.sub("_", name)
    disposition = f'attachment; filename="{fallback}"'
    if fallback == name:
        return disposition
    return f"{disposition}; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS, errors='replace')}"


def media_type(value: str | None) -> str:
    """`value` as sent if it is a media type (RFC 9110 §8.3.1) of reasonable length, else `application/octet-stream`."""
    stripped = (value or "").strip(" \t")
    if len(stripped) > _MAX_MEDIA_TYPE_LENGTH or not _MEDIA_TYPE.fullmatch(stripped):
        return DEFAULT_MEDIA_TYPE
    return stripped


def body_media_type(value: str | None, name: str) -> str:
    """The type of a file that was sent as the whole body: as sent, unless it is a type that tools send for any body.

    `curl -X PUT --data-binary` and `wget --body-file` call every body a form, and HTTPie calls it JSON, so the file's
    name is more reliable. If the name has no known type, JSON stays JSON, because programs also send it on purpose;
    nobody uploads a form as a file.
    """
    kind = media_type(value)
    if kind.lower() not in _TYPES_OF_ANY_BODY:
        return kind
    by_name = media_types().types_map[True].get(splitext(name)[1].lower())
    return by_name or (DEFAULT_MEDIA_TYPE if kind.lower() == FORM_TYPE else kind)


@functools.cache
def media_types() -> mimetypes.MimeTypes:
    """Python's own table without the machine's, so that a name has the same type everywhere."""
    return mimetypes.MimeTypes()


def content_length(headers: Headers) -> int:
    """Bytes that a request announces; 0 if it announces none or an invalid length (RFC 9110 §8.6)."""
    text = headers.get("content-length", "")
    return parse_digits(text) if text.isascii() and text.isdigit() else 0


def parse_digits(digits: str) -> int:
    """The number. For more digits than any limit has, one above all limits: Python refuses to parse thousands."""
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= _MAX_DIGITS else 10**_MAX_DIGITS


# For as many files as are downloaded again and again: this takes 5 of the 200 µs of a download.
@functools.lru_cache(64)
def http_date(moment: datetime) -> str:
    """An aware `moment` as IMF-fixdate, truncated to seconds (RFC 9110 §5.6.7)."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def parse_http_date(text: str) -> datetime | None:
    """Parse an HTTP date in any of its three forms, as UTC; None for everything else. Never raises."""
    if not text.isascii() or len(text) > _LONGEST_HTTP_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # The obsolete asctime form has no zone, but is in UTC as well (RFC 9110 §5.6.7).
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def repr_digest(sha256_hex: str) -> str:
    """The `Repr-Digest` of a representation with this SHA-256 (RFC 9530 §3)."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256_hex)).decode()}:"


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether a browser asks before anybody has asked it to (Fetch, "Sec-Purpose"; older ones say `Purpose`)."""
    announced = (headers.get("sec-purpose", ""), headers.get("purpose", ""))
    return any(value.partition(";")[0].strip().lower() == "prefetch" for value in announced)


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Whether a client accepts answers compressed by gzip; a weight of 0 refuses them (RFC 9110 §12.5.3)."""
    weights: dict[str, str] = {}
    for item in headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = item.partition(";")
        weights[coding.strip()] = weight.strip()
    return not _NO_WEIGHT.fullmatch(weights.get("gzip", weights.get("*", "q=0")))
