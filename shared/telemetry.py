"""Powertools around Lambda handlers: logs with correlation IDs, and metrics."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.bootstrap import Service
from shared.errors import StorageUnavailable
from shared.garbage import long_lived
from shared.settings import Settings, lambda_handler_name

if TYPE_CHECKING:
    from aws_lambda_powertools import Metrics

log = logging.getLogger(__name__)

NAME = "simple-file-sharing-api"
NAMESPACE = "SimpleFileSharing"

Handler = Callable[[dict[str, Any], Any], Any]


class LambdaHandler:
    """The callable that Lambda invokes with each event. Subclasses implement `handle`.

    If Lambda runs this `module`, the handler is set up on import: Lambda gives functions more processor time for their
    start than for events. Anywhere else it is set up by its first event, so that importing the module costs nothing.

    `correlation_id_path` (JMESPath) locates the ID in an event. `cold_starts` counts cold starts as a metric, which
    costs money, so leave it off for functions that almost always start cold.
    """

    def __init__(self, module: str, correlation_id_path: str, *, cold_starts: bool = True) -> None:
        self._correlation_id_path = correlation_id_path
        self._cold_starts = cold_starts
        self._call: Handler | None = None
        if lambda_handler_name() == f"{module}.handler":
            with long_lived():
                self._call = self._put_together()
                try:
                    self.connect()
                except StorageUnavailable as error:
                    # The first event tries again, and has an answer to report this in.
                    log.warning("not ready for the first event: %s", error.reason)

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        if self._call is None:
            with long_lived():
                self._call = self._put_together()
        return self._call(event, context)

    service: Service

    def open(self) -> Service:
        """Create the service from the environment. Raises `InvalidSetting`."""
        return Service.open(Settings.from_environment())

    def prepare(self, service: Service) -> None:
        """Create what all events need, without any network request."""
        self.service = service

    def connect(self) -> None:
        """Do in advance what the first event would wait for. `StorageUnavailable` is logged; events still run."""
        _ = self.service.shares

    def handle(self, event: dict[str, Any], context: Any) -> Any:
        """The result for one event."""
        raise NotImplementedError

    def log_keys(self, event: dict[str, Any]) -> dict[str, str]:
        """Keys from an event to add to each of its log lines."""
        return {}

    def _put_together(self) -> Handler:
        from aws_lambda_powertools import Logger, Metrics
        from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

        logger = Logger(service=NAME)
        metrics = Metrics(namespace=NAMESPACE, service=NAME)
        # Many events count nothing.
        warnings.filterwarnings("ignore", "No application metrics to publish")
        logging.getLogger("shared").setLevel(logging.INFO)
        _publish(metrics)
        # Modules use standard logging; this turns their lines into Powertools' JSON with its correlation ID.
        others = [logging.getLogger("mangum"), logging.getLogger("botocore")]
        copy_config_to_registered_loggers(logger, include={"shared", *(other.name for other in others)})
        # Mangum logs the path of each request, and a PUT's path contains a file name. botocore logs at each start where
        # it found its credentials.
        for other in others:
            other.setLevel(logging.WARNING)
        self.prepare(self.open())

        def call(event: dict[str, Any], context: Any) -> Any:
            logger.append_keys(**self.log_keys(event))
            return self.handle(event, context)

        # Keys must not stay for the next event.
        logged = logger.inject_lambda_context(correlation_id_path=self._correlation_id_path, clear_state=True)(call)
        measured: Handler = metrics.log_metrics(capture_cold_start_metric=self._cold_starts)(logged)
        return measured


class _MetricsHandler(logging.Handler):
    """Turns log lines of `shared.metrics` into metrics."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def emit(self, record: logging.LogRecord) -> None:
        unit = "Bytes" if record.msg.endswith("Bytes") else "Count"
        self._metrics.add_metric(name=record.msg, unit=unit, value=vars(record)["value"])


def _publish(metrics: Metrics) -> None:
    counts = logging.getLogger("shared.metrics")
    counts.handlers = [_MetricsHandler(metrics)]
    counts.setLevel(logging.DEBUG)
    counts.propagate = False
