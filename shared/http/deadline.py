"""An answer in time where the platform would otherwise end the invocation without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import StorageUnavailable
from shared.http import problems


class Deadline:
    """ASGI middleware that gives up when nothing was answered within `seconds(scope)`.

    An answer is held back until it is whole, so it is for servers that do so anyway. Work in threads cannot be stopped:
    it goes on when the process next runs, where it ends as if the client had left.
    """

    def __init__(self, app: ASGIApp, seconds: Callable[[Scope], float]) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []

        async def hold(message: Message) -> None:
            answer.append(message)

        work = asyncio.ensure_future(self._app(scope, receive, hold))
        done, _ = await asyncio.wait([work], timeout=self._seconds(scope))
        if done:
            for message in answer:
                await send(message)
            work.result()
            return
        # Not waited for: it cannot end before the threads that it waits for do.
        work.cancel()
        late = StorageUnavailable("no answer before the end of the invocation")
        await problems.from_error(late)(scope, receive, send)
