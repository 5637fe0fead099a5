"""DELETE /file/{file_id}, and POST from the page of a delete link: delete a file permanently."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import WrongDeleteToken
from shared.http.access import OWNER
from shared.http.async_shares import files_of
from shared.http.bodies import read_field
from shared.http.browsers import PAGES
from shared.http.endpoint import Endpoints, content
from shared.http.guard import require_owner
from shared.http.handler import HttpHandler
from shared.http.headers import FORM_TYPE
from shared.sharing import Shares

router = Endpoints("Files")


@router.endpoint(
    "DELETE", "/file/{file_id:file_id}", access=OWNER, status=HTTPStatus.NO_CONTENT, errors=(404, 410, 507)
)
async def delete_file(request: Request, file_id: str) -> Response:
    """Delete a file. Requires an access token, the delete token from the answer to its upload, or the owner token of
    its inbox.
    """

    def work(shares: Shares) -> None:
        require_owner(request, file_id, receipt=True)
        shares.delete(file_id)

    await files_of(request).run(work, file_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.endpoint(
    "POST",
    "/file/{file_id:file_id}",
    answers={200: {"description": "A page that confirms the deletion.", "content": {"text/html": {}}}},
    errors=(403, 404, 410, 415, 507),
    body=content(FORM_TYPE, {"type": "object", "properties": {"token": {"type": "string"}}}),
)
async def delete_file_by_form(request: Request, file_id: str) -> Response:
    """Delete a file from the page of its delete link. Requires the delete token in the form field `token`."""
    token = await read_field(request, "token")

    def work(shares: Shares) -> None:
        if not shares.signing.is_delete_token(file_id, token):
            raise WrongDeleteToken
        shares.delete(file_id)

    await files_of(request).run(work, file_id)
    return PAGES.render(request, "deleted.html")


handler = HttpHandler(__name__, router)
