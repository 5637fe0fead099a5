"""An API Gateway HTTP API for the functions, in this process: requests become events, and results become answers.

It behaves like the emulated gateway, with routes that it reads from the functions' own routers.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx
from fastapi import APIRouter

import functions
from local.gateway import Router, admit
from local.payloads import Request, Response, response_to
from local.template import DEFAULT_ROUTE, Route
from local.worker import PAYLOAD_LIMIT
from shared.bootstrap import Service
from shared.http.endpoint import Endpoint
from shared.http.handler import LIMIT, HttpHandler
from shared.settings import Settings
from shared.telemetry import LambdaHandler

H = TypeVar("H", bound=LambdaHandler)

DOMAIN = "files.example.com"
# The function with the whole application, which serves all requests without a route of another function.
WHOLE = "app"


@dataclass(frozen=True)
class LambdaContext:
    """The attributes that Powertools reads from Lambda's context."""

    function_name: str = "share"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:share"
    aws_request_id: str = "8f5c2f0e-1c11-4a43-8d63-0e0f6f3a2b71"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@functools.cache
def handlers() -> Mapping[str, HttpHandler]:
    """The handlers of all HTTP functions, by the names of their files."""
    modules = [importlib.import_module(f"functions.{each.name}") for each in pkgutil.iter_modules(functions.__path__)]
    return {
        module.__name__.rpartition(".")[2]: module.handler
        for module in modules
        if isinstance(getattr(module, "router", None), APIRouter) or module.__name__ == f"functions.{WHOLE}"
    }


@functools.cache
def routes() -> tuple[Route, ...]:
    """Every route that the gateway should have, with the names of the functions' files."""
    return routes_of(
        {name: importlib.import_module(f"functions.{name}").router for name in handlers() if name != WHOLE}
    )


def routes_of(routers: Mapping[str, APIRouter]) -> tuple[Route, ...]:
    """Every route that the gateway should have if these are the routers of all functions except the whole app."""
    own = [Route(*key, name) for name, router in routers.items() for key in _keys(router)]
    return (*own, *_shadowed(own), Route("ANY", DEFAULT_ROUTE, WHOLE))


def _keys(router: APIRouter) -> Iterator[tuple[str, str]]:
    """Methods and paths, except those that only `$default` can serve."""
    for route in router.routes:
        assert isinstance(route, Endpoint)
        # A parameter for the rest of a path can also be empty, which is another route to the gateway.
        paths = {re.sub(r"\{(\w+):rest\}", r"{\1+}", route.path), re.sub(r"\{\w+:rest\}", "", route.path)}
        for method, path in itertools.product(sorted(route.offers), sorted(paths)):
            # If the first segment is a parameter, the gateway would also match paths of other functions.
            if path == "/" or not (path.endswith("/") or path.startswith("/{")):
                yield method, re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def _shadowed(own: list[Route]) -> Iterator[Route]:
    """Fixed paths with methods that they lack, but that a parameterized path of another function has.

    The gateway accepts any segment for a parameter. So these requests would reach a function that does not know the
    fixed path, and would answer 404 instead of 405.
    """
    router = Router(own)
    methods = sorted({route.method for route in own})
    for path in sorted({route.path for route in own if "{" not in route.path}):
        knowing = {route.function for route in own if route.path == path}
        for method in methods:
            match = router.match(method, path)
            if match is not None and match[0].function not in knowing:
                yield Route(method, path, WHOLE)


def started(handler: H) -> H:
    """A handler as Lambda would start it with the current environment, without a check of its storage."""
    settings = Settings.from_environment()
    service = getattr(handler, "service", None)
    if service is None or service.settings != settings:
        handler.prepare(Service.open(settings, LIMIT if isinstance(handler, HttpHandler) else None, reads_only=True))
    return handler


class Gateway(httpx.BaseTransport):
    """Answers requests by the handlers of all functions, or by `only` one of them."""

    def __init__(self, only: HttpHandler | None = None) -> None:
        self._handlers = handlers() if only is None else {WHOLE: only}
        self._router = Router(route for route in routes() if route.function in self._handlers)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = Request(
            request.method,
            request.url.raw_path.decode(),
            request.headers.multi_items(),
            request.read(),
            source_ip="203.0.113.7",
            id="UXkFjZ8liAEMJgQ=",
        )
        admitted = admit(sent, self._router, DOMAIN)
        if isinstance(admitted, Response):
            answer = admitted
        else:
            result = started(self._handlers[admitted.function])(json.loads(_carried(admitted.event)), LambdaContext())
            answer = response_to(sent, _carried(json.dumps(result, ensure_ascii=False, allow_nan=False).encode()))
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    def services(self) -> list[Service]:
        """The services that answer requests, as configured by the current environment."""
        return [started(handler).service for handler in self._handlers.values()]


def _carried(payload: bytes) -> bytes:
    """The payload as Lambda transmits it."""
    assert len(payload) <= PAYLOAD_LIMIT, "Lambda takes no payload of this size"
    return payload
