"""GET /file/metadata/{file_id}: the metadata of one file."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.app import shares_of
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.models import FileMetadata, metadata
from shared.http.streams import in_thread

router = Endpoints("Files")


@router.endpoint("GET", "/file/metadata/{file_id:file_id}", answer=FileMetadata, errors=(404, 410))
async def get_metadata(request: Request, file_id: str) -> JSONResponse:
    """Get the name, type, size and exact download count of a file. This never counts as a download."""
    shares = shares_of(request)
    record = await in_thread(request.app.state.threads, lambda: shares.describe(file_id))
    return JSONResponse(metadata(request, record))


handler = HttpHandler(__name__, router, reads_only=True)
