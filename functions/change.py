"""PATCH /file/{file_id}: change or remove the expiry, the cap and the password of a file."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared import bootstrap
from shared.http.app import shares_of
from shared.http.handler import HttpHandler
from shared.http.layers.guard import OWNER, require_owner
from shared.http.models import FileMetadata, OptionChanges, metadata, problems
from shared.http.options import from_json
from shared.http.routing import add_endpoint, tagged_router
from shared.http.streams import in_thread

router = tagged_router("Files")


async def change(request: Request, file_id: str) -> JSONResponse:
    """Set what the body names, and remove what it names as null. `expires_in` counts from now.

    Needs the API token, or the delete token that the file's upload was answered with.
    """
    threads = request.app.state.threads
    await in_thread(threads, lambda: require_owner(request, file_id))
    options, given = await from_json(request, shares_of(request).lifetimes.limit)
    record = await in_thread(threads, lambda: shares_of(request).change(file_id, options, given))
    return JSONResponse(metadata(request, record))


_BODY = OptionChanges.model_json_schema()

add_endpoint(
    router,
    "PATCH",
    "/file/{file_id:file_id}",
    change,
    name="change_file",
    response_model=FileMetadata,
    responses=problems(400, 401, 403, 404, 410, 413, 415, 422, 429, 503, 507),
    dependencies=OWNER,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}},
)

handler = HttpHandler(__name__, router, shares=bootstrap.proven_shares)
