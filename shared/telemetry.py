"""Powertools around Lambda handlers: logs with correlation IDs, metrics, and traces where they are wanted."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable
from typing import Any

from shared import bootstrap

NAME = "simple-file-sharing-api"
NAMESPACE = "SimpleFileSharing"

Handler = Callable[[dict[str, Any], Any], Any]
Observe = Callable[[str, float], None]


def lazily(
    build: Callable[[Observe], Handler], correlation_id_path: str | None = None, *, cold_starts: bool = True
) -> Handler:
    """A handler that is put together on its first event, so that importing its module elsewhere costs nothing.

    `build` is given a function that adds to a metric; `correlation_id_path` (JMESPath) says where events carry theirs.
    `cold_starts` says whether to count those, which costs money where almost every start is one.
    """

    @functools.cache
    def built() -> Handler:
        return _instrumented(build, correlation_id_path, cold_starts)

    def handler(event: dict[str, Any], context: Any) -> Any:
        return built()(event, context)

    return handler


def _instrumented(build: Callable[[Observe], Handler], correlation_id_path: str | None, cold_starts: bool) -> Handler:
    from aws_lambda_powertools import Logger, Metrics
    from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
    from aws_lambda_powertools.metrics import MetricUnit

    logger = Logger(service=NAME)
    metrics = Metrics(namespace=NAMESPACE, service=NAME)
    # An event that counts nothing is no mistake.
    warnings.filterwarnings("ignore", "No application metrics to publish")

    def observe(name: str, value: float) -> None:
        unit = MetricUnit.Bytes if name.endswith("Bytes") else MetricUnit.Count
        metrics.add_metric(name=name, unit=unit, value=value)

    logging.getLogger("shared").setLevel(logging.INFO)
    handler = build(observe)
    # Modules log through the standard library; here their lines become Powertools' JSON with its correlation ID. Only
    # loggers that exist by now are taken over.
    copy_config_to_registered_loggers(logger, include={"shared", "mangum"})
    # Mangum's line for each request has the path in it, and a PUT's path a file name.
    logging.getLogger("mangum").setLevel(logging.WARNING)
    handler = logger.inject_lambda_context(correlation_id_path=correlation_id_path)(handler)
    handler = metrics.log_metrics(capture_cold_start_metric=cold_starts)(handler)
    if bootstrap.settings().tracing:
        from aws_lambda_powertools import Tracer

        handler = Tracer(service=NAME).capture_lambda_handler(handler, capture_response=False)
    return handler
