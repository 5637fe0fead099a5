"""Keeping secrets and control characters out of uvicorn's access log, however uvicorn was started."""

from __future__ import annotations

import logging
import re

UVICORN_ARGUMENTS = 5  # client address, method, target, HTTP version, status


# Anyone who knows it can continue the upload.
_UPLOAD_ID = re.compile(r"(?<=/file/s3/multipart/)[^/]+")


class AccessLogFilter(logging.Filter):
    """Drops query strings, which may hold a delete token, and IDs of uploads; escapes an address from a proxy header.

    The path needs no escaping: uvicorn percent-encodes it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) == UVICORN_ARGUMENTS:
            client, method, target, version, status = record.args
            path = _UPLOAD_ID.sub("-", str(target).partition("?")[0])
            record.args = (_printable(str(client)), method, path, version, status)
        return True


def mask() -> None:
    """Install the filter in this process, once."""
    logger = logging.getLogger("uvicorn.access")
    if not any(isinstance(each, AccessLogFilter) for each in logger.filters):
        logger.addFilter(AccessLogFilter())


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() and c not in ' "' else ascii(c)[1:-1] for c in text)
