"""Refuses text that the gateway has altered.

An HTTP API passes bodies of text types to functions as text, and replaces bytes that are not UTF-8 by U+FFFD. The event
keeps the `content-length` as sent. AWS documents neither; others captured both on AWS:
https://github.com/ministackorg/ministack/pull/766, https://github.com/floci-io/floci/issues/2172.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from shared.errors import AlteredText
from shared.http.endpoint import Endpoint
from shared.http.headers import parse_digits


def is_altered(event: Mapping[str, Any]) -> bool:
    """Whether the body of a payload 2.0 event differs from the bytes that were sent.

    If the length matches, U+FFFD is assumed to come from the sender. Only a four-byte character without its last byte
    would look the same.
    """
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return False
    length = (event.get("headers") or {}).get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return "\N{REPLACEMENT CHARACTER}" in body
    return len(body.encode(errors="surrogatepass")) != parse_digits(length)


async def require_exact_text(scope: Scope, _endpoint: Endpoint) -> None:
    """Raises `AlteredText`. Mangum adds the event to the scope."""
    if is_altered(scope["aws.event"]):
        raise AlteredText
