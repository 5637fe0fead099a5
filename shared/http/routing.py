"""How paths are registered: with and without the trailing slash, HEAD beside every GET, and IDs that are IDs."""

from __future__ import annotations

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


class _FileId(Convertor[str]):
    """The path parameter `{file_id:file_id}`: a random UUID in lower case. Anything else is no route, hence a 404."""

    # Starlette ends its patterns with "$", which matches before a last line break, too.
    regex = FILE_ID.pattern + r"(?!\n)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Rest(Convertor[str]):
    """The path parameter `{name:rest}`: whatever is left of the path, also where that has line breaks in it."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("file_id", _FileId())
register_url_convertor("rest", _Rest())


def add_endpoint(router: APIRouter, method: str, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
    """Register `path` with and without its trailing slash, and HEAD along with GET (RFC 9110 §9.3.2).

    No redirect: a redirected POST loses or repeats its body. Only the path as given appears in the OpenAPI document.
    """
    bare = path.rstrip("/")
    other = bare if path.endswith("/") else bare + "/"
    router.add_api_route(path, endpoint, methods=[method], **options)
    router.add_api_route(other, endpoint, methods=[method], include_in_schema=False, **options)
    if method == "GET":
        for variant in (path, other):
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
    """The methods that any of the routes, or an `Allow` already in the headers, offers at a request's path."""
    given = {method.strip() for method in headers.get("Allow", "").split(",") if method.strip()}
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            given |= route.methods or set()
    return sorted(given)
