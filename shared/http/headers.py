"""Header values that are written or checked in one place, so that no caller's text reaches a response unescaped."""

from __future__ import annotations

import functools
import mimetypes
import re
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from os.path import splitext
from urllib.parse import quote

from starlette.datastructures import Headers

DEFAULT_MEDIA_TYPE = "application/octet-stream"

_MAX_MEDIA_TYPE_LENGTH = 255
_FORM_TYPE = "application/x-www-form-urlencoded"
_TYPES_OF_ANY_BODY = frozenset({_FORM_TYPE, "application/json"})
_MAX_DIGITS = 20
_LONGEST_HTTP_DATE = len("Wednesday, 09-Nov-1994 08:49:37 GMT")

# `quote` itself keeps letters, digits and "_.-~"; these are the rest of attr-char (RFC 8187 §3.2.1).
_ATTR_CHARS = "!#$&+^`|"

# "%" is left out because some browsers percent-decode a plain `filename` (RFC 6266, appendix D).
_NOT_PLAIN = re.compile(r'[^ -~]|["\\%]')

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'

# Possessive, since a run of spaces has many readings, and backtracking would try them all. Not so the groups, of which
# each has one reading only: Python before 3.11.5 takes half of a possessive group for a match (python/cpython#106052).
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*+;[ \t]*+(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))?)*")


def joined(headers: Headers) -> dict[str, str]:
    """Each header once, by its lower-case name; repeated ones become one list (RFC 9110 §5.3)."""
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


def raw_media_type(value: str | None, name: str) -> str:
    """The type of a file that came as a whole body: as sent, unless it is a type that tools write for any body.

    `curl -X PUT --data-binary` and `wget --body-file` call every body a form, and HTTPie calls it JSON: there the
    sender has said nothing of the file, and its name says more. JSON stays JSON where the name does not say otherwise,
    since programs also mean it; a form that somebody keeps as a file does not occur.
    """
    kind = media_type(value)
    if kind.lower() not in _TYPES_OF_ANY_BODY:
        return kind
    by_name = _types_by_suffix().get(splitext(name)[1].lower())
    return by_name or (DEFAULT_MEDIA_TYPE if kind.lower() == _FORM_TYPE else kind)


@functools.cache
def _types_by_suffix() -> dict[str, str]:
    # Python's own table and not also the machine's, so that the same name has the same type everywhere.
    return mimetypes.MimeTypes().types_map[True]


def content_length(headers: Headers) -> int:
    """Bytes that a request announces; 0 if it announces none, or what is no length (RFC 9110 §8.6)."""
    text = headers.get("content-length", "")
    # Python refuses to read thousands of digits, and as many as these are beyond every limit.
    return int(text[:_MAX_DIGITS]) if text.isascii() and text.isdigit() else 0


def http_date(moment: datetime) -> str:
    """An aware `moment` as IMF-fixdate, cut to whole seconds (RFC 9110 §5.6.7)."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def parse_http_date(text: str) -> datetime | None:
    """The instant that an HTTP date in any of its three forms names, in UTC; None for everything else. Never raises."""
    if not text.isascii() or len(text) > _LONGEST_HTTP_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # The obsolete asctime form names no zone; it is in UTC all the same (RFC 9110 §5.6.7).
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def repr_digest(sha256_hex: str) -> str:
    """The `Repr-Digest` of a representation with this SHA-256 (RFC 9530 §3)."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256_hex)).decode()}:"


def is_prefetch(headers: Headers) -> bool:
    """Whether a browser asks before anybody has asked it to (Fetch, "Sec-Purpose"; older ones say `Purpose`)."""
    announced = (headers.get("sec-purpose", ""), headers.get("purpose", ""))
    return any(value.partition(";")[0].strip().lower() == "prefetch" for value in announced)
