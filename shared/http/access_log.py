"""uvicorn's own access log, if `uvicorn` is started directly: without secrets, names and control characters."""

from __future__ import annotations

import logging
import re

from shared.http.endpoint import OWN_SEGMENTS

UVICORN_ARGUMENTS = 5  # client address, method, target, HTTP version, status

# The ID of a direct upload, with which anyone can continue it, and names of files, some of which follow an ID.
_PRIVATE = re.compile(
    r"(?<=/file/s3/multipart/)[^/]+|(?<=/file/upload/).+|(?<=/[0-9a-f]{8}-.{4}-.{4}-.{4}-.{12}/).+"
    rf"|\A/(?!(?:{'|'.join(map(re.escape, OWN_SEGMENTS))})/?\Z)[^/]+/?\Z"
)
_PLAIN = re.compile(r"[!#-~]+")


def masked(record: logging.LogRecord) -> bool:
    """A log filter that drops queries, which can hold a delete token, upload IDs and names.

    It also escapes addresses from a proxy header. The path needs no escaping: uvicorn percent-encodes it.
    """
    if isinstance(record.args, tuple) and len(record.args) == UVICORN_ARGUMENTS:
        client, method, target, version, status = record.args
        path = _PRIVATE.sub(lambda it: "/-" if it[0].startswith("/") else "-", str(target).partition("?")[0])
        record.args = (printable(str(client)), method, path, version, status)
    return True


def mask() -> None:
    """Install the filter in this process."""
    logging.getLogger("uvicorn.access").addFilter(masked)


def printable(text: str) -> str:
    """An address that cannot forge a line or a field, whatever a proxy passes on."""
    return text if _PLAIN.fullmatch(text) else "".join(c if _PLAIN.match(c) else f"\\x{ord(c):02x}" for c in text)
