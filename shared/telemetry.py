"""Powertools around Lambda handlers: logs with correlation IDs, and metrics."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.errors import StorageUnavailable
from shared.garbage import uncollected
from shared.settings import lambda_handler_name

if TYPE_CHECKING:
    from aws_lambda_powertools import Metrics

log = logging.getLogger(__name__)

NAME = "simple-file-sharing-api"
NAMESPACE = "SimpleFileSharing"

Handler = Callable[[dict[str, Any], Any], Any]


class LambdaHandler:
    """What Lambda calls with each event. A subclass says how to `handle` one.

    It is put together at once where its `module` is the one that Lambda runs, so that the first event finds everything
    ready: Lambda starts a function with more processor time than it serves events with. Anywhere else it is put
    together with its first event, so that importing the module costs nothing.

    `correlation_id_path` (JMESPath) says where events carry their ID, and `cold_starts` whether to count those, which
    costs money where almost every start is one.
    """

    def __init__(self, module: str, correlation_id_path: str, *, cold_starts: bool = True) -> None:
        self._correlation_id_path = correlation_id_path
        self._cold_starts = cold_starts
        self._call: Handler | None = None
        if lambda_handler_name() == f"{module}.handler":
            with uncollected():
                self._call = self._put_together()
                try:
                    self.connect()
                except StorageUnavailable as error:
                    # Left to the first event, which has an answer for it.
                    log.warning("not ready for the first event: %s", error.reason)

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        if self._call is None:
            with uncollected():
                self._call = self._put_together()
        return self._call(event, context)

    def prepare(self) -> None:
        """Make what all events need, without asking anybody."""

    def connect(self) -> None:
        """Do what the first event would wait for. Raises `StorageUnavailable`, after which events go on regardless."""

    def handle(self, event: dict[str, Any], context: Any) -> Any:
        """The result for one event."""
        raise NotImplementedError

    def log_keys(self, event: dict[str, Any]) -> dict[str, str]:
        """What else of an event every line of its log has."""
        return {}

    def _put_together(self) -> Handler:
        from aws_lambda_powertools import Logger, Metrics
        from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

        logger = Logger(service=NAME)
        metrics = Metrics(namespace=NAMESPACE, service=NAME)
        # An event that counts nothing is no mistake.
        warnings.filterwarnings("ignore", "No application metrics to publish")
        logging.getLogger("shared").setLevel(logging.INFO)
        _publish(metrics)
        self.prepare()

        def call(event: dict[str, Any], context: Any) -> Any:
            logger.append_keys(**self.log_keys(event))
            return self.handle(event, context)

        # Modules log through the standard library; here their lines become Powertools' JSON with its correlation ID.
        # Only loggers that exist by now are taken over.
        others = [logging.getLogger("mangum"), logging.getLogger("botocore")]
        copy_config_to_registered_loggers(logger, include={"shared", *(other.name for other in others)})
        # Mangum's line for each request has the path in it, and a PUT's path a file name. Lambda's JSON format lets
        # botocore say at each start where it found its credentials.
        for other in others:
            other.setLevel(logging.WARNING)
        # Its keys are of one event only.
        logged = logger.inject_lambda_context(correlation_id_path=self._correlation_id_path, clear_state=True)(call)
        measured: Handler = metrics.log_metrics(capture_cold_start_metric=self._cold_starts)(logged)
        return measured


class _MetricsHandler(logging.Handler):
    """Makes metrics of the lines of `shared.metrics`."""

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
