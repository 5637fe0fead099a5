"""Putting endpoints into an application, for uvicorn and for Lambda alike."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import re
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import bootstrap, telemetry
from shared.garbage import uncollected
from shared.http import access_log, documentation, openapi, problems
from shared.http.cors import Cors
from shared.http.deadline import Deadline
from shared.http.edge import Edge
from shared.http.exact_text import ExactText
from shared.http.guard import Guard
from shared.http.routing import without_injection
from shared.http.start import Start
from shared.http.streams import keep_memory
from shared.sealing import Sealing
from shared.settings import Settings
from shared.sharing import FILE_ID, Shares
from shared.sweeping import Sweep
from shared.tokens import Tokens

log = logging.getLogger(__name__)

TITLE = "Simple File Sharing API"
VERSION = "0.1.0"
# Each transfer or count in progress takes one only while it waits for storage.
THREADS = 128
SWEEP_EVERY = 3600.0  # seconds

_HOST_FOR_MANGUM = re.compile(r"[^:]*(?::[0-9]{1,5})?", re.ASCII)

CORRELATION_ID = "requestContext.requestId"
# Seconds before the end of an invocation, by when there is an answer: enough to hand over one of 6 MB.
ANSWER_WITHIN = 2.0


class UnexpectedEvent(Exception):
    """A Lambda function was given an event that no HTTP API sends. The message has the names in it, never a value."""

    def __init__(self, event: dict[str, Any]) -> None:
        super().__init__(
            "expected an event of an API Gateway HTTP API in payload format 2.0, with version, rawPath, headers and "
            "requestContext.http, and got one with "
            f"{', '.join(sorted(map(str, event))) or 'nothing in it'}. Examples are in events/."
        )


def build_app(
    *routers: APIRouter,
    shares: Callable[[], Shares] = bootstrap.shares,
    settings: Callable[[], Settings] = bootstrap.settings,
    tokens: Callable[[], Tokens] = bootstrap.tokens,
) -> FastAPI:
    """An application of these routers.

    Nothing is read from the environment and no storage is touched before the application starts or is first asked.
    """
    # What traces and measures here is Powertools.
    telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        telemetry=telemetry,
    )
    for path in ("/docs", "/docs/"):
        app.add_route(path, documentation.docs, include_in_schema=False)
    app.state.shares = shares
    app.state.settings = settings
    app.state.tokens = tokens
    app.state.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")
    app.state.observe = lambda _name, _value: None
    app.state.seal = lambda _file_id: None
    # Not included as routers, since that would match each request against every route of each in two steps.
    app.state.routes = [without_injection(route) for router in routers for route in router.routes]
    app.router.routes.extend(app.state.routes)
    app.openapi = functools.cache(lambda: openapi.document(app))  # type: ignore[method-assign]
    problems.install(app)
    app.add_middleware(Guard, routes=app.state.routes, tokens=tokens, origins=lambda: own_origins(settings()))
    app.add_middleware(_Cors, settings=settings)
    app.add_middleware(Edge)
    app.add_middleware(Start, prepare=lambda: _prepare(app), threads=app.state.threads)
    return app


def _prepare(app: FastAPI) -> None:
    """Read what a wrong setting would spoil, and have storage answer. Raises `InvalidSetting`."""
    with uncollected():
        app.state.settings()
        app.state.tokens()
        bootstrap.when_it_answers(app.state.shares)


def lambda_handler(*routers: APIRouter, shares: Callable[[], Shares] = bootstrap.shares) -> telemetry.Handler:
    """A Lambda handler for the API Gateway HTTP API (payload format 2.0) that serves these routers and nothing else."""

    def build(observe: telemetry.Observe) -> telemetry.Handler:
        from mangum import Mangum
        from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

        app = build_app(*routers, shares=shares)
        app.state.observe = observe
        # Innermost, so that the guard comes first and every answer has its headers.
        app.user_middleware.append(Middleware(ExactText))
        # Text as text: else a problem document would travel in base64.
        text_types = [*DEFAULT_TEXT_MIME_TYPES, problems.MEDIA_TYPE]
        adapter = Mangum(Deadline(app, _time_left), lifespan="off", text_mime_types=text_types)

        def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
            answer = adapter(_complete(event), context)
            made = _file_id(answer["headers"].get("location", "").rpartition("/")[2])
            log.info("%s %d", event.get("routeKey"), answer["statusCode"], extra=made)
            return answer

        return handle

    return telemetry.lazily(
        build,
        CORRELATION_ID,
        log_keys=lambda event: _file_id(_named(event)),
    )


def _time_left(scope: Scope) -> float:
    """Seconds of the invocation in which an answer can still be made."""
    left: int = scope["aws.context"].get_remaining_time_in_millis()
    return left / 1000 - ANSWER_WITHIN


def _named(event: dict[str, Any]) -> str:
    """What stands where a request names its file: in its path, or at the end of its key in direct uploads."""
    parameters = {**(event.get("queryStringParameters") or {}), **(event.get("pathParameters") or {})}
    return parameters.get("file_id") or (parameters.get("key") or "").rpartition("/")[2]


def _file_id(text: str) -> dict[str, str]:
    """What a log line says of the file: its ID, and never what a client has put in the place of one."""
    return {"file_id": text} if FILE_ID.fullmatch(text) else {}


def _complete(event: dict[str, Any]) -> dict[str, Any]:
    """An event as Mangum takes it: nothing null, and the path, which the gateway has decoded, encoded again.

    Mangum decodes it, and decoded twice `100%2541` would become another name. It also splits Host at its colon, and
    fails at a second one or at a port that is no number: such a Host, which no gateway has, becomes an empty one, and
    is refused like every wrong Host. Raises `UnexpectedEvent`.
    """
    http = (event.get("requestContext") or {}).get("http") or {}
    if event.get("version") != "2.0" or not {"method", "path", "sourceIp"} <= http.keys():
        raise UnexpectedEvent(event)
    headers = {**(event.get("headers") or {}), "x-forwarded-port": "443"}
    if not _HOST_FOR_MANGUM.fullmatch(headers.get("host", "")):
        headers["host"] = ""
    return {
        **event,
        "headers": headers,
        "rawQueryString": event.get("rawQueryString") or "",
        "body": event.get("body") or "",
        "requestContext": {**event["requestContext"], "http": {**http, "path": quote(http["path"])}},
    }


def shares_of(request: Request) -> Shares:
    """The files behind the application that this request came to."""
    provide: Callable[[], Shares] = request.app.state.shares
    return provide()


def own_origins(settings: Settings) -> set[str]:
    """Origins whose pages may make changes: those configured, and our own public address."""
    public = set() if settings.public_url is None else {"/".join(settings.public_url.split("/")[:3])}
    return {*settings.cors_origins, *public}


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    access_log.mask()
    keep_memory()
    sweeping = asyncio.create_task(_sweep_hourly(app.state.shares))
    sealing = Sealing(app.state.shares)
    app.state.seal = sealing.add
    yield
    sealing.close()
    sweeping.cancel()
    app.state.threads.shutdown(wait=False)


async def _sweep_hourly(shares: Callable[[], Shares]) -> None:
    """What a schedule does on AWS. Several workers may do it at once, so they at least begin apart."""
    pause = random.uniform(0, 60)
    sweep: threading.Thread | None = None
    while True:
        await asyncio.sleep(pause)
        pause = SWEEP_EVERY
        if sweep is not None and sweep.is_alive():
            continue
        # A daemon, since a sweep may be cut off anywhere and a process that is to end must not wait for it.
        sweep = threading.Thread(target=_sweep, args=(shares,), name="sweep", daemon=True)
        sweep.start()


def _sweep(shares: Callable[[], Shares]) -> None:
    try:
        Sweep(shares()).run()
    except Exception:
        log.exception("the sweep failed and will be tried again in an hour")


class _Cors:
    """Starlette's CORS, from settings that are not known yet when the application is put together."""

    def __init__(self, app: ASGIApp, settings: Callable[[], Settings]) -> None:
        self._app = app
        self._settings = settings
        self._configured: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._configured is None:
            origins = self._settings().cors_origins
            self._configured = self._app if not origins else Cors(self._app, origins)
        await self._configured(scope, receive, send)
