"""DELETE /file/{file_id}: remove a file for good."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from shared.http.app import shares_of
from shared.http.endpoint import OWNER, Endpoints
from shared.http.handler import HttpHandler
from shared.http.layers.guard import require_owner
from shared.http.streams import in_thread

router = Endpoints("Files")


@router.endpoint(
    "DELETE", "/file/{file_id:file_id}", access=OWNER, status=HTTPStatus.NO_CONTENT, errors=(404, 410, 507)
)
async def delete_file(request: Request, file_id: str) -> Response:
    """Delete a file. Needs the API token, or the delete token that its upload was answered with."""

    def work() -> None:
        require_owner(request, file_id)
        shares_of(request).delete(file_id)

    await in_thread(request.app.state.threads, work)
    return Response(status_code=HTTPStatus.NO_CONTENT)


handler = HttpHandler(__name__, router)
