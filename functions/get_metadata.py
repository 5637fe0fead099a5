"""GET /file/metadata/{file_id}: what is known about one file."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.app import shares_of
from shared.http.handler import HttpHandler
from shared.http.models import FileMetadata, metadata, problems
from shared.http.routing import add_endpoint, tagged_router
from shared.http.streams import in_thread

router = tagged_router("Files")


async def get_metadata(request: Request, file_id: str) -> JSONResponse:
    """Name, type, size and exact download count of a file. Looking never counts."""
    shares = shares_of(request)
    record = await in_thread(request.app.state.threads, lambda: shares.describe(file_id))
    return JSONResponse(metadata(request, record))


add_endpoint(
    router,
    "GET",
    "/file/metadata/{file_id:file_id}",
    get_metadata,
    response_model=FileMetadata,
    responses=problems(404, 410, 503),
)

handler = HttpHandler(__name__, router)
