"""Decides who can send which request, from the head alone and before any of the body is read."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Executor

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from shared.bootstrap import Service
from shared.errors import (
    CrossSite,
    Expired,
    NotAuthorised,
    OwnerOnly,
    UnknownFile,
    WrongDeleteToken,
    WrongOwnerToken,
)
from shared.http.endpoint import SAFE_METHODS, Endpoint
from shared.http.streams import in_thread
from shared.tokens import Tokens

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Guard:
    """Requires a token on guarded endpoints; without tokens, refuses changes that another site makes a browser request.

    A check of the routing table: it runs before the endpoint, and so before any of the body is read.
    `origins` are other sites that can make changes.
    """

    def __init__(self, *, tokens: Tokens, origins: Collection[str], threads: Executor) -> None:
        self._tokens = tokens
        self._origins = origins
        self._threads = threads

    async def __call__(self, scope: Scope, endpoint: Endpoint) -> None:
        """Raises `NotAuthorised`, `CrossSite`, and `StorageUnavailable` if the tokens cannot be read."""
        headers, tokens = Headers(scope=scope), self._tokens
        if not tokens.required:
            if scope["method"] not in SAFE_METHODS and self._is_cross_site(headers):
                raise CrossSite
        elif _is_guarded(scope, endpoint, headers) and not await has_current_token(headers, tokens, self._threads):
            raise NotAuthorised

    def _is_cross_site(self, headers: Headers) -> bool:
        """By the headers in which browsers report a request's origin (Fetch Metadata, RFC 6454)."""
        origin = headers.get("origin")
        if origin is not None and origin in self._origins:
            return False
        site = headers.get("sec-fetch-site")
        if site is not None:
            # The browser compared the real addresses; a proxy may have passed on another Host.
            return site.lower() not in ("same-origin", "none")
        return origin is not None and not _is_at(origin.lower(), headers.get("host", "").lower())


def _is_guarded(scope: Scope, endpoint: Endpoint, headers: Headers) -> bool:
    if not endpoint.takes_inbox:
        return endpoint.guarded
    if "inbox_id" in scope["path_params"] or b"inbox=" in scope["query_string"]:
        return False
    # The bodies of other methods can name an inbox, so their endpoints check. A client that sends a token uses it.
    return scope["method"] == "PUT" or any(_is_bearer(value) for value in headers.getlist("authorization"))


def _is_at(origin: str, host: str) -> bool:
    """Whether an origin has this host and port; the scheme's default port can be omitted (RFC 6454 §4)."""
    scheme, _, place = origin.partition("://")
    default = _DEFAULT_PORTS.get(scheme, "")
    return place.removesuffix(default) == host.removesuffix(default)


async def has_current_token(headers: Headers, tokens: Tokens, threads: Executor) -> bool:
    """Like `has_token`, but a secret that is due is read in a thread, so that other requests do not wait for it.

    Raises `StorageUnavailable`.
    """
    if tokens.stale:
        await in_thread(threads, tokens.refresh)
    return has_token(headers, tokens)


def has_token(headers: Headers, tokens: Tokens) -> bool:
    """Whether a request carries exactly one Authorization header with a valid bearer token (RFC 6750 §2.1)."""
    values = headers.getlist("authorization")
    if len(values) != 1 or not _is_bearer(values[0]):
        return False
    return tokens.accept(values[0].partition(" ")[2].strip(" "))


def _is_bearer(authorization: str) -> bool:
    return authorization.partition(" ")[0].lower() == "bearer"


def has_api_token(request: Request) -> bool:
    """Whether access tokens are required here, and the request has one. Raises `StorageUnavailable`."""
    tokens: Tokens = request.app.state.service.tokens
    # Not even read if there is none, because on Lambda that takes a request.
    return tokens.required and "authorization" in request.headers and has_token(request.headers, tokens)


def require_owner(request: Request, file_id: str, *, receipt: bool) -> None:
    """Require an access token, the delete token of this file, or the owner token of its inbox.

    The sender of a file in an inbox has the delete token as a `receipt`, which is not always enough. A stranger learns
    nothing about the ID. Raises `NotAuthorised`, `WrongDeleteToken`, `WrongOwnerToken` and `OwnerOnly`; with the right
    delete token also `UnknownFile` and `Expired`.
    """
    if has_api_token(request):
        return
    service: Service = request.app.state.service
    if "x-owner-token" in request.headers:
        try:
            inbox_id = service.shares.find(file_id).record.inbox_id
        except (UnknownFile, Expired):
            inbox_id = None
        require_owner_token(request, inbox_id)
        return
    presented = request.headers.getlist("x-delete-token") or request.query_params.getlist("token")
    if not presented:
        raise NotAuthorised
    if len(presented) != 1 or not service.shares.signing.is_delete_token(file_id, presented[0]):
        raise WrongDeleteToken
    if not receipt and service.shares.find(file_id).record.inbox_id is not None:
        raise OwnerOnly


def require_owner_token(request: Request, inbox_id: str | None) -> None:
    """Require the owner token of this inbox, sent once. Raises `WrongOwnerToken`."""
    service: Service = request.app.state.service
    presented = request.headers.getlist("x-owner-token")
    if inbox_id is None or len(presented) != 1 or not service.shares.signing.is_owner_token(inbox_id, presented[0]):
        raise WrongOwnerToken
