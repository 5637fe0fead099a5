"""GET /health: whether storage is available."""

from __future__ import annotations

import time

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import Request

from shared.http.async_shares import files_of
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler

ASK_EVERY = 1.0  # seconds

router = Endpoints("Service")

_OK = JSONResponse({"status": "ok"})


class Health(BaseModel):
    """The health of the server."""

    status: str = Field(examples=["ok"])


@router.endpoint("GET", "/health", answer=Health)
async def get_health(request: Request) -> JSONResponse:
    """Answer 200 if storage is available, else 503. Storage is checked at most once a second while it is available."""
    state, now = request.app.state, time.monotonic()
    if not now < state.healthy_until:
        await files_of(request).check()
        state.healthy_until = now + ASK_EVERY
    return _OK


handler = HttpHandler(__name__, router, reads_only=True)
