"""Who can call an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBasic, HTTPBearer


@dataclass(frozen=True, slots=True)
class Access:
    """Who can call an endpoint, and the errors for everyone else.

    `schemes` are only for the OpenAPI document: `guard` checks `guarded` endpoints, and others check credentials
    themselves. An endpoint `takes_inbox` if the ID of an inbox replaces the token. Credentials are `optional` if only
    some servers or files require them.
    """

    schemes: tuple[Any, ...] = ()
    errors: tuple[int, ...] = ()
    guarded: bool = False
    takes_inbox: bool = False
    optional: bool = True


_API_TOKEN = HTTPBearer(auto_error=False, scheme_name="ApiToken", description="Required if the server has a token.")
_OF_UPLOAD = "The `delete_token` from the answer to the upload."
_DELETE_TOKEN = APIKeyHeader(name="X-Delete-Token", auto_error=False, scheme_name="DeleteToken", description=_OF_UPLOAD)
_DELETE_LINK = APIKeyQuery(name="token", auto_error=False, scheme_name="DeleteTokenInLink", description=_OF_UPLOAD)
_OWNER_TOKEN = APIKeyHeader(
    name="X-Owner-Token",
    auto_error=False,
    scheme_name="OwnerToken",
    description="The `owner_token` from the answer to the creation of the inbox.",
)
_PASSWORD = HTTPBasic(auto_error=False, scheme_name="FilePassword", description="Required if the file has a password.")

ANYONE = Access()
TOKEN = Access((_API_TOKEN,), (401,), guarded=True)
# The endpoint checks the token itself, because an inbox replaces it.
SENDER = Access((_API_TOKEN,), (401,), takes_inbox=True)
OWNER = Access((_API_TOKEN, _DELETE_TOKEN, _DELETE_LINK, _OWNER_TOKEN), (401, 403), optional=False)
INBOX = Access((_API_TOKEN, _OWNER_TOKEN), (403,))
INBOX_OWNER = Access((_API_TOKEN, _OWNER_TOKEN), (401, 403), optional=False)
# Files in an inbox require a token.
READER = Access((_API_TOKEN, _OWNER_TOKEN), (401, 403))
PASSWORD = Access((_PASSWORD, _API_TOKEN, _OWNER_TOKEN), (401, 403, 429))
