"""The web pages: an upload page, a list of all files, and a page for each file with its download link."""

from __future__ import annotations

import io
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.errors import OwnerOnly, ShareError, UsedUp, WrongPassword
from shared.http import accent
from shared.http.access import READER
from shared.http.app import service_of
from shared.http.async_shares import files_of
from shared.http.bodies import read_field
from shared.http.browsers import FORM_CHALLENGE, PAGES, entry_query, error_page, is_navigation
from shared.http.credentials import PASS_COOKIE, metadata_for, pass_proof
from shared.http.endpoint import Endpoints, content
from shared.http.handler import HttpHandler
from shared.http.headers import FORM_TYPE, accepts_gzip
from shared.http.models import FileMetadata, base_url, download_page, inbox_page
from shared.http.pages import compressed, kind_text, moment_texts, page_headers, path_prefix
from shared.http.problems import from_error
from shared.redirects import storage_origin
from shared.sharing import Record, Shares, Stored
from shared.signing import PASS_LIFETIME

router = Endpoints("Pages")

# Media types of the assets, by extension.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_FORM = {"type": "object", "properties": {"password": {"type": "string", "format": "password"}}}


def _html(*statuses: int) -> dict[int, dict[str, Any]]:
    """OpenAPI descriptions of pages."""
    return {
        status: {
            "description": "The page." if status == HTTPStatus.OK else "A page that says so.",
            "content": {"text/html": {}},
        }
        for status in statuses
    }


@router.endpoint("GET", "/", answers=_html(200))
async def get_upload_page(request: Request) -> Response:
    """The page to upload files on."""
    return await _with_server(request, "upload.html")


@router.endpoint("GET", "/file", answers=_html(200))
async def get_all_files_page(request: Request) -> Response:
    """The page that lists all files for people with access. The page itself contains no data about them."""
    return await _with_server(request, "all.html")


@router.endpoint("GET", "/inbox", answers=_html(200))
async def get_inboxes_page(request: Request) -> Response:
    """The page on which people create inboxes and see their files. The page itself contains no data about them."""
    response = await _with_server(request, "inboxes.html")
    # Several downloads start at once, each in a separate frame.
    policy = response.headers["Content-Security-Policy"]
    connect = next(entry for entry in policy.split("; ") if entry.startswith("connect-src "))
    response.headers["Content-Security-Policy"] = f"{policy}; {connect.replace('connect', 'frame')}"
    return response


async def _with_server(request: Request, template: str) -> Response:
    """Render a page that knows the limits of this server."""
    files = files_of(request)
    try:
        origin = await files.run(storage_origin)
    except ShareError as error:
        return error_page(request, from_error(error))
    server = {
        "max_file_size": files.shares.max_file_size,
        "default_expires_in": files.shares.lifetimes.default,
        "max_expires_in": files.shares.lifetimes.longest,
        "token_required": service_of(request).tokens.required,
        # Whether the browser sends parts of large files directly to storage.
        "signs": origin is not None,
    }
    return compressed(request, PAGES.render(request, template, origin=origin, server=server))


@router.endpoint("GET", "/download/{file_id}", answers=_html(200, 404, 410, 503))
async def get_landing_page(request: Request, file_id: str) -> Response:
    """A page about one file, with the link that downloads it. Never counts as a download."""
    try:
        stored, origin = await files_of(request).run(lambda shares: _find(shares, file_id), file_id)
    except ShareError as error:
        return error_page(request, from_error(error))
    return _landing(request, stored.record, origin)


@router.endpoint(
    "GET", "/file/{file_id:file_id}", access=READER, answer=FileMetadata, answers=_html(200), errors=(404, 410)
)
async def get_file(request: Request, file_id: str) -> Response:
    """Get the metadata of a file. In a browser, this opens the file's page.

    With the file's delete token in `token`, the page has a button that deletes the file. GET itself deletes nothing.
    """
    files = files_of(request)
    record = await files.describe(file_id)
    if not is_navigation(request.scope):
        return JSONResponse(await metadata_for(request, record))
    token = request.query_params.get("token")
    if record.is_used_up and token is None:
        raise UsedUp(file_id)
    origin = await files.run(storage_origin)
    return _landing(request, record, origin, token=token)


@router.endpoint(
    "POST",
    "/download/{file_id}",
    status=HTTPStatus.SEE_OTHER,
    answers={
        303: {"description": "Redirects to the download, with a cookie that replaces the password for a minute."},
        **_html(401, 404, 410, 429, 503),
    },
    errors=(415,),
    body=content(FORM_TYPE, _FORM),
)
async def enter_password(request: Request, file_id: str) -> Response:
    """Check the form field `password`. If it is correct, set a cookie for a minute, and redirect to the download."""
    password = await read_field(request, "password")
    files = files_of(request)
    try:
        stored, origin = await files.run(lambda shares: _find(shares, file_id, resumable=True), file_id)
        cookie = await files.run(lambda shares: _pass(request, shares, stored, password), file_id)
    except (WrongPassword, OwnerOnly):
        return _landing(request, stored.record, origin, wrong_password=True)
    except ShareError as error:
        return error_page(request, from_error(error))
    path = f"{path_prefix(request)}/file/download/{file_id}"
    location = path + entry_query(request)
    response = Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": location, **page_headers()})
    if cookie is not None:
        response.set_cookie(
            PASS_COOKIE,
            cookie,
            max_age=PASS_LIFETIME,
            path=path,
            secure=base_url(request).startswith("https:"),
            httponly=True,
            samesite="strict",
        )
    return response


