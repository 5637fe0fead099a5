"""Decides where the file of an upload form goes, when it begins to arrive."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.errors import InvalidValue, NotAuthorised, ShareError
from shared.http.forms import MAX_OVERHEAD_BYTES
from shared.http.headers import content_length
from shared.http.senders import delivery, require_no_options
from shared.inboxes import Delivery
from shared.options import Options


class FormDestination:
    """Where the file of a form goes: into the inbox that the form names before it, if any."""

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
            # An inbox must be named before the form's fields exceed their limit.
            too_long = isinstance(error, HTTPException) and error.status_code == 413
            if self._authorised or (self.delivery is not None and not too_long):
                raise
            raise NotAuthorised from error

    def choose(self, fields: Mapping[str, str]) -> None:
        """Choose by the fields before the file. Raises `NotAuthorised`, `InvalidValue` and `UnknownFile`."""
        # The form is a little longer than its file.
        size = content_length(self._request.headers)
        self._fields = dict(fields)
        self.delivery = delivery(self._request, fields, least=max(0, size - MAX_OVERHEAD_BYTES), most=size or None)
        if self.delivery is None and not self._authorised:
            raise NotAuthorised

    def check(self, sent_options: Options, fields: Mapping[str, str]) -> None:
        """Raises `InvalidValue` for fields that came too late, and for options that an inbox does not allow."""
        for name in ("inbox", "sender"):
            if fields.get(name) != self._fields.get(name):
                raise InvalidValue(name, "must come before the file")
        if self.delivery is not None:
            require_no_options(sent_options)
