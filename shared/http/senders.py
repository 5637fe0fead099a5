"""Decides who can upload: clients with an API token, and everyone who names an inbox."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request

from shared.errors import InvalidValue, NotAuthorised, UnknownFile
from shared.http.app import service_of
from shared.http.layers.guard import has_token
from shared.http.options import only
from shared.http.streams import in_thread
from shared.inbox_options import MAX_SENDER
from shared.inboxes import Delivery
from shared.names import clean_text
from shared.options import Options
from shared.sharing import FILE_ID

_NO_FIELDS: Mapping[str, str] = {}


def inbox_in_head(request: Request) -> str | None:
    """The ID of an inbox in the path or query. Raises `InvalidValue` and `UnknownFile`."""
    return _valid(only("inbox", request.path_params.get("inbox_id"), *request.query_params.getlist("inbox")))


async def is_authorised(request: Request) -> bool:
    """Whether a request can upload without an inbox. Raises `StorageUnavailable`."""
    tokens = service_of(request).tokens
    if not tokens.required:
        return True
    return await in_thread(request.app.state.threads, lambda: has_token(request.headers, tokens))


async def require_authorised(request: Request) -> None:
    """Raises `NotAuthorised` and `StorageUnavailable`."""
    if not await is_authorised(request):
        raise NotAuthorised


def delivery(
    request: Request, fields: Mapping[str, str] = _NO_FIELDS, *, least: int = 0, most: int | None = None
) -> Delivery | None:
    """The inbox that an upload names, in its head or these fields, and its sender; None if it names none.

    `least` and `most` limit the size of the file. Raises `InvalidValue` and `UnknownFile`.
    """
    inbox_id = _valid(only("inbox", inbox_in_head(request), fields.get("inbox")))
    if inbox_id is None:
        return None
    sender = only("sender", *request.query_params.getlist("sender"), fields.get("sender"))
    name = clean_text("sender", sender or "", MAX_SENDER)
    return Delivery(inbox_id, name or None, least, most)


def require_no_options(options: Options) -> None:
    """Refuse options that the owner of the inbox decides on. Raises `InvalidValue`."""
    for name in ("expires_in", "max_downloads", "password"):
        if getattr(options, name) is not None:
            raise InvalidValue(name, "cannot be set for an upload into an inbox")


def _valid(inbox_id: str | None) -> str | None:
    if inbox_id is not None and not FILE_ID.fullmatch(inbox_id):
        raise UnknownFile(inbox_id)
    return inbox_id
