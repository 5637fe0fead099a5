"""Reading what a sender chooses for a file from forms, queries, headers and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.errors import InvalidValue
from shared.http.streams import in_thread
from shared.options import Options, checked, parse_options, whole_number

FORM_FIELDS = frozenset({"expires_in", "max_downloads", "password", "sha256"})
CHANGEABLE = frozenset({"expires_in", "max_downloads", "password"})
MAX_JSON_BYTES = 16 * 1024
# Three times as many as 10,000 parts have, each with its number and its ETag.
MAX_JSON_VALUES = 100_000

_NO_FIELDS: Mapping[str, str] = {}
_DAY = 24 * 3600
MAX_DAYS = 36_600
# Room for every algorithm that there is (RFC 9530 §7.2); the parser is slow.
MAX_DIGEST_LENGTH = 1024
_MAX_DIGITS = 20
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def from_request(request: Request, longest: int, fields: Mapping[str, str] = _NO_FIELDS) -> Options:
    """Options from query parameters, transfer.sh's headers, `X-Password` and the fields of a form, each given once.

    `longest` bounds the lifetime. Raises `InvalidValue`.
    """
    _require_no_password(request)
    days = _header(request, "Max-Days")
    by_days = None if days is None else str(whole_number("Max-Days", days, MAX_DAYS) * _DAY)
    max_downloads = _header(request, "Max-Downloads")
    return parse_options(
        only("expires_in", fields.get("expires_in"), *_queried(request, "expires_in"), by_days),
        only("max_downloads", fields.get("max_downloads"), *_queried(request, "max_downloads"), max_downloads),
        only("password", fields.get("password"), _utf8(_header(request, "X-Password"))),
        longest,
    )


def from_metadata(request: Request, longest: int, metadata: Mapping[str, Any]) -> Options:
    """As `from_request`, with options as JSON has them, texts or numbers; other members are not ours."""
    fields = {}
    for name in CHANGEABLE:
        value = metadata.get(name)
        if value is None:
            continue
        # `type`, since to isinstance True is a number.
        if type(value) not in (int, str):
            raise InvalidValue(name, "must be text or a whole number")
        _require_encodable(name, str(value))
        fields[name] = str(value)
    return from_request(request, longest, fields)


def form_sha256(fields: Mapping[str, str]) -> str | None:
    """The SHA-256 (hex) that a form says its file has. Raises `InvalidValue`."""
    sha256 = fields.get("sha256")
    if sha256 is not None and not _SHA256_HEX.fullmatch(sha256):
        raise InvalidValue("sha256", "must be 64 hexadecimal digits")
    return sha256


async def from_json(request: Request, longest: int) -> tuple[Options, frozenset[str]]:
    """Options from a JSON object, and which of them it names; null stands for removing one.

    Raises `InvalidValue`, and `HTTPException` 400, 413 and 415.
    """
    _require_no_password(request)
    values = await read_json(request, MAX_JSON_BYTES)
    for name, value in values.items():
        _require_type(name, value)
    return checked(Options(**values), longest), frozenset(values)


async def read_json(request: Request, most: int) -> dict[str, Any]:
    """The JSON object that is the body, of at most so many bytes. Raises `HTTPException` 400, 413 and 415.

    It is parsed in a thread, since what fits in megabytes takes long.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("application/json", "application/merge-patch+json"):
        raise HTTPException(415, "The body must be application/json.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"The body is larger than {most} bytes.")
    return await in_thread(request.app.state.threads, lambda: _json_object(body))


def _json_object(body: bytearray) -> dict[str, Any]:
    # Between them there are at most as many values and one more. The parser lets no other thread run while it makes
    # them, so that millions of tiny ones would stop the whole process.
    if sum(map(body.count, b",[{")) > MAX_JSON_VALUES:
        raise HTTPException(413, f"The body holds more than {MAX_JSON_VALUES} values.")
    try:
        values = json.loads(body, object_pairs_hook=_no_duplicates, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The body is not JSON.") from error
    if not isinstance(values, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    return values


def _require_no_password(request: Request) -> None:
    if "password" in request.query_params:
        raise InvalidValue("password", "must not be sent in a URL, which ends up in logs: use the header X-Password")


def _require_type(name: str, value: Any) -> None:
    if name not in CHANGEABLE:
        raise InvalidValue("body", f"may name only {', '.join(sorted(CHANGEABLE))}")
    # `type`, since to isinstance True is a number.
    kind, wanted = (str, "text") if name == "password" else (int, "a whole number")
    if value is not None and type(value) is not kind:
        raise InvalidValue(name, f"must be {wanted} or null")
    if isinstance(value, str):
        _require_encodable(name, value)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name appears twice")
    return values


def _number(digits: str) -> int:
    # More digits than this are beyond every bound, and Python itself refuses thousands of them.
    return int(digits[:_MAX_DIGITS])


def _queried(request: Request, name: str) -> list[str]:
    return request.query_params.getlist(name)


def _header(request: Request, name: str) -> str | None:
    return only(name, *request.headers.getlist(name))


def only(name: str, *values: str | None) -> str | None:
    """The one value that is not None; None if there is none. Raises `InvalidValue` if there are several."""
    given = [value for value in values if value is not None]
    if len(given) > 1:
        raise InvalidValue(name, "must be given only once")
    return given[0] if given else None


def _utf8(value: str | None) -> str | None:
    """A header's text, which arrives decoded as latin-1, as the UTF-8 it was meant to be."""
    if value is None:
        return None
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("X-Password", "must be UTF-8") from error


def _require_encodable(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(name, "must be Unicode text") from error


def announced_sha256(request: Request) -> str | None:
    """The SHA-256 of `Repr-Digest` in hex; other algorithms are ignored, as RFC 9530 §2 allows.

    Raises `HTTPException` 400 if it is malformed.
    """
    values = request.headers.getlist("repr-digest")
    if not values:
        return None
    value = ", ".join(values)
    if len(value) > MAX_DIGEST_LENGTH:
        raise HTTPException(400, f"Repr-Digest is longer than {MAX_DIGEST_LENGTH} characters.")
    # Only here, since every function that reads options would start later for it.
    import http_sf

    try:
        digests: Any = http_sf.parse(value.encode("latin-1"), tltype="dictionary")
    except ValueError as error:
        raise HTTPException(400, "Repr-Digest is malformed.") from error
    if "sha-256" not in digests:
        return None
    value = digests["sha-256"][0]
    if not isinstance(value, bytes) or len(value) != 32:
        raise HTTPException(400, "The sha-256 of Repr-Digest must be 32 bytes.")
    return value.hex()
