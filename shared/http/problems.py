"""Answers every error with an RFC 9457 problem: a table for the product's errors, handlers for the framework's.

No answer repeats what the client sent or reveals internals; those go to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared import errors
from shared.http.browsers import error_page, is_navigation
from shared.http.models import PROBLEM_TYPE

log = logging.getLogger(__name__)

TYPE_PREFIX = "tag:simple-file-sharing-api,2026:"
NOT_FOUND = "There is no file or page at this address."

# For statuses that the framework, or a check before it, answers with the status phrase alone.
_DETAILS = {
    404: NOT_FOUND,
    405: "Method not allowed.",
}


class Problem(JSONResponse):
    """An RFC 9457 problem document, or a page with the same text if a person opens the address in a browser.

    `kind` names the problem where the status alone does not; `members` are extension members such as `limit`.
    """

    media_type = PROBLEM_TYPE

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        self.kind = kind
        self.members = {
            "type": "about:blank" if kind is None else TYPE_PREFIX + kind,
            "title": HTTPStatus(status).phrase if kind is None else kind.replace("-", " ").capitalize(),
            "status": status,
            "detail": detail,
            **members,
        }
        super().__init__(self.members, status, {"X-Content-Type-Options": "nosniff", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_navigation(scope):
            await error_page(Request(scope), self)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Row(NamedTuple):
    """The answer to one class of error. `detail` is a format string, which gets the error."""

    status: int
    kind: str | None
    detail: str
    headers: Mapping[str, str] = {}


_SOON, _LATER = {"Retry-After": "2"}, {"Retry-After": "5"}
_BASIC = {"WWW-Authenticate": 'Basic realm="shared file", charset="UTF-8"'}
_BEARER = {"WWW-Authenticate": 'Bearer realm="file sharing"'}

PROBLEMS: Mapping[type[errors.ShareError], _Row] = {
    # The same as for an unknown path, so that a deleted ID looks like one that never existed.
    errors.UnknownFile: _Row(404, None, NOT_FOUND),
    errors.DamagedFile: _Row(500, "damaged-file", "The stored file is damaged."),
    errors.Expired: _Row(410, "expired", "This file has expired."),
    errors.UsedUp: _Row(410, "used-up", "This file has reached its download limit."),
    errors.Preparing: _Row(503, "preparing", "This file is being prepared. Try again.", _LATER),
    errors.AlteredText: _Row(
        400,
        "altered-text",
        "The text was altered in transit, because it is not UTF-8. Send files as application/octet-stream.",
    ),
    errors.DigestMismatch: _Row(400, "digest-mismatch", "The bytes received do not match the announced digest."),
    errors.WrongPassword: _Row(
        401,
        "password-required",
        "A valid password is required. Send it by HTTP Basic authentication, with any user name.",
        _BASIC,
    ),
    errors.TooManyAttempts: _Row(429, "too-many-attempts", "Too many passwords are being checked. Try again.", _SOON),
    errors.NotAuthorised: _Row(401, "token-required", "A valid access token is required.", _BEARER),
    errors.WrongDeleteToken: _Row(403, "wrong-delete-token", "Wrong delete token."),
    errors.WrongOwnerToken: _Row(403, "wrong-owner-token", "Wrong owner token."),
    errors.OwnerOnly: _Row(
        401,
        "owner-only",
        "Only the owner of the inbox can do this. Send its owner token in X-Owner-Token, or an access token.",
        _BEARER,
    ),
    errors.CrossSite: _Row(
        403, "cross-site", "Cross-site request refused. Set SHARE_PUBLIC_URL if this server is behind a proxy."
    ),
    errors.FileTooLarge: _Row(413, "file-too-large", "Too large: this server accepts files up to {error.limit} bytes."),
    errors.MoreThanAnnounced: _Row(
        413, "more-than-announced", "The parts exceed the announced size of {error.limit} bytes."
    ),
    errors.TooLargeForInbox: _Row(
        413, "too-large-for-inbox", "Too large: this inbox accepts files up to {error.limit} bytes."
    ),
    errors.InboxFull: _Row(
        413, "inbox-full", "This inbox has no room for this file. Ask its owner to raise the limits."
    ),
    errors.InboxClosed: _Row(410, "inbox-closed", "This inbox no longer accepts files."),
    errors.InvalidValue: _Row(422, "invalid-value", "{error.field} {error.reason}."),
    errors.Contended: _Row(503, "busy", "Too many requests for this file at once. Try again.", _SOON),
    errors.OutcomeUnknown: _Row(
        503, "outcome-unknown", "Storage did not confirm the change. It may have been made. Try again.", _SOON
    ),
    errors.StorageUnavailable: _Row(503, "storage-unavailable", "Storage is unavailable. Try again.", _LATER),
    errors.StorageFull: _Row(507, "storage-full", "Not enough space for this file. Try again later."),
    errors.NotAnArchive: _Row(
        415, "not-an-archive", "This file is not a zip archive, or its list of files is damaged."
    ),
    errors.ArchiveTooLarge: _Row(
        413, "archive-too-large", "This archive is too large to open here. Download the whole archive."
    ),
    errors.UnknownEntry: _Row(404, "unknown-entry", "The archive has no file with this name."),
    errors.UnsupportedEntry: _Row(
        415,
        "unsupported-entry",
        "This file is encrypted, or compressed in an unsupported way. Download the whole archive.",
    ),
    errors.InvalidSetting: _Row(500, None, "This server is not configured correctly."),
}


def from_error(error: errors.ShareError) -> Problem:
    """The answer to one of the product's errors."""
    row = PROBLEMS[type(error)]
    if row.status >= 500:
        # Logged errors trigger an alarm on AWS, but high demand for one file is not a failure.
        level = logging.WARNING if isinstance(error, errors.Contended) else logging.ERROR
        log.log(level, "answered %d: %s", row.status, error, exc_info=error if row.status == 500 else None)
    detail = row.detail.format(error=error)
    members: dict[str, Any] = {}
    if isinstance(error, errors.FileTooLarge):
        members["limit"] = error.limit
    elif isinstance(error, errors.InvalidValue):
        members["errors"] = [{"field": error.field, "reason": error.reason}]
    return Problem(row.status, detail, kind=row.kind, headers=row.headers, **members)


def install(app: FastAPI) -> None:
    """Handle every error that an app raises."""
    app.add_exception_handler(errors.ShareError, _on_share_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_anything)


async def _on_share_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ShareError)
    return from_error(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = error.detail if error.detail != phrase else _DETAILS.get(error.status_code, f"{phrase}.")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = request.app.state.table.allowed_methods(request.scope)
        headers["Allow"] = ", ".join(sorted(allowed)) or headers.get("Allow", "")
    return Problem(error.status_code, detail, headers=headers)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    # The client has disconnected, so the server drops this.
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _on_anything(_request: Request, _error: Exception) -> Response:
    # uvicorn or Lambda logs the error with its traceback.
    return Problem(500, "Something went wrong on the server. It has been logged.")
