"""The gateway and the whole app choose the same endpoint for a request.

They choose in different ways. The gateway chooses the most specific route, and its parameters accept any text. The app
chooses the first endpoint that matches, and its parameters can accept IDs only.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
"""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from functions.app import ROUTERS
from local.gateway import Router
from local.template import DEFAULT_ROUTE, Route, read
from shared.http.endpoint import Endpoint, Endpoints, RoutingTable
from tests.gateway import WHOLE, routes_of
from tests.samples import FILE_ID

TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


@functools.cache
def deployed_routes() -> tuple[Route, ...]:
    """The routes in the template, with the names of the functions' files."""
    template = read(TEMPLATE)
    return tuple(
        Route(route.method, route.path, template.functions[route.function].handler.split(".")[1])
        for route in template.routes
    )


@functools.cache
def deployed_routers() -> dict[str, Endpoints]:
    """The routers of the functions in the template, except the whole app, in the order in which the app tries them."""
    functions = {route.function for route in deployed_routes()} - {WHOLE}
    own = {name: importlib.import_module(f"functions.{name}").router for name in functions}
    assert sorted(map(id, own.values())) == sorted(map(id, ROUTERS))
    return dict(sorted(own.items(), key=lambda item: ROUTERS.index(item[1])))


def table_of(routers: Iterable[Endpoints]) -> RoutingTable:
    return RoutingTable(endpoint for router in routers for endpoint in router.endpoints)


def samples(paths: Iterable[str]) -> list[str]:
    """Paths that match these. If any path matches two of these, so does one of the samples.

    A parameter is replaced by an ID, by other text, and by each literal segment that another path has at its place. A
    parameter for the rest of a path is also replaced by two segments.
    """
    split = [path.split("/") for path in sorted(set(paths))]
    literals: dict[int, set[str]] = {}
    for place, segment in itertools.chain.from_iterable(map(enumerate, split)):
        if not segment.startswith("{"):
            literals.setdefault(place, set()).add(segment)

    def texts(place: int, segment: str) -> set[str]:
        if not segment.startswith("{"):
            return {segment}
        one = {FILE_ID, "other"} | literals.get(place, set())
        return one | {"other/text"} if segment.endswith(("+}", ":rest}")) else one

    choices = (itertools.product(*itertools.starmap(texts, enumerate(segments))) for segments in split)
    found = {"/".join(choice) for choice in itertools.chain.from_iterable(choices)}
    # With a slash at the end, a path is the same to the app, and another one to the gateway.
    return sorted(found | {f"{path.rstrip('/')}/" for path in found})


def most_specific(alone: Mapping[Route, Router], method: str, path: str) -> list[Route]:
    """The routes that the gateway can choose for a request: more than one if AWS does not say which.

    `alone` has a router for each route. AWS documents that a full match is chosen before one with a greedy parameter,
    and its examples choose a route before another that matches all its paths and more. Nothing is documented if each of
    two has a literal segment where the other has a parameter, as `/file/{file_id}/text` and `/file/metadata/{file_id}`.
    """
    matching = [route for route, router in alone.items() if router.match(method, path)]
    matching = [route for route in matching if not route.path.endswith("+}")] or matching

    def includes(wide: Route, narrow: Route) -> bool:
        # Only parameters match the text of a parameter. So a route that matches another's path as a text includes it.
        return alone[wide].match(narrow.method, narrow.path) is not None

    return [
        route for route in matching if all(includes(other, route) or not includes(route, other) for other in matching)
    ]


def declared(endpoint: Endpoint) -> str:
    return f"{'/'.join(endpoint.methods or ())} {endpoint.path}"


def answer(table: RoutingTable, scope: Scope) -> str:
    """The endpoint that answers a request, or the status that refuses it, with the methods in `Allow`."""
    match = table.find(scope)
    if match is not None:
        return declared(match[0])
    allowed = table.allowed_methods(scope)
    return f"405 ({', '.join(sorted(allowed))})" if allowed else "404"


