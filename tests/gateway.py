"""An API Gateway HTTP API in front of the functions, in this process: a request becomes an event, a result an answer.

It routes as the deployed gateway does, by routes that are read off the functions' own routers; whatever matches none of
them goes to the fallback function, as the gateway's `$default` route sends it.
"""

from __future__ import annotations

import importlib
import itertools
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.routing import APIRoute

import functions
import local.template
from functions import fallback
from local.payloads import Request, event_of, response_to
from local.worker import PAYLOAD_LIMIT
from shared.telemetry import Handler

DOMAIN = "files.example.com"


@dataclass(frozen=True)
class LambdaContext:
    """What Powertools reads of the context that Lambda passes to a handler."""

    function_name: str = "share"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:share"
    aws_request_id: str = "8f5c2f0e-1c11-4a43-8d63-0e0f6f3a2b71"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@dataclass(frozen=True)
class Route:
    """One route of the gateway: `method` and `path` make its key."""

    method: str
    path: str
    function: str
    handler: Handler

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

    def parameters(self, method: str, path: str) -> dict[str, str] | None:
        """The path parameters, or None where the request is not for this route.

        `{name}` takes any one segment, `{name+}` any number of them, and neither takes nothing.
        """
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        match = re.fullmatch(re.sub(r"\{(\w+)\+\}", r"(?P<\1>(?s:.+))", pattern), path)
        return None if method != self.method or match is None else match.groupdict()


def routes() -> list[Route]:
    """Every route but `$default`, fixed paths before those with parameters."""
    found = []
    for module_info in pkgutil.iter_modules(functions.__path__):
        module = importlib.import_module(f"functions.{module_info.name}")
        router = getattr(module, "router", None)
        if isinstance(router, APIRouter):
            found += [Route(*key, module_info.name, module.handler) for key in _keys(router)]
    found += [Route(*key, "fallback", fallback.handler) for key in fallback.SHADOWED]
    return sorted(found, key=lambda route: "{" in route.path)


def _keys(router: APIRouter) -> Iterator[tuple[str, str]]:
    for route in router.routes:
        assert isinstance(route, APIRoute)
        # What takes any number of segments takes none as well, and to the gateway that is another route.
        paths = {re.sub(r"\{(\w+):rest\}", r"{\1+}", route.path), re.sub(r"\{\w+:rest\}", "", route.path)}
        for method, path in itertools.product(sorted(route.methods or ()), sorted(paths)):
            yield method, re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


class Gateway(httpx.BaseTransport):
    """Answers requests by the handlers of the functions, or all by `only` one of them."""

    def __init__(self, only: Handler | None = None) -> None:
        self._default = only or fallback.handler
        self._routes = [] if only else routes()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        given = Request(
            request.method,
            request.url.raw_path.decode(),
            request.headers.multi_items(),
            request.read(),
            source_ip="203.0.113.7",
            id="UXkFjZ8liAEMJgQ=",
        )
        route, parameters, handler = self._find(given.method, given.path)
        event = _transported(event_of(given, route, parameters, DOMAIN))
        answer = response_to(given, json.dumps(_transported(handler(event, LambdaContext()))).encode())
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    def _find(self, method: str, path: str) -> tuple[local.template.Route, dict[str, str], Handler]:
        for route in self._routes:
            parameters = route.parameters(method, path)
            if parameters is not None:
                return local.template.Route(route.method, route.path, route.function), parameters, route.handler
        return local.template.Route("ANY", local.template.DEFAULT_ROUTE, "fallback"), {}, self._default


def _transported(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as it arrives on the other side of the Lambda API."""
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
    assert len(text.encode()) <= PAYLOAD_LIMIT, "Lambda takes no payload of this size"
    transported: dict[str, Any] = json.loads(text)
    return transported
