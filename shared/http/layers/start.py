"""Prepares the application before the first request, or stops the start with a one-line error."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import InvalidSetting
from shared.http.streams import in_thread


class Start:
    """ASGI middleware that runs `prepare` in a thread when the server starts, and stops the start on `InvalidSetting`.

    It must be the outermost layer. If the application raises before it reports a failed start, servers by default
    conclude that it needs no start, and serve it anyway (ASGI, "Lifespan Protocol"). Starlette reports a traceback.
    """

    def __init__(self, app: ASGIApp, prepare: Callable[[], object], threads: Executor) -> None:
        self._app = app
        self._prepare = prepare
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        pending = [await receive()]
        try:
            await in_thread(self._threads, self._prepare)
        except InvalidSetting as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return

        async def resume() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, resume, send)
