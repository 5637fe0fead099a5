"""GET /file/metadata: what is known about every file, a page at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic.config import JsonDict
from starlette.requests import Request

from shared.errors import InvalidValue
from shared.http.app import lambda_handler, shares_of
from shared.http.guard import TOKEN, GuardedRoute
from shared.http.models import FileMetadata, base_url, metadata, problems
from shared.http.routing import add_endpoint
from shared.http.streams import in_thread
from shared.sharing import FILE_ID

router = APIRouter()

MAX_PAGE = 1000

# As the OpenAPI document has them; they are read by hand, since pydantic takes more for a number than digits.
_LIMIT: JsonDict = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": MAX_PAGE}
_AFTER: JsonDict = {"pattern": f"^({FILE_ID.pattern})?$"}


async def list_metadata(
    request: Request,
    limit: Annotated[str, Query(description="Files per page.", json_schema_extra=_LIMIT)] = str(MAX_PAGE),
    after: Annotated[str, Query(description="List the files behind this ID.", json_schema_extra=_AFTER)] = "",
) -> JSONResponse:
    """Files by ID, sorted. While there are more, `Link` with `rel="next"` (RFC 8288) leads to them."""
    size = _page_size(limit)
    if after and not FILE_ID.fullmatch(after):
        raise InvalidValue("after", "must be a file ID")
    shares = shares_of(request)
    page = await in_thread(request.app.state.threads, lambda: shares.page(after, size))
    headers = {}
    if page.more:
        following = f"{base_url(request)}/file/metadata?limit={size}&after={page.files[-1].file_id}"
        headers["Link"] = f'<{following}>; rel="next"'
    return JSONResponse({record.file_id: metadata(request, record) for record in page.files}, headers=headers)


def _page_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PAGE)) and 1 <= int(text) <= MAX_PAGE):
        raise InvalidValue("limit", f"must be a whole number from 1 to {MAX_PAGE}")
    return int(text)


add_endpoint(
    router,
    "GET",
    "/file/metadata",
    list_metadata,
    response_model=dict[str, FileMetadata],
    responses=problems(401, 422, 503),
    route_class_override=GuardedRoute,
    dependencies=TOKEN,
)

handler = lambda_handler(router)
