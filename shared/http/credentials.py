"""Passwords as clients send them."""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers


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
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if separator else None
