"""Powertools around Lambda handlers: logs with correlation IDs, metrics, and traces where they are wanted."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable
from typing import Any

from shared import bootstrap
from shared.garbage import uncollected

NAME = "simple-file-sharing-api"
NAMESPACE = "SimpleFileSharing"

Handler = Callable[[dict[str, Any], Any], Any]
Observe = bootstrap.Observe
LogKeys = Callable[[dict[str, Any]], dict[str, str]]


def lazily(
    build: Callable[[Observe], Handler],
    correlation_id_path: str | None = None,
    *,
    log_keys: LogKeys = lambda _event: {},
    cold_starts: bool = True,
) -> Handler:
    """A handler that is put together on its first event, so that importing its module elsewhere costs nothing.

    `build` is given a function that adds to a metric; `correlation_id_path` (JMESPath) says where events carry theirs,
    and `log_keys` what else of an event every line of its log has. `cold_starts` says whether to count those, which
    costs money where almost every start is one.
    """

    @functools.cache
    def built() -> Handler:
        with uncollected():
            return _instrumented(build, correlation_id_path, log_keys, cold_starts)

    def handler(event: dict[str, Any], context: Any) -> Any:
        return built()(event, context)

    return handler


def _instrumented(
    build: Callable[[Observe], Handler], correlation_id_path: str | None, log_keys: LogKeys, cold_starts: bool
) -> Handler:
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
    built = build(observe)

    def handler(event: dict[str, Any], context: Any) -> Any:
        logger.append_keys(**log_keys(event))
        with bootstrap.observer().listening(observe):
            return built(event, context)

    # Modules log through the standard library; here their lines become Powertools' JSON with its correlation ID. Only
    # loggers that exist by now are taken over.
    copy_config_to_registered_loggers(logger, include={"shared", "mangum"})
    # Mangum's line for each request has the path in it, and a PUT's path a file name.
    logging.getLogger("mangum").setLevel(logging.WARNING)
    # Its keys are of one event only.
    instrumented = logger.inject_lambda_context(correlation_id_path=correlation_id_path, clear_state=True)(handler)
    instrumented = metrics.log_metrics(capture_cold_start_metric=cold_starts)(instrumented)
    if bootstrap.settings().tracing:
        from aws_lambda_powertools import Tracer

        # Storage traces its calls itself. What the SDK patches into boto3 would write down bucket and key, too.
        tracer = Tracer(service=NAME, auto_patch=False)
        instrumented = tracer.capture_lambda_handler(instrumented, capture_response=False)
    return instrumented
