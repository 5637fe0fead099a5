"""GET /health: whether storage answers."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.app import lambda_handler, shares_of
from shared.http.models import problems
from shared.http.routing import add_endpoint
from shared.http.streams import in_thread

router = APIRouter()


async def health(request: Request) -> JSONResponse:
    """200 while storage answers, else 503."""
    await in_thread(request.app.state.threads, lambda: shares_of(request).check())
    return JSONResponse({"status": "ok"})


add_endpoint(router, "GET", "/health", health, responses=problems(503))

handler = lambda_handler(router)
