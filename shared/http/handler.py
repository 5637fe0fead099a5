"""Endpoints as a Lambda function behind an API Gateway HTTP API (payload format 2.0)."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import quote

from starlette.middleware import Middleware

from shared.bootstrap import Service
from shared.http.app import build_app
from shared.http.endpoint import Endpoints
from shared.http.layers.exact_text import ExactText
from shared.http.models import PROBLEM_TYPE
from shared.http.streams import Inline
from shared.settings import Settings
from shared.sharing import FILE_ID
from shared.telemetry import Handler, LambdaHandler
from shared.time_limit import TimeLimit

log = logging.getLogger(__name__)

CORRELATION_ID = "requestContext.requestId"
# One for all, since a process serves one invocation at a time.
LIMIT = TimeLimit()

_HOST_FOR_MANGUM = re.compile(r"[^:]*(?::[0-9]{1,5})?", re.ASCII)


class UnexpectedEvent(Exception):
    """A Lambda function was given an event that no HTTP API sends. The message has the names in it, never a value."""

    def __init__(self, event: dict[str, Any]) -> None:
        super().__init__(
            "expected an event of an API Gateway HTTP API in payload format 2.0, with version, rawPath, headers and "
            "requestContext.http, and got one with "
            f"{', '.join(sorted(map(str, event))) or 'nothing in it'}. Examples are in events/."
        )


class HttpHandler(LambdaHandler):
    """Serves these routers and nothing else, with `reads_only` where none of them counts or changes files."""

    def __init__(self, module: str, *routers: Endpoints, reads_only: bool = False) -> None:
        self._routers = routers
        self._reads_only = reads_only
        self.service: Service
        self._adapter: Handler
        super().__init__(module, CORRELATION_ID)

    def prepare(self) -> None:
        from mangum import Mangum
        from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

        self.service = self.open()
        app = build_app(*self._routers, service=self.service, threads=Inline())
        # Innermost, so that the guard comes first and every answer has its headers.
        app.user_middleware.append(Middleware(ExactText))
        # Text as text: else a problem document would travel in base64.
        text_types = [*DEFAULT_TEXT_MIME_TYPES, PROBLEM_TYPE]
        self._adapter = Mangum(app, lifespan="off", text_mime_types=text_types)

    def open(self) -> Service:
        """The service that the environment describes. Raises `InvalidSetting`."""
        return Service.open(Settings.from_environment(), LIMIT, reads_only=self._reads_only)

    def connect(self) -> None:
        _ = self.service.shares
        self.service.tokens.refresh()

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        LIMIT.begin()
        answer: dict[str, Any] = self._adapter(_complete(event), context)
        file = _file_id(answer["headers"].get("location", "").rpartition("/")[2])
        log.info("%s %d", event.get("routeKey"), answer["statusCode"], extra=file)
        return answer

    def log_keys(self, event: dict[str, Any]) -> dict[str, str]:
        return _file_id(_named(event))


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
