"""Passwords as clients send them, and the cookie that stands for one."""

from __future__ import annotations

import base64

from starlette.datastructures import Headers
from starlette.requests import Request

from shared.sharing import Record, Shares, Stored
from shared.signing import Signing

PASS_COOKIE = "pass"


def basic_password(headers: Headers) -> str | None:
    """The password of HTTP Basic authentication (RFC 7617), whatever the user name; None if there is none to read."""
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, credentials = values[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, separator, password = base64.b64decode(credentials.strip(" "), validate=True).decode().partition(":")
    # Of both decoders, and of text that is not ASCII.
    except ValueError:
        return None
    return password if separator else None


def has_pass(request: Request, signing: Signing, record: Record) -> bool:
    """Whether the landing page has let this browser pass, a minute ago at most and with the current password."""
    if record.password_hash is None:
        return False
    value = _cookie(request.headers, PASS_COOKIE)
    return value is not None and signing.is_password_pass(record.file_id, record.password_hash, value)


def _cookie(headers: Headers, name: str) -> str | None:
    """A cookie's value as it was sent, which for ours is without quotes; the first, whose path is the longest.

    By hand, since Python's parser takes quadratic time for backslashes in quotes (CVE-2024-7592) and unquotes them all.
    RFC 6265 §5.4.
    """
    for line in headers.getlist("cookie"):
        for pair in line.split(";"):
            key, _, value = pair.partition("=")
            if key.strip(" \t") == name:
                return value.strip(" \t")
    return None


def authorise(request: Request, shares: Shares, file: Stored) -> None:
    """Require the password of the file, if it has one, or the cookie of its landing page.

    Raises what `Shares.authorise` raises.
    """
    if not has_pass(request, shares.signing, file.record):
        shares.authorise(file, basic_password(request.headers))
