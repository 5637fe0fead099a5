"""Refuses text that the gateway has altered.

An HTTP API gives functions the bodies of text types as text, and puts U+FFFD for bytes that are not UTF-8. The event
keeps the `content-length` of what was sent. AWS documents neither; others captured both on AWS:
https://github.com/ministackorg/ministack/pull/766, https://github.com/floci-io/floci/issues/2172.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import AlteredText
from shared.http import problems


def is_altered(event: Mapping[str, Any]) -> bool:
    """Whether the body of a payload 2.0 event cannot be the bytes that were sent.

    Where the length fits, U+FFFD is taken for the sender's own. Only the first three bytes of a four-byte character,
    cut off from the fourth, would look the same.
    """
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return False
    length = (event.get("headers") or {}).get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return "\N{REPLACEMENT CHARACTER}" in body
    # Not as numbers: Python refuses to read thousands of digits.
    return str(len(body.encode(errors="surrogatepass"))) != (length.lstrip("0") or "0")


class ExactText:
    """ASGI middleware that answers requests with an altered body, for Mangum, which adds the event to their scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = problems.from_error(AlteredText()) if is_altered(scope["aws.event"]) else self._app
        await answer(scope, receive, send)
