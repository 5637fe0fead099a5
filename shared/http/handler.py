"""Runs endpoints as a Lambda function behind an API Gateway HTTP API (payload format 2.0)."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import quote

from shared.bootstrap import Service
from shared.http.app import build_app
from shared.http.endpoint import Endpoints
from shared.http.exact_text import require_exact_text
from shared.http.models import PROBLEM_TYPE
from shared.http.streams import Inline
from shared.settings import Settings
from shared.sharing import FILE_ID
from shared.telemetry import Handler, LambdaHandler
from shared.time_limit import TimeLimit

log = logging.getLogger(__name__)

CORRELATION_ID = "requestContext.requestId"
# One for all handlers, because a process runs one invocation at a time.
LIMIT = TimeLimit()

_HOST_FOR_MANGUM = re.compile(r"[^:]*(?::[0-9]{1,5})?", re.ASCII)


class UnexpectedEvent(Exception):
    """The event is not from an HTTP API. The message contains the event's keys, never a value."""

    def __init__(self, event: dict[str, Any]) -> None:
        super().__init__(
            "expected an event from an API Gateway HTTP API in payload format 2.0, with version, rawPath, headers and "
            f"requestContext.http, but it has {', '.join(sorted(map(str, event))) or 'no keys'}. "
            "Examples are in events/."
        )


class HttpHandler(LambdaHandler):
    """Serves these routers only. Pass `reads_only` if none of them counts downloads or changes files."""

    def __init__(self, module: str, *routers: Endpoints, reads_only: bool = False) -> None:
        self._routers = routers
        self._reads_only = reads_only
        self._checks_tokens = any(
            endpoint.guarded or endpoint.takes_inbox for router in routers for endpoint in router.endpoints
        )
        self._adapter: Handler
        super().__init__(module, CORRELATION_ID)

    def prepare(self, service: Service) -> None:
        from mangum import Mangum
        from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

        super().prepare(service)
        app = build_app(*self._routers, service=service, threads=Inline(), checks=[require_exact_text])
        # As text, or Mangum would send problem documents in base64.
        text_types = [*DEFAULT_TEXT_MIME_TYPES, PROBLEM_TYPE]
        self._adapter = Mangum(app, lifespan="off", text_mime_types=text_types)

    def open(self) -> Service:
        return Service.open(Settings.from_environment(), LIMIT, reads_only=self._reads_only)

    def connect(self) -> None:
        super().connect()
        if self._checks_tokens:
            self.service.tokens.refresh()

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        LIMIT.begin()
        answer: dict[str, Any] = self._adapter(_complete(event), context)
        file = _file_id(answer["headers"].get("location", "").rpartition("/")[2])
        log.info("%s %d", event.get("routeKey"), answer["statusCode"], extra=file)
        return answer

    def log_keys(self, event: dict[str, Any]) -> dict[str, str]:
        return _file_id(_requested_file(event))


def _requested_file(event: dict[str, Any]) -> str:
    """The text that a request has for a file ID: in its path, or at the end of the key of a direct upload."""
    parameters = {**(event.get("queryStringParameters") or {}), **(event.get("pathParameters") or {})}
    return parameters.get("file_id") or (parameters.get("key") or "").rpartition("/")[2]


def _file_id(text: str) -> dict[str, str]:
    """The key for log lines: a valid file ID, never other text from a client."""
    return {"file_id": text} if FILE_ID.fullmatch(text) else {}


def _complete(event: dict[str, Any]) -> dict[str, Any]:
    """An event that Mangum accepts: without nulls, and with the path, which the gateway decoded, encoded again.

    Mangum decodes it, and decoding `100%2541` twice would change the name. Mangum also splits Host at the colon, and
    fails if there are two or if the port is not a number. No gateway sends such a Host, so it becomes an empty one and
    is refused like every invalid Host. Raises `UnexpectedEvent`.
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
