"""The log of a server: when each request was answered, for which file, with how many bytes, and how long it took."""

from __future__ import annotations

import logging
import re
import time
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.access_log import printable
from shared.http.endpoint import RoutingTable
from shared.sharing import FILE_ID

log = logging.getLogger("local.access")

# Left out if they succeed: what pages fetch to be drawn and to stay up to date, and what monitors ask for.
BACKGROUND = {"/static/{version}/{name}", "/file/metadata/{file_id}", "/health", None}

# The file of a direct upload, in the query of its parts.
_KEY = re.compile(rb"(?:^|&)key=raw(?:/|%2[Ff])(" + FILE_ID.pattern.encode() + rb")(?:&|\Z)")
_DOWNLOAD_LINK = re.compile(rf"/file/download/({FILE_ID.pattern})")


def app() -> ASGIApp:
    """The whole API with this log, for `local.serve`."""
    # Imported here, because with several workers the process that starts them does not need it.
    from functions import app as whole

    return AccessLog(whole.app, whole.app.state.table)


class AccessLog:
    """ASGI middleware that logs each request when its answer is complete.

    Addresses are logged as their route (`/file/upload/{filename}`): paths can hold names of files, and queries tokens.
    """

    def __init__(self, app: ASGIApp, table: RoutingTable) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        began = time.perf_counter()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            route, file_id = self._target(scope, exchange)
            if exchange.interrupted or exchange.status >= HTTPStatus.BAD_REQUEST or route not in BACKGROUND:
                milliseconds = (time.perf_counter() - began) * 1000
                log.info("%s", _line(scope, route or "-", exchange, milliseconds, file_id))

    def _target(self, scope: Scope, exchange: _Exchange) -> tuple[str | None, str]:
        """The route of a request, and the ID of its file if it has one."""
        match = self._table.find(scope)
        if match is None:
            return None, ""
        endpoint, parameters = match
        file_id = parameters.get("file_id", "") or exchange.file_id
        if "upload_id" in parameters:
            key = _KEY.search(scope["query_string"])
            file_id = key[1].decode() if key else ""
        return endpoint.path_format, file_id if FILE_ID.fullmatch(file_id) else ""


class _Exchange:
    """Counts the bytes of one request and its answer."""

    __slots__ = ("_receive", "_send", "complete", "file_id", "left", "received", "sent", "status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.received = self.sent = self.status = 0
        self.complete = self.left = False
        self.file_id = ""

    @property
    def interrupted(self) -> bool:
        return self.left or not self.complete

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
        elif not self.complete:
            # The application can still answer, but nobody gets that.
            self.left = True
        return message

    async def send(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status == HTTPStatus.CREATED:
                self.file_id = _created(message)


def _created(message: Message) -> str:
    """The ID of the file that was uploaded, from its link in `Location`."""
    location = dict(message["headers"]).get(b"location", b"").decode("latin-1")
    match = _DOWNLOAD_LINK.search(location)
    return match[1] if match else ""


def _line(scope: Scope, route: str, exchange: _Exchange, milliseconds: float, file_id: str) -> str:
    client = scope.get("client")
    address = printable(str(client[0])) if client else "-"
    status = str(exchange.status or "-") + (" interrupted" if exchange.interrupted else "")
    line = f"{address} {scope['method']} {route} {status} in={exchange.received} out={exchange.sent}"
    return f"{line} ms={milliseconds:.1f}" + (f" file={file_id}" if file_id else "")


class LineFormatter(logging.Formatter):
    """One line with the time in UTC; formats a time once per second."""

    def __init__(self, *, levels: bool) -> None:
        super().__init__()
        self._levels = levels
        self._second = 0
        self._time = ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._time = second, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        line = f"{self._time} {record.levelname} " if self._levels else f"{self._time} "
        line += record.getMessage()
        if hasattr(record, "file_id"):
            line += f" file={record.file_id}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


def config() -> dict[str, Any]:
    """Logging of a server process: requests to standard output, all else to standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "request": {"()": LineFormatter, "levels": False},
            "event": {"()": LineFormatter, "levels": True},
        },
        "handlers": {
            "requests": {"class": "logging.StreamHandler", "formatter": "request", "stream": "ext://sys.stdout"},
            "events": {"class": "logging.StreamHandler", "formatter": "event", "stream": "ext://sys.stderr"},
        },
        "root": {"handlers": ["events"], "level": "WARNING"},
        "loggers": {
            "local": {"level": "INFO"},
            "uvicorn": {"level": "INFO"},
            log.name: {"handlers": ["requests"], "propagate": False},
        },
    }
