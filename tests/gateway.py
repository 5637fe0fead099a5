"""An API Gateway HTTP API in front of the functions, in this process: a request becomes an event, a result an answer.

It routes as the deployed gateway does, by routes that are read off the functions' own routers; whatever matches none of
them goes to the fallback function, as the gateway's `$default` route sends it.
"""

from __future__ import annotations

import base64
import importlib
import itertools
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
from fastapi import APIRouter
from fastapi.routing import APIRoute

import functions
from functions import fallback
from shared.telemetry import Handler

DOMAIN = "files.example.com"

# Of an event, and of a result, as JSON (AWS Lambda quotas).
PAYLOAD_LIMIT = 6 * 1024 * 1024

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})

# What the gateway hands over as it is; every other body travels in base64.
_TEXT = re.compile(r"text/|application/(?:json|javascript|xml)\b")


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
        path = unquote(request.url.raw_path.partition(b"?")[0].decode())
        key, parameters, handler = self._find(request.method, path)
        event = _transported(_event(request, path, key, parameters))
        result = _transported(handler(event, LambdaContext()))
        return _response(request, result)

    def _find(self, method: str, path: str) -> tuple[str, dict[str, str], Handler]:
        for route in self._routes:
            parameters = route.parameters(method, path)
            if parameters is not None:
                return route.key, parameters, route.handler
        return "$default", {}, self._default


def _transported(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as it arrives on the other side of the Lambda API."""
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
    assert len(text.encode()) <= PAYLOAD_LIMIT, "Lambda takes no payload of this size"
    transported: dict[str, Any] = json.loads(text)
    return transported


def _event(request: httpx.Request, path: str, key: str, parameters: dict[str, str]) -> dict[str, Any]:
    """Payload format 2.0: names in lower case, repeated headers joined, the path decoded, the query as it came."""
    headers = {name: ",".join(request.headers.get_list(name)) for name in request.headers if name not in _HOP_BY_HOP}
    headers |= {"x-forwarded-for": "203.0.113.7", "x-forwarded-port": "443", "x-forwarded-proto": "https"}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": request.url.query.decode(),
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": DOMAIN,
            "domainPrefix": DOMAIN.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": "UXkFjZ8liAEMJgQ=",
            "routeKey": key,
            "stage": "$default",
            "time": "25/Nov/2026:08:30:00 +0000",
            "timeEpoch": 1795595400000,
        },
        "isBase64Encoded": False,
    }
    if parameters:
        event["pathParameters"] = parameters
    if request.url.params:
        event["queryStringParameters"] = {
            name: ",".join(request.url.params.get_list(name)) for name in request.url.params
        }
    body = request.read()
    if body:
        encoded = not _TEXT.match(headers.get("content-type", ""))
        event |= {
            "body": base64.b64encode(body).decode() if encoded else body.decode(errors="replace"),
            "isBase64Encoded": encoded,
        }
    return event


def _response(request: httpx.Request, result: dict[str, Any]) -> httpx.Response:
    body = result.get("body", "")
    content = base64.b64decode(body, validate=True) if result.get("isBase64Encoded") else body.encode()
    headers = list(result.get("headers", {}).items()) + [("set-cookie", cookie) for cookie in result.get("cookies", ())]
    return httpx.Response(result["statusCode"], headers=headers, content=b"" if request.method == "HEAD" else content)
