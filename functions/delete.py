"""DELETE /file/{file_id}: remove a file for good."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from shared import bootstrap
from shared.http.app import shares_of
from shared.http.handler import HttpHandler
from shared.http.layers.guard import OWNER, require_owner
from shared.http.models import problems
from shared.http.routing import add_endpoint, tagged_router
from shared.http.streams import in_thread

router = tagged_router("Files")


async def delete(request: Request, file_id: str) -> Response:
    """Delete a file. Needs the API token, or the delete token that its upload was answered with."""

    def work() -> None:
        require_owner(request, file_id)
        shares_of(request).delete(file_id)

    await in_thread(request.app.state.threads, work)
    return Response(status_code=HTTPStatus.NO_CONTENT)


add_endpoint(
    router,
    "DELETE",
    "/file/{file_id:file_id}",
    delete,
    name="delete_file",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=problems(401, 403, 404, 410, 503, 507),
    dependencies=OWNER,
)

handler = HttpHandler(__name__, router, shares=bootstrap.proven_shares)
