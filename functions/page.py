"""The web pages: one to upload files on, and for each file one that shows it and leads to its download."""

from __future__ import annotations

import functools
import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shared.errors import Expired, ShareError, TooManyAttempts, UnknownFile, UsedUp, WrongPassword
from shared.http.app import shares_of
from shared.http.credentials import PASS_COOKIE
from shared.http.endpoint import Endpoints, content
from shared.http.handler import HttpHandler
from shared.http.models import base_url, download_page
from shared.http.problems import from_error
from shared.http.streams import in_thread
from shared.redirects import storage_origin
from shared.sharing import Record, Stored, rfc3339
from shared.signing import PASS_LIFETIME

if TYPE_CHECKING:
    import jinja2

router = Endpoints("Pages")

PAGES = Path(__file__).parent / "pages"
STATIC = {
    "page.css": "text/css; charset=utf-8",
    "upload.js": "text/javascript; charset=utf-8",
    "landing.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
MAX_FORM_BYTES = 16 * 1024

_UNITS = ("bytes", "kB", "MB", "GB", "TB")

# What a person is told instead of the problem document's words, which are for programs.
_WORDS: dict[type[ShareError], tuple[str, str]] = {
    UnknownFile: (
        "No such file",
        "There is no file at this address. The link may be incomplete, or the file was deleted.",
    ),
    Expired: ("This link has expired", "The file was shared for a limited time, which is over."),
    UsedUp: ("This link is used up", "The file was downloaded as often as its sender allowed."),
    TooManyAttempts: ("Too many attempts", "Many passwords are being checked at once. Please try again in a moment."),
}
_UNEXPECTED = ("Something went wrong", "The file cannot be shown just now. Please try again in a moment.")


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
    try:
        origin = await in_thread(request.app.state.threads, lambda: storage_origin(shares_of(request)))
    except ShareError as error:
        return _error_page(request, error)
    return _page(request, "upload.html", origin=origin)


@router.endpoint("GET", "/download/{file_id}", answers=_html(200, 404, 410, 503))
async def get_landing_page(request: Request, file_id: str) -> Response:
    """A page about one file, with the link that downloads it. Never counts as a download."""
    try:
        found, origin = await in_thread(request.app.state.threads, lambda: _find(request, file_id))
    except ShareError as error:
        return _error_page(request, error)
    return _landing(request, found.record, origin)


@router.endpoint(
    "POST",
    "/download/{file_id}",
    status=HTTPStatus.SEE_OTHER,
    answers={
        303: {"description": "To the download, with a cookie that stands for the password for a minute."},
        **_html(401, 404, 410, 429, 503),
    },
    errors=(415,),
    body=content("application/x-www-form-urlencoded", _FORM),
)
async def enter_password(request: Request, file_id: str) -> Response:
    """Take the form field `password`; the right one is answered with a cookie, good for a minute, and the download."""
    password = _password(await _form(request))
    try:
        found, origin = await in_thread(request.app.state.threads, lambda: _find(request, file_id))
        cookie = await in_thread(request.app.state.threads, lambda: _pass(request, found, password))
    except WrongPassword:
        return _landing(request, found.record, origin, wrong_password=True)
    except ShareError as error:
        return _error_page(request, error)
    path = f"{_prefix(request)}/file/download/{file_id}"
    response = Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": path, **_headers()})
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


@router.endpoint(
    "GET",
    "/download/{file_id:file_id}/qr.svg",
    answers={200: {"description": "The image.", "content": {"image/svg+xml": {}}}},
    errors=(404,),
)
async def get_qr_code(request: Request, file_id: str) -> Response:
    """The address of a file's page as a QR code. Whether there is such a file is not looked up."""
    image = await in_thread(request.app.state.threads, lambda: _drawn(download_page(request, file_id)))
    headers = {**_headers(), "Cache-Control": "private, max-age=3600"}
    return Response(image, headers=headers, media_type="image/svg+xml")


def _drawn(address: str) -> bytes:
    """The QR code of an address as an SVG image; takes tens of milliseconds."""
    import segno

    image = io.BytesIO()
    segno.make(address, micro=False, error="m").save(
        image, kind="svg", scale=8, border=4, dark="#000", light="#fff", title="QR code of a download page"
    )
    return image.getvalue()


@router.endpoint(
    "GET",
    "/static/{name}",
    answers={
        200: {"description": "The file.", "content": {"text/css": {}, "text/javascript": {}}},
        304: {"description": "The browser has it already."},
    },
    errors=(404,),
)
async def get_static_file(request: Request, name: str) -> Response:
    """A style sheet, script or image of the pages."""
    if name not in STATIC:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    asset = _asset(name)
    # Under the address that the pages use, which names the content, it can never change.
    current = request.query_params.get("v") == asset.version
    headers = {
        **_headers(),
        "ETag": asset.etag,
        "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
        "Content-Type": STATIC[name],
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {asset.etag, "*"}:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(asset.content, headers=headers)


def _find(request: Request, file_id: str) -> tuple[Stored, str | None]:
    """A file that can be downloaded, and `storage_origin`. Raises what `Shares.find` raises, and `UsedUp`."""
    shares = shares_of(request)
    found = shares.find(file_id)
    if found.record.is_used_up:
        raise UsedUp(file_id)
    return found, storage_origin(shares)


def _pass(request: Request, found: Stored, password: str) -> str | None:
    """The cookie's value, None for a file without a password. Raises what `Shares.authorise` raises."""
    shares = shares_of(request)
    shares.authorise(found, password)
    password_hash = found.record.password_hash
    return None if password_hash is None else shares.signing.password_pass(found.record.file_id, password_hash)


async def _form(request: Request) -> bytes:
    """The body of a form, as browsers send it by default. Raises `HTTPException` 413 and 415."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/x-www-form-urlencoded.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, f"The body is larger than {MAX_FORM_BYTES} bytes.")
    return body


def _password(body: bytes) -> str:
    """The field `password`; empty, and so never right, unless it was sent exactly once."""
    try:
        values = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=16).get("password", [])
    except ValueError:
        return ""
    return values[0] if len(values) == 1 else ""


def _landing(request: Request, record: Record, origin: str | None, wrong_password: bool = False) -> Response:
    left = record.downloads_left
    return _page(
        request,
        "landing.html",
        HTTPStatus.UNAUTHORIZED if wrong_password else HTTPStatus.OK,
        # A 401 has to name a scheme (RFC 9110 §15.5.2), and Basic would have the browser ask in a window of its own.
        {"WWW-Authenticate": 'Form realm="shared file"'} if wrong_password else {},
        origin=origin,
        file=record,
        size=_size(record.file_size),
        left=left,
        expires=_moment(record.expires_at),
        address=download_page(request, record.file_id),
        wrong_password=wrong_password,
    )


def _error_page(request: Request, error: ShareError) -> Response:
    answer = from_error(error)
    title, detail = _WORDS.get(type(error), _UNEXPECTED)
    kept = {name: value for name, value in answer.headers.items() if name == "retry-after"}
    gone = isinstance(error, UnknownFile | Expired | UsedUp)
    return _page(request, "error.html", answer.status_code, kept, title=title, detail=detail, gone=gone)


def _page(
    request: Request,
    template: str,
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
    origin: str | None = None,
    **values: Any,
) -> Response:
    prefix = _prefix(request)

    def static(name: str) -> str:
        return f"{prefix}/static/{name}?v={_asset(name).version}"

    content = _templates().get_template(template).render(prefix=prefix, static=static, **values)
    return Response(content, status, {**_headers(origin), **(headers or {})}, media_type="text/html")


def _headers(origin: str | None = None) -> dict[str, str]:
    """Headers of all answers. `origin` is where large files are sent and fetched, if not here."""
    own = "'self'" if origin is None else f"'self' {origin}"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": own,
        "img-src": "'self' data:",
        # Browsers hold the redirects that a form leads to against this, too.
        "form-action": own,
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        # With "no-referrer" the form would be sent with "Origin: null", and refused as another site's.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _prefix(request: Request) -> str:
    """The path that everything is under from where the browser stands; usually empty."""
    return urlsplit(base_url(request)).path


def _size(count: int) -> str:
    """A number of bytes in decimal units, as browsers and file managers show it."""
    if count == 1:
        return "1 byte"
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    number = f"{value:.0f}" if value >= 99.95 else f"{value:.1f}".removesuffix(".0")
    return f"{number} {unit}"


def _moment(moment: datetime | None) -> dict[str, str] | None:
    """A time for programs and for people, in UTC."""
    stamp = rfc3339(moment)
    if moment is None or stamp is None:
        return None
    return {"stamp": stamp, "text": f"{moment.day} {moment:%B %Y, %H:%M} UTC"}


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    version: str

    @property
    def etag(self) -> str:
        return f'"{self.version}"'


@functools.cache
def _asset(name: str) -> _Asset:
    content = (PAGES / name).read_bytes()
    return _Asset(content, hashlib.sha256(content).hexdigest()[:16])


@functools.cache
def _templates() -> jinja2.Environment:
    # Only here, since the other functions start faster without it.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )


handler = HttpHandler(__name__, router)
