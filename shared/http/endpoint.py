"""Endpoints: a decorator declares each once, with its parameters, body, answers, and who can call it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from shared.http.access import ANYONE, Access
from shared.http.models import PROBLEM_TYPE, ProblemDocument
from shared.sharing import FILE_ID

F = TypeVar("F", bound=Callable[..., Any])

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Errors of all requests: from `layers.edge`, and if storage fails.
EVERYWHERE = (400, 414, 431, 500, 503)
# Further errors of all requests with a body.
WITH_BODY = (408, 413)

_REFERENCE = "#/components/schemas/{model}"
# First segments of our own paths.
OWN_SEGMENTS = ("docs", "download", "file", "health", "inbox", "openapi.json", "static")
_OWN = "|".join(map(re.escape, OWN_SEGMENTS))


for name, regex in (
    # A random UUID in lower case. Anything else matches no route, which gives a 404.
    ("file_id", FILE_ID.pattern),
    # The rest of the path, even with line breaks in it.
    ("rest", "(?s:.*)"),
    # A first segment of our other routes.
    ("own_segment", f"(?:{_OWN})"),
    # One segment that no other route begins with.
    ("root_name", rf"(?!(?:{_OWN})/?\Z)[^/]+"),
):
    # Path parameters such as `{file_id:file_id}`, which are passed on unchanged.
    register_url_convertor(name, type(name, (StringConvertor,), {"regex": regex})())


class Endpoint(APIRoute):
    """One endpoint. Serves its path with and without a trailing slash, and HEAD along with GET (RFC 9110 §9.3.2).

    It does not redirect from one path to the other: a redirected POST loses or repeats its body. If it is `guarded`,
    `guard` requires a token. If it is `exclusive`, other methods at its path get a 404 instead of a 405. `model`
    describes its JSON body, if any, and `answer` its JSON answer.
    """

    guarded = takes_inbox = exclusive = False
    model: type[BaseModel] | None = None
    answer: Any = None

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        # FastAPI would make a validator for each parameter, which takes a tenth of the start of a function, and 20 µs
        # of each request, where all layers take 12 for GET /health. They are texts that the path's pattern has checked.
        super().__init__(path, _without_parameters, **options)
        # Starlette ends its patterns with "$", which also matches before a final line break.
        slash = "" if path.endswith("/") else "/?"
        self.path_regex = re.compile(rf"{self.path_regex.pattern.removesuffix('$')}{slash}\Z")
        _, *names = inspect.signature(endpoint).parameters

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            parts = scope["path_params"]
            response: Response = await endpoint(Request(scope, receive, send), **{name: parts[name] for name in names})
            await response(scope, receive, send)

        self.endpoint, self.app = endpoint, app

    @property
    def offers(self) -> set[str]:
        """The methods that this endpoint answers."""
        methods = set(self.methods or ())
        return methods | {"HEAD"} if "GET" in methods else methods


def _without_parameters() -> None: ...


Check = Callable[[Scope, Endpoint], Awaitable[None]]
"""Checks the head of a request to an endpoint, before its body is read. Raises a `ShareError` to refuse it."""


class RoutingTable(BaseRoute):
    """All endpoints of an application as one route, with `checks` of each request to them.

    It looks only at endpoints that offer the request's method. FastAPI asks each route in turn, through three methods:
    22 of the 52 µs that all layers took for a static file.
    """

    def __init__(self, endpoints: Iterable[Endpoint], *checks: Check) -> None:
        self.endpoints = list(endpoints)
        self._checks = checks
        self._offering = {
            method: [endpoint for endpoint in self.endpoints if method in endpoint.offers]
            for method in {method for endpoint in self.endpoints for method in endpoint.offers}
        }

    def find(self, scope: Scope) -> tuple[Endpoint, dict[str, str]] | None:
        """The first endpoint with the method and path of an HTTP request, and the parameters in the path."""
        path = path_of(scope)
        for endpoint in self._offering.get(scope["method"], ()):
            match = endpoint.path_regex.match(path)
            if match is not None:
                # Unchanged, because all convertors here keep the text.
                return endpoint, match.groupdict()
        return None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        match = self.find(scope)
        if match is None:
            return (Match.PARTIAL if self.allowed_methods(scope) else Match.NONE), {}
        endpoint, parameters = match
        return Match.FULL, {"route": endpoint, "endpoint": endpoint.endpoint, "path_params": parameters}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = scope.get("route")
        # It is another route if the application is mounted in one.
        if not isinstance(endpoint, Endpoint):
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
        for check in self._checks:
            await check(scope, endpoint)
        await endpoint.app(scope, receive, send)

    def allowed_methods(self, scope: Scope) -> set[str]:
        """The methods that a refused request could have had at its path."""
        path, method = path_of(scope), scope["method"]
        offers = (
            endpoint.offers
            for endpoint in self.endpoints
            if (method in endpoint.offers or not endpoint.exclusive) and endpoint.path_regex.match(path)
        )
        return set().union(*offers) - {method}


def path_of(scope: Scope) -> str:
    """The path of an HTTP request, relative to where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class Endpoints(APIRouter):
    """Endpoints with one tag in the OpenAPI document, if they name no other. Their names are their IDs there."""

    def __init__(self, tag: str) -> None:
        super().__init__(generate_unique_id_function=lambda route: route.name)
        self._tag = tag

    @property
    def endpoints(self) -> list[Endpoint]:
        return [route for route in self.routes if isinstance(route, Endpoint)]

    def endpoint(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        tag: str | None = None,
        access: Access = ANYONE,
        status: int = HTTPStatus.OK,
        answer: Any = None,
        answers: Mapping[int, dict[str, Any]] | None = None,
        errors: Iterable[int] = (),
        parameters: Sequence[dict[str, Any]] = (),
        body: dict[str, Any] | type[BaseModel] | None = None,
        exclusive: bool = False,
        documented: bool = True,
    ) -> Callable[[F], F]:
        """Declare that the decorated function answers `method` at `path`.

        `answer` is the type of a JSON answer with `status`; `answers` describes other answers. `body` is the model for
        `read_json`, or the description of another body. `errors` are statuses in addition to those of all requests,
        those of `access`, and the refusal of changes from other sites. `parameters` are those that are not a segment of
        the path, and descriptions of those that are.
        """
        refusals = {*EVERYWHERE, *access.errors, *errors}
        if body is not None:
            refusals |= {*WITH_BODY}
        if method not in SAFE_METHODS:
            refusals |= {403}
        extra: dict[str, Any] = {}
        if all_parameters := _parameters(path, parameters):
            extra["parameters"] = all_parameters
        if body is not None:
            extra["requestBody"] = content("application/json", _ref(body)) if isinstance(body, type) else body
        if access.schemes and access.optional:
            # Also allow requests without credentials.
            extra["security"] = [{}]

        def register(function: F) -> F:
            self.add_api_route(
                path,
                function,
                methods=[method],
                name=name or function.__name__,
                description=inspect.getdoc(function),
                tags=[tag or self._tag],
                status_code=status,
                response_description=HTTPStatus(status).phrase,
                response_class=Response,
                responses=_merged(problems(*refusals), answers or {}),
                dependencies=[Security(scheme) for scheme in access.schemes],
                openapi_extra=extra,
                include_in_schema=documented,
                route_class_override=Endpoint,
            )
            route = self.endpoints[-1]
            route.guarded, route.takes_inbox, route.exclusive = access.guarded, access.takes_inbox, exclusive
            route.model, route.answer = body if isinstance(body, type) else None, answer
            return function

        return register


