"""Builds an application from endpoints, for both uvicorn and Lambda."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor

from fastapi import FastAPI
from starlette.requests import Request

from shared import bootstrap
from shared.bootstrap import Service
from shared.garbage import long_lived
from shared.http import access_log, documentation, problems
from shared.http.async_shares import AsyncShares
from shared.http.endpoint import Check, Endpoints, RoutingTable, document
from shared.http.guard import Guard
from shared.http.layers.edge import Edge
from shared.http.layers.start import Start
from shared.http.streams import reuse_memory
from shared.http.threads import SameProcessor, any_processor
from shared.sealing import Sealing
from shared.settings import Settings
from shared.sweeping import Sweep, sweep_hourly

TITLE = "Simple File Sharing API"
VERSION = "0.1.0"
# Each transfer or count in progress takes one only while it waits for storage.
THREADS = 128


def build_app(
    *routers: Endpoints, service: Service, threads: Executor | None = None, checks: Sequence[Check] = ()
) -> FastAPI:
    """Build an application from these routers, with storage calls in `threads`, and `checks` after the guard."""
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        # Powertools does this.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    app.state.threads = threads or any_processor(THREADS, "storage")
    app.state.short = threads or SameProcessor(THREADS, "short")
    app.state.files = AsyncShares(service, app.state.threads, app.state.short)
    app.state.seal = lambda _file_id: None
    app.state.healthy_until = -math.inf
    guard = Guard(tokens=service.tokens, origins=own_origins(service.settings), threads=app.state.threads)
    endpoints = (endpoint for router in (*routers, documentation.router) for endpoint in router.endpoints)
    app.state.table = RoutingTable(endpoints, guard, *checks)
    app.router.routes.insert(0, app.state.table)
    app.openapi = functools.cache(lambda: document(app))  # type: ignore[method-assign]
    problems.install(app)
    app.add_middleware(Edge, origins=service.settings.cors_origins)
    app.add_middleware(Start, prepare=lambda: _prepare(service), threads=app.state.threads)
    return app


def _prepare(service: Service) -> None:
    """Wait until tokens and storage are available. Raises `InvalidSetting`."""
    with long_lived():
        bootstrap.require_tokens(service.tokens)
        bootstrap.wait_for_storage(service)


def service_of(request: Request) -> Service:
    """The service of the application that handles this request."""
    service: Service = request.app.state.service
    return service


def own_origins(settings: Settings) -> set[str]:
    """Origins whose pages can make changes: those configured, and our own public address."""
    public = set() if settings.public_url is None else {"/".join(settings.public_url.split("/")[:3])}
    return {*settings.cors_origins, *public}


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    access_log.mask()
    reuse_memory()
    ending = threading.Event()
    shares = app.state.service.shares
    # A daemon, because a sweep can be interrupted anywhere and must not delay the end of the process.
    sweeping = functools.partial(sweep_hourly, lambda: Sweep(shares).run(), ending.wait)
    threading.Thread(target=sweeping, name="sweep", daemon=True).start()
    sealing = Sealing(shares)
    app.state.seal = sealing.add
    yield
    sealing.close()
    ending.set()
    app.state.short.shutdown(wait=False)
    app.state.threads.shutdown(wait=False)
