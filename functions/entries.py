"""GET /file/entries/{file_id}: the contents of a zip archive."""

from __future__ import annotations

import json

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from shared import archives
from shared.errors import ArchiveTooLarge
from shared.http.access import PASSWORD
from shared.http.app import service_of
from shared.http.async_shares import files_of
from shared.http.credentials import authorise
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.sharing import Shares

router = Endpoints("Files")


class ArchiveEntry(BaseModel):
    """A file or folder in an archive."""

    name: str = Field(
        description="Name in the archive, with `/` between folders and at the end of a folder. It can be anything: "
        "check it before you use it as a path.",
        examples=["photos/beach.jpg"],
    )
    size: int = Field(description="Uncompressed size in bytes.", examples=[48213])
    modified: str | None = Field(
        description="RFC 3339; without an offset if the archive has only a local time.",
        examples=["2026-11-27T10:15:00Z"],
    )


@router.endpoint(
    "GET",
    "/file/entries/{file_id:file_id}",
    access=PASSWORD,
    answer=list[ArchiveEntry],
    errors=(404, 410, 413, 415),
)
async def list_entries(request: Request, file_id: str) -> Response:
    """List the files and folders in a zip archive, in the order of the archive. This never counts as a download.

    You can download each file separately: `GET /file/download/{file_id}?entry=NAME`.
    """
    limit = service_of(request).settings.inline_limit

    def work(shares: Shares) -> bytes:
        file = shares.find(file_id)
        authorise(request, shares, file)
        listing = [entry._asdict() for entry in archives.list_entries(shares, file)]
        # Here and not on the event loop, because it can be megabytes.
        body = json.dumps(listing, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        if limit is not None and len(body) > limit:
            raise ArchiveTooLarge(file_id)
        return body

    return Response(await files_of(request).run(work, file_id), media_type="application/json")


handler = HttpHandler(__name__, router, reads_only=True)