_QR_CODE: dict[str, Any] = {
    "answers": {200: {"description": "The image.", "content": {"image/svg+xml": {}}}},
    "errors": (404,),
}


@router.endpoint("GET", "/download/{file_id:file_id}/qr.svg", **_QR_CODE)
async def get_qr_code(request: Request, file_id: str) -> Response:
    """The address of a file's page as a QR code. The server does not check whether the file exists."""
    return await _qr_code(request, download_page(request, file_id))


@router.endpoint("GET", "/inbox/{inbox_id:file_id}/qr.svg", **_QR_CODE)
async def get_qr_code_of_inbox(request: Request, inbox_id: str) -> Response:
    """The address of an inbox's page as a QR code. The server does not check whether the inbox exists."""
    return await _qr_code(request, inbox_page(request, inbox_id))


async def _qr_code(request: Request, address: str) -> Response:
    image = await files_of(request).run(lambda _: _drawn(address))
    headers = {**page_headers(), "Cache-Control": "private, max-age=3600"}
    return Response(image, headers=headers, media_type="image/svg+xml")


def _drawn(address: str) -> bytes:
    """Draw the QR code of an address as an SVG image. This takes tens of milliseconds."""
    import segno

    image = io.BytesIO()
    segno.make(address, micro=False, error="m").save(
        image, kind="svg", scale=8, border=4, dark="#000", light="#fff", title=PAGES.texts.ready.code
    )
    return image.getvalue()


@router.endpoint(
    "GET",
    "/static/{version}/{name}",
    answers={
        200: {"description": "The file.", "content": {"text/css": {}, "text/javascript": {}}},
        304: {"description": "The browser already has it."},
    },
    errors=(404,),
)
async def get_static_file(request: Request, version: str, name: str) -> Response:
    """A style sheet, script or image of the pages."""
    content = PAGES.asset(name) if name in PAGES.sources else accent.sheet(name)
    if content is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    # Weak, because it is the same for both encodings.
    etag = f'W/"{PAGES.version}"'
    headers = {
        **page_headers(),
        "ETag": etag,
        "Vary": "Accept-Encoding",
        # The content can change under any version except the current one.
        "Cache-Control": "public, max-age=31536000, immutable" if version == PAGES.version else "no-cache",
        "Content-Type": _TYPES[PurePath(name).suffix],
    }
    tags = {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}
    if tags & {etag, "*"}:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if name in PAGES.sources and accepts_gzip(request.headers):
        return Response(PAGES.compressed(name), headers={**headers, "Content-Encoding": "gzip"})
    return Response(content, headers=headers)


def _find(shares: Shares, file_id: str, *, resumable: bool = False) -> tuple[Stored, str | None]:
    """A file that can be downloaded, and `storage_origin`. Raises the errors of `Shares.find`, and `UsedUp`.

    With `resumable`, it can be an encrypted file whose last download may be under way: its page resumes that itself.
    """
    stored = shares.find(file_id)
    if stored.record.is_used_up and not (resumable and stored.record.encryption is not None):
        raise UsedUp(file_id)
    return stored, storage_origin(shares)


def _pass(request: Request, shares: Shares, stored: Stored, password: str) -> str | None:
    """The cookie's value; None if the file has no password. Raises `OwnerOnly` and the errors of `Shares.authorise`."""
    record = stored.record
    if not record.is_private:
        shares.authorise(stored, password)
    elif not shares.signing.is_owner_token(str(record.inbox_id), password):
        tokens = service_of(request).tokens
        if not (tokens.required and tokens.accept(password)):
            raise OwnerOnly
    proof = pass_proof(record)
    return None if proof is None else shares.signing.password_pass(record.file_id, proof)


def _landing(
    request: Request, record: Record, origin: str | None, *, wrong_password: bool = False, token: str | None = None
) -> Response:
    template = "landing.html" if record.encryption is None else "encrypted.html"
    if record.is_private:
        # It says nothing of the file.
        template = "private.html"
    headers = {}
    if wrong_password:
        # Basic would make the browser show its own password prompt.
        headers["WWW-Authenticate"] = FORM_CHALLENGE
    if token is not None:
        # Otherwise each request of the page would send the address with the token as its referrer.
        headers["Referrer-Policy"] = "strict-origin"
    return PAGES.render(
        request,
        template,
        HTTPStatus.UNAUTHORIZED if wrong_password else HTTPStatus.OK,
        headers,
        origin=origin,
        redirects=origin is not None,
        file=record,
        kind=kind_text(record.original_name),
        expires=moment_texts(record.expires_at),
        lifetime=record.expires_at and PAGES.span_text(record.expires_at - files_of(request).shares.now()),
        address=download_page(request, record.file_id),
        entry=entry_query(request),
        wrong_password=wrong_password,
        token=token,
    )


handler = HttpHandler(__name__, router, reads_only=True)
