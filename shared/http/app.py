"""Putting endpoints into an application, for uvicorn and for Lambda alike."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import bootstrap
from shared.garbage import uncollected
from shared.http import access_log, documentation, openapi, problems
from shared.http.layers.cors import Cors
from shared.http.layers.edge import Edge
from shared.http.layers.guard import Guard
from shared.http.layers.start import Start
from shared.http.streams import keep_memory
from shared.sealing import Sealing
from shared.settings import Settings
from shared.sharing import Shares
from shared.sweeping import Sweep, sweep_hourly
from shared.tokens import Tokens

TITLE = "Simple File Sharing API"
VERSION = "0.1.0"
# Each transfer or count in progress takes one only while it waits for storage.
THREADS = 128


def build_app(
    *routers: APIRouter,
    shares: Callable[[], Shares] = bootstrap.shares,
    settings: Callable[[], Settings] = bootstrap.settings,
    tokens: Callable[[], Tokens] = bootstrap.tokens,
    threads: Executor | None = None,
) -> FastAPI:
    """An application of these routers, whose storage calls run in `threads`.

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
    app.state.threads = threads or ThreadPoolExecutor(THREADS, thread_name_prefix="storage")
    app.state.seal = lambda _file_id: None
    # Not included as routers, which would match each request in two steps.
    app.state.routes = [route for router in routers for route in router.routes]
    app.router.routes.extend(app.state.routes)
    app.openapi = functools.cache(lambda: openapi.document(app))  # type: ignore[method-assign]
    problems.install(app)
    app.add_middleware(
        Guard,
        routes=app.state.routes,
        tokens=tokens,
        origins=lambda: own_origins(settings()),
        threads=app.state.threads,
    )
    app.add_middleware(_Cors, settings=settings)
    app.add_middleware(Edge)
    app.add_middleware(Start, prepare=lambda: _prepare(app), threads=app.state.threads)
    return app


def _prepare(app: FastAPI) -> None:
    """Read what a wrong setting would spoil, and have storage answer. Raises `InvalidSetting`."""
    with uncollected():
        app.state.settings()
        bootstrap.require_tokens(app.state.tokens())
        bootstrap.when_it_answers(app.state.shares)


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
    ending = threading.Event()
    # A daemon, since a sweep may be cut off anywhere and a process that is to end must not wait for it.
    sweeping = functools.partial(sweep_hourly, lambda: Sweep(app.state.shares()).run(), ending.wait)
    threading.Thread(target=sweeping, name="sweep", daemon=True).start()
    sealing = Sealing(app.state.shares)
    app.state.seal = sealing.add
    yield
    sealing.close()
    ending.set()
    app.state.threads.shutdown(wait=False)


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
