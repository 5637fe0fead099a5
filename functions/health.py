"""GET /health: whether storage answers."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import Request

from shared.http.app import shares_of
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.streams import in_thread

router = Endpoints("Service")


class Health(BaseModel):
    """What a load balancer asks for."""

    status: str = Field(examples=["ok"])


@router.endpoint("GET", "/health", answer=Health)
async def get_health(request: Request) -> JSONResponse:
    """200 while storage answers, else 503."""
    await in_thread(request.app.state.threads, lambda: shares_of(request).check())
    return JSONResponse({"status": "ok"})


handler = HttpHandler(__name__, router, reads_only=True)
