"""GET /file/metadata/{file_id}: the metadata of one file."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.access import READER
from shared.http.async_shares import files_of
from shared.http.credentials import metadata_for
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.models import FileMetadata

router = Endpoints("Files")


@router.endpoint("GET", "/file/metadata/{file_id:file_id}", access=READER, answer=FileMetadata, errors=(404, 410))
async def get_metadata(request: Request, file_id: str) -> JSONResponse:
    """Get the name, type, size and exact download count of a file. This never counts as a download.

    For a file in an inbox, this requires the owner token of the inbox or an access token, until its owner shares the
    file.
    """
    record = await files_of(request).describe(file_id)
    return JSONResponse(await metadata_for(request, record))


handler = HttpHandler(__name__, router, reads_only=True)
