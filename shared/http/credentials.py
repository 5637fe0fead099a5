"""Reads passwords and the tokens of owners from requests, and the cookie that replaces either."""

from __future__ import annotations

import base64
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request

from shared.errors import OwnerOnly
from shared.http.async_shares import files_of
from shared.http.guard import has_api_token, require_owner_token
from shared.http.models import metadata, owner_metadata
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
    proof = pass_proof(record)
    value = None if proof is None else _cookie(request.headers, PASS_COOKIE)
    return proof is not None and value is not None and signing.is_password_pass(record.file_id, proof, value)


def pass_proof(record: Record) -> str | None:
    """What the cookie of a file stands for: its password, or the token of the owner of its inbox."""
    return f"inbox:{record.inbox_id}" if record.is_private else record.password_hash


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

    For a private file, require a token of its owner, or the cookie. Raises what `Shares.authorise` and
    `require_inbox_owner` raise.
    """
    if has_pass(request, shares.signing, file.record):
        return
    if file.record.is_private:
        require_inbox_owner(request, str(file.record.inbox_id))
    else:
        shares.authorise(file, basic_password(request.headers))


async def metadata_for(request: Request, record: Record) -> dict[str, Any]:
    """What this client can see of a file. Raises what `require_inbox_owner` raises."""
    if not record.is_private:
        return metadata(request, record)
    await files_of(request).run(lambda _: require_inbox_owner(request, str(record.inbox_id)), record.inbox_id)
    return owner_metadata(request, record)


def is_inbox_owner(request: Request, inbox_id: str) -> bool:
    """Whether a request has an access token or the owner token of this inbox.

    Raises `WrongOwnerToken` if it has another, and `StorageUnavailable`.
    """
    if has_api_token(request):
        return True
    if "x-owner-token" not in request.headers:
        return False
    require_owner_token(request, inbox_id)
    return True


def require_inbox_owner(request: Request, inbox_id: str) -> None:
    """Raises `OwnerOnly`, `WrongOwnerToken` and `StorageUnavailable`."""
    if not is_inbox_owner(request, inbox_id):
        raise OwnerOnly
