"""GET /health: whether storage answers."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.app import shares_of
from shared.http.handler import HttpHandler
from shared.http.models import problems
from shared.http.routing import add_endpoint, tagged_router
from shared.http.streams import in_thread

router = tagged_router("Service")


async def health(request: Request) -> JSONResponse:
    """200 while storage answers, else 503."""
    await in_thread(request.app.state.threads, lambda: shares_of(request).check())
    return JSONResponse({"status": "ok"})


add_endpoint(router, "GET", "/health", health, name="get_health", responses=problems(503))

handler = HttpHandler(__name__, router)
