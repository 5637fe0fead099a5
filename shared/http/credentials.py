"""Reads passwords from requests, and the cookie that replaces a password."""

from __future__ import annotations

import base64

from starlette.datastructures import Headers
from starlette.requests import Request

from shared.sharing import Record, Shares, Stored
from shared.signing import Signing

PASS_COOKIE = "pass"


def basic_password(headers: Headers) -> str | None:
    """The password of HTTP Basic authentication (RFC 7617), with any user name; None if missing or malformed."""
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, credentials = values[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, separator, password = base64.b64decode(credentials.strip(" "), validate=True).decode().partition(":")
    # Raised by both decoders, and for text that is not ASCII.
    except ValueError:
        return None
    return password if separator else None


def has_pass(request: Request, signing: Signing, record: Record) -> bool:
    """Whether this browser has entered the current password on the landing page within the last minute."""
    if record.password_hash is None:
        return False
    value = _cookie(request.headers, PASS_COOKIE)
    return value is not None and signing.is_password_pass(record.file_id, record.password_hash, value)


def _cookie(headers: Headers, name: str) -> str | None:
    """A cookie's value as sent (ours have no quotes); if repeated, the first, which has the longest path.

    Not by Python's parser, which takes quadratic time for backslashes in quotes (CVE-2024-7592) and removes all quotes.
    RFC 6265 §5.4.
    """
    for line in headers.getlist("cookie"):
        for pair in line.split(";"):
            key, _, value = pair.partition("=")
            if key.strip(" \t") == name:
                return value.strip(" \t")
    return None


def authorise(request: Request, shares: Shares, file: Stored) -> None:
    """Require the file's password, if it has one, or the cookie from its landing page.

    Raises what `Shares.authorise` raises.
    """
    if not has_pass(request, shares.signing, file.record):
        shares.authorise(file, basic_password(request.headers))