def problems(*statuses: int) -> dict[int, dict[str, Any]]:
    """OpenAPI descriptions of error answers."""
    # Without a model, because FastAPI would declare that as plain JSON, too.
    document = {PROBLEM_TYPE: {"schema": _ref(ProblemDocument)}}
    return {status: {"description": HTTPStatus(status).phrase, "content": document} for status in statuses}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, which FastAPI generates from the declarations of all endpoints of an application."""
    endpoints: list[Endpoint] = app.state.table.endpoints
    api = get_openapi(title=app.title, version=app.version, routes=endpoints)
    operations = {each["operationId"]: each for methods in api["paths"].values() for each in methods.values()}
    types: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [("", "validation", TypeAdapter(ProblemDocument))]
    for endpoint in endpoints:
        if endpoint.model is not None:
            types.append((endpoint.unique_id, "validation", TypeAdapter(endpoint.model)))
        if endpoint.answer is not None:
            types.append((endpoint.unique_id, "serialization", TypeAdapter(endpoint.answer)))
    schemas, definitions = TypeAdapter.json_schemas(types, ref_template=_REFERENCE, schema_generator=_Schemas)
    for endpoint in endpoints:
        if endpoint.answer is not None and endpoint.unique_id in operations:
            described = operations[endpoint.unique_id]["responses"][str(endpoint.status_code)]
            answer = {"schema": schemas[endpoint.unique_id, "serialization"]}
            described["content"] = {"application/json": answer, **described.get("content", {})}
    api.setdefault("components", {})["schemas"] = definitions["$defs"]
    return api


class _Schemas(GenerateJsonSchema):
    """Names no default that is null: a field that is missing often means something else than null."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def _parameters(path: str, described: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The described parameters, after the others in the path."""
    names = {parameter["name"] for parameter in described if parameter["in"] == "path"}
    others = [name for name in re.findall(r"{(\w+)", path) if name not in names]
    text = {"in": "path", "required": True, "schema": {"type": "string"}}
    return [*({"name": name, **text} for name in others), *described]


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _merged(refusals: dict[int, dict[str, Any]], answers: Mapping[int, dict[str, Any]]) -> dict[int | str, Any]:
    """Both, by status; answers with the same status can have either type."""
    for status, answer in answers.items():
        types = {**refusals.get(status, {}).get("content", {}), **answer.get("content", {})}
        refusals[status] = {**answer, "content": types} if types else answer
    return dict(sorted(refusals.items()))


def content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of a required body."""
    return {"required": True, "content": {media_type: {"schema": schema}}}
