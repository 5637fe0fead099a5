"""GET /file/metadata/{file_id}: the metadata of one file."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.access import READER
from shared.http.async_shares import files_of
from shared.http.credentials import require_reader
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.models import FileMetadata, metadata, owner_metadata

router = Endpoints("Files")


@router.endpoint("GET", "/file/metadata/{file_id:file_id}", access=READER, answer=FileMetadata, errors=(404, 410))
async def get_metadata(request: Request, file_id: str) -> JSONResponse:
    """Get the name, type, size and exact download count of a file. This never counts as a download.

    For a file in an inbox, this requires the owner token of the inbox or an API token, until its owner shares the file.
    """
    files = files_of(request)
    record = await files.describe(file_id)
    if not record.is_private:
        return JSONResponse(metadata(request, record))
    await files.run(lambda _: require_reader(request, record))
    return JSONResponse(owner_metadata(request, record))


handler = HttpHandler(__name__, router, reads_only=True)
