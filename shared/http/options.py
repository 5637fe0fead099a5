"""Reads the options of an upload from forms, queries, headers and JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.errors import InvalidValue
from shared.http.headers import DEFAULT_MEDIA_TYPE
from shared.http.models import SentEncryption, SentOptions
from shared.options import ENCRYPTED_NAME, Encryption, Options, checked, parse_number, whole_number

# The fields of a form, and the most bytes that each can have.
FORM_FIELDS = {
    **dict.fromkeys(("expires_in", "max_downloads", "password", "sha256", "inbox", "sender"), 1024),
    "encryption": 9 * 1024,
}

_DAY = 24 * 3600
MAX_DAYS = 36_600
# Enough for all registered algorithms (RFC 9530 §7.2). The parser is slow.
MAX_DIGEST_LENGTH = 1024
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def in_head(request: Request) -> dict[str, str]:
    """The options in query parameters, transfer.sh's headers and `X-Password`, each sent only once.

    They have the names of form fields. Raises `InvalidValue`.
    """
    require_not_in_query(request)
    query = request.query_params
    days = _header(request, "Max-Days")
    by_days = None if days is None else str(whole_number("Max-Days", days, MAX_DAYS) * _DAY)
    texts = {
        "expires_in": only("expires_in", *query.getlist("expires_in"), by_days),
        "max_downloads": only("max_downloads", *query.getlist("max_downloads"), _header(request, "Max-Downloads")),
        "password": _utf8(_header(request, "X-Password")),
    }
    return {name: text for name, text in texts.items() if text is not None}


def parsed(
    head: Mapping[str, str],
    longest: int,
    fields: Mapping[str, str] = {},
    encryption: SentEncryption | None = None,
) -> Options:
    """The options in the head and in form fields, each sent only once.

    `longest` limits the lifetime. Raises `InvalidValue`.
    """
    for name in head:
        if name in fields:
            raise InvalidValue(name, "must be sent only once")
    texts = {**head, **fields}
    if "encryption" in texts:
        encryption = _encryption(texts["encryption"])
    options = Options(
        parse_number(texts.get("expires_in")),
        parse_number(texts.get("max_downloads")),
        texts.get("password"),
        None if encryption is None else Encryption(encryption.scheme, encryption.metadata),
    )
    return checked(options, longest)


def from_metadata(request: Request, longest: int, metadata: SentOptions) -> Options:
    """The options in the head and in JSON. Raises `InvalidValue`."""
    fields = {name: str(value) for name, value in metadata if value is not None and name != "encryption"}
    return parsed(in_head(request), longest, fields, metadata.encryption)


def form_sha256(fields: Mapping[str, str]) -> str | None:
    """The SHA-256 (hex) that a form announces for its file. Raises `InvalidValue`."""
    sha256 = fields.get("sha256")
    if sha256 is not None and not _SHA256_HEX.fullmatch(sha256):
        raise InvalidValue("sha256", "must be 64 hexadecimal digits")
    return sha256


def public_name(options: Options, name: str, content_type: str) -> tuple[str, str]:
    """The name and type to store: never those of an encrypted file."""
    return (name, content_type) if options.encryption is None else (ENCRYPTED_NAME, DEFAULT_MEDIA_TYPE)


def _encryption(text: str) -> SentEncryption:
    try:
        return SentEncryption.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InvalidValue("encryption", "must be JSON with a valid scheme and metadata, and nothing else") from error


def require_not_in_query(request: Request) -> None:
    """Refuse options that do not belong into a URL. Raises `InvalidValue`."""
    if "password" in request.query_params:
        raise InvalidValue("password", "must not be sent in a URL, because logs keep URLs: use the X-Password header")
    if "encryption" in request.query_params:
        raise InvalidValue("encryption", "must not be sent in a URL, because it is too long: use a form field")


def _header(request: Request, name: str) -> str | None:
    return only(name, *request.headers.getlist(name))


def only(name: str, *values: str | None) -> str | None:
    """The one value that is not None; None if there is none. Raises `InvalidValue` if there are several."""
    present = [value for value in values if value is not None]
    if len(present) > 1:
        raise InvalidValue(name, "must be sent only once")
    return present[0] if present else None


def _utf8(value: str | None) -> str | None:
    """A header value, which arrives decoded as latin-1, decoded as UTF-8 instead."""
    if value is None:
        return None
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("X-Password", "must be UTF-8") from error


def announced_sha256(request: Request) -> str | None:
    """The SHA-256 in `Repr-Digest`, as hex; other algorithms are ignored, as RFC 9530 §2 allows.

    Raises `HTTPException` 400 if it is malformed.
    """
    values = request.headers.getlist("repr-digest")
    if not values:
        return None
    value = ", ".join(values)
    if len(value) > MAX_DIGEST_LENGTH:
        raise HTTPException(400, f"Repr-Digest is longer than {MAX_DIGEST_LENGTH} characters.")
    # Imported here because it would slow the start of every function that reads options.
    import http_sf

    try:
        digests: Any = http_sf.parse(value.encode("latin-1"), tltype="dictionary")
    except ValueError as error:
        raise HTTPException(400, "Repr-Digest is malformed.") from error
    if "sha-256" not in digests:
        return None
    value = digests["sha-256"][0]
    if not isinstance(value, bytes) or len(value) != 32:
        raise HTTPException(400, "The sha-256 in Repr-Digest must have 32 bytes.")
    return value.hex()
