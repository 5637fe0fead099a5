"""Decides who can upload, and into which inbox: clients with an access token, and everyone who names an inbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.errors import InvalidValue, NotAuthorised, ShareError, UnknownFile
from shared.http.app import service_of
from shared.http.guard import has_current_token
from shared.http.options import only
from shared.inbox_options import MAX_SENDER
from shared.names import clean_text
from shared.options import Options
from shared.places import Delivery
from shared.sharing import FILE_ID


def inbox_in_head(request: Request) -> str | None:
    """The ID of an inbox in the path or query. Raises `InvalidValue` and `UnknownFile`."""
    return _valid(only("inbox", request.path_params.get("inbox_id"), *request.query_params.getlist("inbox")))


async def is_authorised(request: Request) -> bool:
    """Whether a request can upload without an inbox. Raises `StorageUnavailable`."""
    tokens = service_of(request).tokens
    return not tokens.required or await has_current_token(request.headers, tokens, request.app.state.threads)


async def can_upload(request: Request) -> bool:
    """Whether the head of a request is enough to upload: it names an inbox, or `is_authorised`. Raises as both."""
    return inbox_in_head(request) is not None or await is_authorised(request)


def delivery(
    request: Request, fields: Mapping[str, str] = {}, *, least: int = 0, most: int | None = None
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


class Destination:
    """The inbox, if any, that a body names before its file. `authorised` says whether the head is enough to upload."""

    def __init__(self, request: Request, authorised: bool) -> None:
        self._request = request
        self._authorised = authorised
        self._fields: Mapping[str, str] = {}
        self.delivery: Delivery | None = None

    @contextlib.contextmanager
    def required(self) -> Iterator[None]:
        """Report `NotAuthorised`, not another error, to a client with neither a token nor an inbox."""
        try:
            yield
        except (HTTPException, ShareError) as error:
            # An inbox must be named before a form's fields exceed their limit.
            too_long = isinstance(error, HTTPException) and error.status_code == 413
            if self._authorised or (self.delivery is not None and not too_long):
                raise
            raise NotAuthorised from error

    def choose(self, fields: Mapping[str, str], least: int, most: int | None) -> None:
        """Choose by the fields before the file. Raises `NotAuthorised`, and as `delivery`."""
        self._fields = dict(fields)
        self.delivery = delivery(self._request, fields, least=least, most=most)
        if self.delivery is None and not self._authorised:
            raise NotAuthorised

    def check(self, sent_options: Options, fields: Mapping[str, str]) -> None:
        """Raises `InvalidValue` for fields that came too late, and for options that an inbox does not allow."""
        for name in ("inbox", "sender"):
            if fields.get(name) != self._fields.get(name):
                raise InvalidValue(name, "must come before the file")
        if self.delivery is not None:
            require_no_options(sent_options)


def require_no_options(options: Options) -> None:
    """Refuse options that the owner of the inbox decides on. Raises `InvalidValue`."""
    for name in ("expires_in", "max_downloads", "password"):
        if getattr(options, name) is not None:
            raise InvalidValue(name, "cannot be set for an upload into an inbox")


def _valid(inbox_id: str | None) -> str | None:
    if inbox_id is not None and not FILE_ID.fullmatch(inbox_id):
        raise UnknownFile(inbox_id)
    return inbox_id
