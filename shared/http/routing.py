"""How paths are registered: with and without the trailing slash, HEAD beside every GET, and IDs that are IDs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, request_response
from starlette.types import Scope

from shared.sharing import FILE_ID

# First segments of our own paths; `inbox` is reserved.
OWN_SEGMENTS = ("docs", "download", "file", "health", "inbox", "openapi.json", "static")
_OWN = "|".join(map(re.escape, OWN_SEGMENTS))


class _Text(Convertor[str]):
    """A path parameter that its endpoint gets as it is."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _FileId(_Text):
    """`{file_id:file_id}`: a random UUID in lower case. Anything else is no route, hence a 404."""

    # Starlette ends its patterns with "$", which matches before a last line break, too.
    regex = FILE_ID.pattern + r"(?!\n)"


class _Rest(_Text):
    """`{name:rest}`: whatever is left of the path, also where that has line breaks in it."""

    regex = "(?s:.*)"


class _OwnSegment(_Text):
    """`{name:own_segment}`: the first segment of other routes, with or without a slash."""

    regex = rf"(?:{_OWN})/?(?!\n)"


class _RootName(_Text):
    """`{name:root_name}`: one segment that is the first of no other route."""

    regex = rf"(?!(?:{_OWN})/?\Z)[^/]+"


register_url_convertor("file_id", _FileId())
register_url_convertor("rest", _Rest())
register_url_convertor("root_name", _RootName())
register_url_convertor("own_segment", _OwnSegment())


class OneMethodRoute(APIRoute):
    """A route whose path does not exist for other methods: they get a 404 and not a 405."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL else (Match.NONE, {})


def tagged_router(tag: str) -> APIRouter:
    """A router whose operations have this tag in the OpenAPI document, and the names of their routes as IDs."""
    return APIRouter(tags=[tag], generate_unique_id_function=lambda route: route.name)


def add_endpoint(router: APIRouter, method: str, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
    """Register `path` with and without its trailing slash, and HEAD along with GET (RFC 9110 §9.3.2).

    No redirect: a redirected POST loses or repeats its body. Only the path without it is in the OpenAPI document.
    """
    router.add_api_route(path, endpoint, methods=[method], **options)
    router.add_api_route(f"{path}/", endpoint, methods=[method], include_in_schema=False, **options)
    if method == "GET":
        for variant in (path, f"{path}/"):
            router.add_api_route(variant, endpoint, methods=["HEAD"], include_in_schema=False, **options)


def without_injection(route: BaseRoute) -> BaseRoute:
    """Have a route call its endpoint at once, where that takes nothing but the request and what the path names.

    FastAPI's injection costs more than many an answer of ours, and its declared securities are checked by the guard.
    """
    if not isinstance(route, APIRoute):
        return route
    dependant, endpoint = route.dependant, route.endpoint
    if dependant.query_params or dependant.header_params or dependant.cookie_params or dependant.body_params:
        return route
    names = [parameter.name for parameter in dependant.path_params]

    async def call(request: Request) -> Response:
        response: Response = await endpoint(request, **{name: request.path_params[name] for name in names})
        return response

    route.app = request_response(call)
    return route


def allowed_methods(routes: Iterable[BaseRoute], scope: Scope, headers: Mapping[str, str]) -> list[str]:
    """The methods that any of the routes, or an `Allow` already in the headers, offers at a refused request's path."""
    given = {method.strip() for method in headers.get("Allow", "").split(",") if method.strip()}
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            given |= route.methods or set()
    return sorted(given - {scope["method"]})