def confusions(routes: Sequence[Route], routers: Mapping[str, Endpoints]) -> Iterator[str]:
    """Requests for which the gateway may choose a function that does not answer like the whole app."""
    gateway = Router(routes)
    alone = {route: Router([route]) for route in routes if route.path != DEFAULT_ROUTE}
    whole = table_of(routers.values())
    tables = {WHOLE: whole} | {name: table_of([router]) for name, router in routers.items()}
    paths = {route.path for route in alone} | {endpoint.path for endpoint in whole.endpoints}
    unreached = set(map(declared, whole.endpoints))
    for path, method in itertools.product(samples(paths), METHODS):
        match = gateway.match(method, path)
        assert match is not None
        choices = most_specific(alone, method, path) or [match[0]]
        # Otherwise the emulated gateway would be wrong.
        assert match[0] in choices
        scope = {"type": "http", "method": method, "path": path}
        own, expected = answer(tables[match[0].function], scope), answer(whole, scope)
        unreached.discard(expected)
        if len(choices) > 1:
            yield f"{method} {path}: ambiguous, {' or '.join(sorted(route.key for route in choices))}"
        elif own != expected:
            yield f"{method} {path}: {match[0].function} answers with {own}, and the whole app with {expected}"
    # Either another endpoint is always chosen before it, or `samples` lacks a text that its parameters accept.
    yield from (f"{endpoint}: answers no sample" for endpoint in sorted(unreached))


def names(routes: Iterable[Route]) -> dict[str, set[str]]:
    """The names of parameters at each place in paths."""
    found: dict[str, set[str]] = {}
    for route in routes:
        before = ""
        for segment in route.path.split("/"):
            if segment.startswith("{") and not segment.endswith("+}"):
                found.setdefault(before, set()).add(segment)
                segment = "{}"
            before += f"{segment}/"
    return found


def test_the_gateway_chooses_a_function_that_answers_like_the_whole_app() -> None:
    assert list(confusions(deployed_routes(), deployed_routers())) == []


def test_parameters_at_the_same_place_have_the_same_name() -> None:
    # Deployments failed for others with "a conflicting variable on the same hierarchical level", which AWS does not
    # document.
    assert {place: each for place, each in names(deployed_routes()).items() if len(each) > 1} == {}


def with_another(method: str, path: str, *, first: bool = False) -> list[str]:
    """The confusions if there were another function with this endpoint, and with all routes that it should have."""
    another = Endpoints("Another")

    @another.endpoint(method, path)
    async def another_endpoint(_request: Request) -> Response:
        return Response()

    known = deployed_routers()
    every = {"another": another, **known} if first else {**known, "another": another}
    return list(confusions(routes_of(every), every))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        pytest.param(
            "GET",
            "/file/{file_id:file_id}/text",
            "GET /file/metadata/text: ambiguous, GET /file/metadata/{file_id} or GET /file/{file_id}/text",
            id="each has a literal segment where the other has a parameter",
        ),
        pytest.param(
            "GET",
            "/file/metadata/{key}",
            "GET /file/metadata/other: ambiguous, GET /file/metadata/{file_id} or GET /file/metadata/{key}",
            id="only the names of parameters differ",
        ),
        pytest.param(
            "PUT",
            "/file/{file_id:file_id}/text",
            "PUT /file/upload/text: another answers with 404, and the whole app with PUT /file/upload/{filename:rest}",
            id="a full match is chosen before a greedy parameter",
        ),
        pytest.param(
            "GET",
            "/file/{file_id:file_id}/{name}",
            "GET /file/upload/other: another answers with 404, and the whole app with 405 (PUT)",
            id="another endpoint has the path with another method",
        ),
        pytest.param(
            "GET",
            "/download/new",
            "GET /download/new: another answers with GET /download/new, and the whole app with GET /download/{file_id}",
            id="the whole app tries a parameter first",
        ),
    ],
)
def test_a_route_that_can_be_confused_with_another_is_found(method: str, path: str, expected: str) -> None:
    assert expected in with_another(method, path)


def test_a_route_that_cannot_be_confused_is_accepted() -> None:
    assert with_another("GET", "/file/exists/{file_id:file_id}") == []
    # The whole app tries the literal segment first, like the gateway.
    assert with_another("GET", "/download/new", first=True) == []
