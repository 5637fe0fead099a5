"""GET /file/metadata/{file_id}: the metadata of one file."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.async_shares import files_of
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.models import FileMetadata, metadata

router = Endpoints("Files")


@router.endpoint("GET", "/file/metadata/{file_id:file_id}", answer=FileMetadata, errors=(404, 410))
async def get_metadata(request: Request, file_id: str) -> JSONResponse:
    """Get the name, type, size and exact download count of a file. This never counts as a download."""
    return JSONResponse(metadata(request, await files_of(request).describe(file_id)))


handler = HttpHandler(__name__, router, reads_only=True)
