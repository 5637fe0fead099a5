"""POST /file/upload/: take a file from a form and answer with its ID and link."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.errors import FileTooLarge
from shared.http.app import lambda_handler, shares_of
from shared.http.forms import MAX_OVERHEAD_BYTES, receive_form
from shared.http.headers import media_type
from shared.http.models import UploadedFile, metadata, problems
from shared.http.routing import add_endpoint
from shared.http.streams import Incoming

router = APIRouter()

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "The file."}},
                }
            }
        },
    }
}


async def upload(request: Request) -> JSONResponse:
    """Store the file in the form field `file`.

    Its bytes are written as they arrive. Once this is answered, the file survives a crash.
    """
    shares = shares_of(request)
    _require_acceptable(request, shares.max_file_size)
    async with Incoming(shares, request.app.state.threads) as incoming:
        form = await receive_form(
            request.headers.get("content-type", ""), request.stream(), incoming.write, known=frozenset()
        )
        record = await incoming.finish(form.file_name, media_type(form.content_type))
    request.app.state.observe("Uploads")
    request.app.state.observe("UploadedBytes", record.file_size)
    body = {"file_id": record.file_id, **metadata(request, record)}
    return JSONResponse(body, HTTPStatus.CREATED, {"Location": body["download_link"]})


def _require_acceptable(request: Request, max_file_size: int) -> None:
    """Refuse by the request's head what could only be refused later, before the client sends its body."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not have a Content-Encoding.")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > max_file_size + MAX_OVERHEAD_BYTES:
        raise FileTooLarge(max_file_size)


add_endpoint(
    router,
    "POST",
    "/file/upload/",
    upload,
    status_code=HTTPStatus.CREATED,
    response_model=UploadedFile,
    responses=problems(400, 408, 413, 415, 422, 503, 507),
    openapi_extra=_FORM,
)

handler = lambda_handler(router)
