"""Allows pages of other sites to use the API (Fetch Standard, "CORS protocol")."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from shared.http.problems import Problem

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Response headers that their scripts can read.
EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Repr-Digest",
    "Retry-After",
    "X-Url-Delete",
)


class Cors(CORSMiddleware):
    """Starlette's middleware, but it refuses with a problem document. `origins` are those of the other sites."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app, allow_origins=list(origins), allow_methods=METHODS, allow_headers=["*"], expose_headers=EXPOSED
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code != HTTPStatus.BAD_REQUEST:
            return answer
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        return Problem(
            HTTPStatus.BAD_REQUEST,
            "This origin cannot make this request. Add it to SHARE_CORS_ORIGINS to allow it.",
            headers=headers,
        )
