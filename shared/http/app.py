"""Putting endpoints into an application, for uvicorn and for Lambda alike."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request

from shared import bootstrap
from shared.http import problems
from shared.http.edge import Edge
from shared.http.streams import in_thread
from shared.settings import Settings
from shared.sharing import Shares

NAME = "simple-file-sharing-api"
TITLE = "Simple File Sharing API"
VERSION = "0.1.0"
# Each transfer or count in progress takes one only while it waits for storage.
THREADS = 128

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def build_app(
    *routers: APIRouter,
    shares: Callable[[], Shares] = bootstrap.shares,
    settings: Callable[[], Settings] = bootstrap.settings,
) -> FastAPI:
    """An application of these routers.

    Nothing is read from the environment and no storage is touched before the application starts or is first asked.
    """
    app = FastAPI(title=TITLE, version=VERSION, redirect_slashes=False, lifespan=_lifespan)
    app.state.shares = shares
    app.state.settings = settings
    app.state.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")
    app.state.observe = lambda _name, _value=1: None
    app.state.routes = [route for router in routers for route in router.routes]
    for router in routers:
        app.include_router(router)
    problems.install(app)
    app.add_middleware(Edge)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # A wrong setting or a storage that cannot be used is to stop the start, not the first request.
    await in_thread(app.state.threads, app.state.shares)
    yield
    app.state.threads.shutdown(wait=False)


def shares_of(request: Request) -> Shares:
    """The files behind the application that this request came to."""
    provide: Callable[[], Shares] = request.app.state.shares
    return provide()


def lambda_handler(*routers: APIRouter) -> Handler:
    """A Lambda handler for the API Gateway HTTP API (payload format 2.0) that serves these routers and nothing else.

    The application, Mangum and Powertools are put together on the first event, so that importing an endpoint for
    uvicorn costs none of them.
    """

    @functools.cache
    def built() -> Handler:
        return _instrumented(build_app(*routers))

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return built()(event, context)

    return handler


def _instrumented(app: FastAPI) -> Handler:
    from aws_lambda_powertools import Logger, Metrics
    from aws_lambda_powertools.logging import correlation_paths
    from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
    from aws_lambda_powertools.metrics import MetricUnit
    from mangum import Mangum
    from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

    logger = Logger(service=NAME)
    metrics = Metrics(namespace="SimpleFileSharing", service=NAME)
    # Modules log through the standard library; here their lines become Powertools' JSON with its correlation ID.
    logging.getLogger("shared").setLevel(logging.INFO)
    copy_config_to_registered_loggers(logger, include={"shared", "mangum.http"})
    # A request that counts nothing is no mistake.
    warnings.filterwarnings("ignore", "No application metrics to publish")

    def observe(name: str, value: float = 1) -> None:
        unit = MetricUnit.Bytes if name.endswith("Bytes") else MetricUnit.Count
        metrics.add_metric(name=name, unit=unit, value=value)

    app.state.observe = observe
    # Text as text: else a problem document would travel in base64.
    adapter = Mangum(app, lifespan="off", text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, problems.MEDIA_TYPE])

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return adapter(event, context)

    instrumented: Handler = logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)(handle)
    instrumented = metrics.log_metrics(capture_cold_start_metric=True)(instrumented)
    if app.state.settings().tracing:
        from aws_lambda_powertools import Tracer

        instrumented = Tracer(service=NAME).capture_lambda_handler(instrumented, capture_response=False)
    return instrumented
