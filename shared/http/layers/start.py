"""Getting ready before the first request, or stopping the start with one sentence."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import InvalidSetting
from shared.http.streams import in_thread


class Start:
    """ASGI middleware that runs `prepare` in a thread when the server starts, and stops the start on `InvalidSetting`.

    It is the outermost layer. An exception that comes before the application reports a failed start tells the server
    that there is nothing to start (ASGI, "Lifespan Protocol"), and by default it then serves all the same. What
    Starlette reports is a traceback.
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
