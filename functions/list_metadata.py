"""GET /file/metadata: the metadata of all files, one page at a time."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import Request

from shared.errors import InvalidValue
from shared.http.access import TOKEN
from shared.http.app import service_of
from shared.http.async_shares import files_of
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.models import FileMetadata, base_url, metadata, owner_metadata
from shared.http.options import only
from shared.listing import list_files
from shared.options import whole_number
from shared.settings import LAMBDA_PAGE_SIZE, MAX_PAGE_SIZE, Settings
from shared.sharing import FILE_ID

router = Endpoints("Files")


_PARAMETERS = [
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE},
        "description": f"Files per page. Default: {Settings.page_size}, or {LAMBDA_PAGE_SIZE} on AWS Lambda.",
    },
    {
        "name": "after",
        "in": "query",
        "schema": {"type": "string", "pattern": f"^({FILE_ID.pattern})?$"},
        "description": "List the files after this ID.",
    },
]


@router.endpoint(
    "GET",
    "/file/metadata",
    access=TOKEN,
    answer=dict[str, FileMetadata],
    errors=(422,),
    parameters=_PARAMETERS,
)
async def list_metadata(request: Request) -> JSONResponse:
    """List files, sorted by ID. If there are more, a `Link` header with `rel="next"` (RFC 8288) has the next page."""
    limit = only("limit", *request.query_params.getlist("limit"))
    size = service_of(request).settings.page_size if limit is None else whole_number("limit", limit, MAX_PAGE_SIZE)
    after = only("after", *request.query_params.getlist("after")) or ""
    if after and not FILE_ID.fullmatch(after):
        raise InvalidValue("after", "must be a file ID")
    # Without tokens, everyone can list files, even the senders of private ones.
    private = service_of(request).tokens.required
    listing = await files_of(request).run(lambda shares: list_files(shares, after, size, private=private), "lists")
    view = owner_metadata if private else metadata
    headers = {}
    if listing.more:
        next_url = f"{base_url(request)}/file/metadata?limit={size}&after={listing.files[-1].file_id}"
        headers["Link"] = f'<{next_url}>; rel="next"'
    files = {record.file_id: view(request, record, in_list=True) for record in listing.files}
    return JSONResponse(files, headers=headers)


handler = HttpHandler(__name__, router, reads_only=True)
