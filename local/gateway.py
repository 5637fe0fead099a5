"""An API Gateway HTTP API for functions, as an ASGI application.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html

Differences from the real one: plain HTTP/1.1, and no throttling, access logs or CORS (the template leaves CORS to the
functions).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from local.payloads import MalformedPath, MalformedResult, Request, Response, event_of, response_to
from local.runtime import EventTooLarge
from local.template import DEFAULT_ROUTE, Route
from local.worker import FunctionFailed

log = logging.getLogger("local.gateway")

BODY_LIMIT = 10 * 1024 * 1024
# For the request line and all headers.
HEAD_LIMIT = 10_240
TIMEOUT = 30.0  # seconds

Invoke = Callable[[str, bytes], Awaitable[bytes]]


@dataclass(frozen=True)
class Invocation:
    """A function to invoke, and its event as JSON."""

    function: str
    event: bytes


class _Cut(Exception):
    """The client disconnected before its request was complete."""


class Router:
    """Finds the most specific route: a full match, then a greedy one, then the default route.

    Of two full matches, this chooses the one that is first to have a literal segment where the other has a parameter.
    AWS documents that only if the other one matches all its paths. `tests/test_routes.py` checks that this suffices.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        every = list(routes)
        self._default = next((route for route in every if route.path == DEFAULT_ROUTE), None)
        explicit = [route for route in every if route.path != DEFAULT_ROUTE]
        self._routes = [(route, _pattern(route.path)) for route in sorted(explicit, key=_specificity)]

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a request, and its path parameters; None if no route matches."""
        for route, pattern in self._routes:
            match = pattern.fullmatch(path)
            if match is not None and route.method in (method, "ANY"):
                return route, match.groupdict()
        return None if self._default is None else (self._default, {})


def _pattern(path: str) -> re.Pattern[str]:
    """`{name}` matches one segment, `{name+}` one or more; neither matches an empty text."""
    parts = re.split(r"(\{\w+\+?\})", path)
    wild = [re.fullmatch(r"\{(\w+)(\+?)\}", part) for part in parts]
    return re.compile(
        "".join(
            re.escape(part) if name is None else f"(?P<{name[1]}>{'.+' if name[2] else '[^/]+'})"
            for part, name in zip(parts, wild, strict=True)
        ),
        re.DOTALL,
    )


def _specificity(route: Route) -> tuple[bool, list[int], bool]:
    """Sorts the most specific first: not greedy, literal segments before parameters, a method before ANY."""
    segments = route.path.split("/")
    kinds = [2 if segment.endswith("+}") else 1 if segment.startswith("{") else 0 for segment in segments]
    return 2 in kinds, kinds, route.method == "ANY"


def admit(request: Request, router: Router, domain: str) -> Invocation | Response:
    """Decide what the gateway at `domain` does with a request: invoke a function, or answer itself."""
    if _head_size(request) > HEAD_LIMIT:
        return _message(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large")
    try:
        match = router.match(request.method, request.path)
    except MalformedPath:
        return _message(HTTPStatus.BAD_REQUEST, "Bad Request")
    if match is None:
        return _message(HTTPStatus.NOT_FOUND, "Not Found")
    route, parameters = match
    event = json.dumps(event_of(request, route, parameters, domain), ensure_ascii=False)
    return Invocation(route.function, event.encode("utf-8", errors="replace"))


def _head_size(request: Request) -> int:
    """Bytes of the request line and the headers, as HTTP/1.1 sends them."""
    line = len(f"{request.method} {request.target} {request.protocol}\r\n")
    return line + sum(len(f"{name}: {value}\r\n") for name, value in request.headers)


class Gateway:
    """Answers requests by calling `invoke` with the name of a function and an event.

    `remap` renames WWW-Authenticate in answers; the real gateway may or may not do that.
    """

    def __init__(
        self, routes: Iterable[Route], invoke: Invoke, domain: str, *, timeout: float = TIMEOUT, remap: bool = False
    ) -> None:
        self._router = Router(routes)
        self._invoke = invoke
        self._domain = domain
        self._timeout = timeout
        self._remap = remap
        # Functions keep running after the gateway's timeout, and asyncio drops tasks without a reference.
        self._running: set[asyncio.Task[bytes]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        try:
            response = await self._respond(scope, receive)
        except _Cut:
            return
        headers = [(name.encode("latin-1"), value.encode("utf-8")) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if sum(name == "host" for name, _ in headers) != 1:
            return _message(HTTPStatus.BAD_REQUEST, "Bad Request")
        body = await _body(headers, receive)
        if body is None:
            return _message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Too Long")
        query = scope["query_string"].decode("latin-1")
        request = Request(
            method=scope["method"],
            target=scope["raw_path"].decode("latin-1") + (f"?{query}" if query else ""),
            headers=headers,
            body=body,
            protocol=f"HTTP/{scope['http_version']}",
            scheme=scope["scheme"],
            source_ip=scope["client"][0] if scope.get("client") else "127.0.0.1",
            # The port is missing if it is the scheme's default, and for a Unix socket.
            port=(scope.get("server") or (None, None))[1] or 443,
        )
        return await self.answer(request)

    async def answer(self, request: Request) -> Response:
        """The answer to a request whose body is within the limit."""
        invocation = admit(request, self._router, self._domain)
        if isinstance(invocation, Response):
            return invocation
        function = invocation.function
        task = asyncio.ensure_future(self._invoke(function, invocation.event))
        self._running.add(task)
        task.add_done_callback(self._finish)
        done, _ = await asyncio.wait([task], timeout=self._timeout)
        if not done:
            log.error("%s did not answer within %.0f s", function, self._timeout)
            return _message(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable")
        try:
            return response_to(request, task.result(), remap=self._remap)
        except EventTooLarge:
            return _message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Too Long")
        except FunctionFailed as error:
            log.error("%s failed: %s", function, error)
        except MalformedResult as error:
            log.error("%s returned an invalid response: %s", function, error)
        return _message(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")

    def _finish(self, task: asyncio.Task[bytes]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Retrieve the exception, or asyncio would report it for tasks that nobody waits for.
            task.exception()


async def _body(headers: list[tuple[str, str]], receive: Receive) -> bytes | None:
    """The whole body, or None if it exceeds the gateway's limit."""
    length = next((value for name, value in headers if name == "content-length"), "0")
    if length.isdigit() and int(length) > BODY_LIMIT:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Cut
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _message(status: HTTPStatus, message: str) -> Response:
    """The gateway's own answer."""
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return Response(status, [("content-type", "application/json"), ("content-length", str(len(body)))], body)
