"""uvicorn's access log: free of secrets and control characters, however uvicorn is started, and fast."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus

UVICORN_ARGUMENTS = 5  # client address, method, target, HTTP version, status

# Anyone who knows this ID can continue the upload.
_UPLOAD_ID = re.compile(r"(?<=/file/s3/multipart/)[^/]+")
_PLAIN = re.compile(r"[!#-~]*")
_PHRASES: dict[object, str] = {status.value: status.phrase for status in HTTPStatus}


class AccessLogFilter(logging.Filter):
    """Drops query strings, which can contain a delete token, and upload IDs; escapes addresses from a proxy header.

    The path needs no escaping: uvicorn percent-encodes it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) == UVICORN_ARGUMENTS:
            client, method, target, version, status = record.args
            path = _UPLOAD_ID.sub("-", str(target).partition("?")[0])
            record.args = (_printable(str(client)), method, path, version, status)
        return True


class AccessFormatter(logging.Formatter):
    """Formats lines like uvicorn's formatter without colours, but does not copy the record: 1 µs instead of 6."""

    def format(self, record: logging.LogRecord) -> str:
        assert isinstance(record.args, tuple)
        client, method, path, version, status = record.args
        return f'INFO:     {client} - "{method} {path} HTTP/{version}" {status} {_PHRASES.get(status, "")}'


def mask() -> None:
    """Install the filter in this process, once."""
    logger = logging.getLogger("uvicorn.access")
    if not any(isinstance(each, AccessLogFilter) for each in logger.filters):
        logger.addFilter(AccessLogFilter())


def _printable(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return "".join(c if c.isascii() and c.isprintable() and c not in ' "' else ascii(c)[1:-1] for c in text)
