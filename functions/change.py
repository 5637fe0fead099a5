"""PATCH /file/{file_id}: change or remove the expiry, download limit and password of a file."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.http.access import OWNER
from shared.http.async_shares import files_of
from shared.http.bodies import read_json
from shared.http.endpoint import Endpoints
from shared.http.guard import require_owner
from shared.http.handler import HttpHandler
from shared.http.models import FileMetadata, OptionChanges, owner_metadata
from shared.http.options import require_not_in_query
from shared.options import Options, checked

router = Endpoints("Files")


@router.endpoint(
    "PATCH",
    "/file/{file_id:file_id}",
    access=OWNER,
    answer=FileMetadata,
    errors=(404, 410, 415, 422, 429, 507),
    body=OptionChanges,
)
async def change_file(request: Request, file_id: str) -> JSONResponse:
    """Change or remove the expiry, download limit and password of a file. A new `expires_in` counts from now.

    Requires an access token, or the delete token from the answer to the upload.

    For a file in an inbox, this requires the owner token of the inbox or an access token. With `shared`, anyone with
    its link can then download it.
    """
    files = files_of(request)
    await files.run(lambda _: require_owner(request, file_id, receipt=False), file_id)
    require_not_in_query(request)
    changes = await read_json(request, OptionChanges)
    options = checked(Options(**changes.model_dump()), files.shares.lifetimes.limit)
    names = frozenset(changes.model_fields_set)
    record = await files.run(lambda shares: shares.change(file_id, options, names), file_id)
    return JSONResponse(owner_metadata(request, record))


handler = HttpHandler(__name__, router)
