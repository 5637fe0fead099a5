"""POST /file/upload, PUT /file/upload, /{filename} and /inbox/{inbox_id}/{filename}: store a file."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from shared import metrics
from shared.errors import FileTooLarge, NotAuthorised
from shared.http import options
from shared.http.access import SENDER
from shared.http.async_shares import files_of
from shared.http.browsers import PAGES, is_navigation
from shared.http.endpoint import Endpoints, content
from shared.http.forms import MAX_OVERHEAD_BYTES, receive_form
from shared.http.handler import HttpHandler
from shared.http.headers import body_media_type, content_length, media_type
from shared.http.models import (
    Cap,
    Lifetime,
    Password,
    Receipt,
    SentEncryption,
    UploadedFile,
    base_url,
    schema_of,
    uploaded,
)
from shared.http.senders import Destination, can_upload, delivery, require_no_options
from shared.http.streams import Incoming
from shared.ids_ahead import SMALL
from shared.inbox_options import MAX_SENDER
from shared.names import clean_name, plain_name
from shared.options import Options
from shared.places import Delivery
from shared.sharing import FILE_ID, Record, Shares
from shared.uploads import Upload

router = Endpoints("Files")


_OPTIONS: dict[str, Any] = {
    "expires_in": {**schema_of(Lifetime), "description": "Seconds until the file expires."},
    "max_downloads": {**schema_of(Cap), "description": "Download limit."},
}
_PASSWORD = {**schema_of(Password), "description": "Required to download."}
_INBOX: dict[str, Any] = {
    "inbox": {
        "type": "string",
        "pattern": f"^{FILE_ID.pattern}$",
        "description": "ID of the inbox for the file. No token is required then.",
    },
    "sender": {"type": "string", "maxLength": MAX_SENDER, "description": "Your name, for the owner of the inbox."},
}
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        **_INBOX,
        **_OPTIONS,
        "password": _PASSWORD,
        "encryption": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": schema_of(SentEncryption),
            "description": "For a file that you encrypted.",
        },
        "sha256": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$", "description": "Verified if sent."},
    },
}
_INBOX_IN_PATH = {"name": "inbox_id", "in": "path", "required": True, "schema": _INBOX["inbox"]}
_FILENAME = {"name": "filename", "required": True, "schema": {"type": "string", "minLength": 1}}
_PUT_PARAMETERS = [
    {
        "name": "content_type",
        "in": "query",
        "schema": {"type": "string"},
        "description": "Media type of the file. Default: the type of the body.",
    },
    *({"name": name, "in": "query", "schema": schema} for name, schema in {**_OPTIONS, **_INBOX}.items()),
    *(
        {"name": name, "in": "header", "schema": schema}
        for name, schema in (
            ("Max-Days", {"type": "integer", "minimum": 1, "maximum": options.MAX_DAYS}),
            ("Max-Downloads", _OPTIONS["max_downloads"]),
            ("X-Password", _PASSWORD),
            ("Repr-Digest", {"type": "string", "pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$"}),
        )
    ),
]
_DECLARED: dict[str, Any] = {
    "access": SENDER,
    "status": HTTPStatus.CREATED,
    "answer": UploadedFile | Receipt,
    "answers": {
        201: {
            "description": "Stored. `Accept: text/plain` gets just the link; a form in a browser gets a page.",
            "content": {"text/plain": {}, "text/html": {}},
        }
    },
    "errors": (404, 410, 415, 422, 429, 507),
}
_PUT: dict[str, Any] = {
    "body": content("application/octet-stream", {"type": "string", "format": "binary"}),
    **_DECLARED,
}


@router.endpoint("POST", "/file/upload", body=content("multipart/form-data", _FORM), **_DECLARED)
async def upload_form(request: Request) -> Response:
    """Upload a file in the form field `file`. The other fields can come before or after it, but `inbox` and `sender`
    only before it.

    You can also send options in the query and headers, as with PUT. The file is stored as it arrives. Once you have the
    answer, the file survives a crash.
    """
    destination = Destination(request, await can_upload(request))
    shares = files_of(request).shares
    # The form is a little longer than its file.
    size = content_length(request.headers)
    least, most = max(0, size - MAX_OVERHEAD_BYTES), size or None
    async with _incoming(request, shares, lambda: destination.delivery, most) as incoming:
        with destination.required():
            _require_acceptable(request, shares.max_file_size + MAX_OVERHEAD_BYTES, shares.max_file_size)
            # Refuse wrong options in the head before the body arrives.
            head = options.in_head(request)
            options.parsed(head, shares.lifetimes.limit)
            form = await receive_form(
                request.headers.get("content-type", ""),
                request.stream(),
                incoming.write,
                fields=options.FORM_FIELDS,
                begin=lambda fields: destination.choose(fields, least, most),
            )
        sent_options = options.parsed(head, shares.lifetimes.limit, form.fields)
        destination.check(sent_options, form.fields)
        sha256 = options.form_sha256(form.fields)
        name, kind = options.public_name(sent_options, form.file_name, media_type(form.content_type))
        return await _created(
            request, incoming, sent_options, lambda upload: upload.finish(name, kind, sent_options, sha256)
        )


_IN_QUERY = [{**_FILENAME, "in": "query"}, *_PUT_PARAMETERS]
_IN_PATH = [{**_FILENAME, "in": "path"}, *_PUT_PARAMETERS]


@router.endpoint("PUT", "/file/upload", parameters=_IN_QUERY, **_PUT)
@router.endpoint("PUT", "/file/upload/{filename:rest}", name="upload_file_as", parameters=_IN_PATH, **_PUT)
@router.endpoint(
    "PUT", "/{filename:root_name}", name="upload_file_at_root", parameters=_IN_PATH, exclusive=True, **_PUT
)
@router.endpoint(
    "PUT",
    "/inbox/{inbox_id:file_id}",
    name="upload_file_to_inbox",
    tag="Inboxes",
    parameters=[_INBOX_IN_PATH, *_IN_QUERY],
    **_PUT,
)
@router.endpoint(
    "PUT",
    "/inbox/{inbox_id:file_id}/{filename:rest}",
    name="upload_file_to_inbox_as",
    tag="Inboxes",
    parameters=[_INBOX_IN_PATH, *_IN_PATH],
    **_PUT,
)
async def upload_file(request: Request) -> Response:
    """Upload a file as the request's body. Put its name at the end of the path, as `curl -T` does, or in the query.

    Proxies and gateways can rewrite names in the path, but not in the query. `content_type` in the query overrides the
    type of the body.
    """
    if not await can_upload(request):
        raise NotAuthorised
    shares = files_of(request).shares
    in_path = request.path_params.get("filename", "").removesuffix("/") or None
    name = clean_name(options.only("filename", in_path, *request.query_params.getlist("filename")) or "")
    in_query = options.only("content_type", *request.query_params.getlist("content_type"))
    sent_options = options.parsed(options.in_head(request), shares.lifetimes.limit)
    sha256 = options.announced_sha256(request)
    _require_acceptable(request, shares.max_file_size, shares.max_file_size)
    size = content_length(request.headers)
    most = size if "content-length" in request.headers else None
    into = delivery(request, least=size, most=most)
    async with _incoming(request, shares, lambda: into, most) as incoming:
        if into is not None:
            require_no_options(sent_options)
        if into is not None and (most is None or most > SMALL):
            # Reserve a place before the body arrives.
            await incoming.begin()
        async for chunk in request.stream():
            await incoming.write(chunk)
        sent = request.headers.get("content-type")
        kind = body_media_type(sent, name) if in_query is None else media_type(in_query)
        return await _created(
            request, incoming, sent_options, lambda upload: upload.finish(name, kind, sent_options, sha256)
        )


@router.endpoint("PUT", "/{name:own_segment}", exclusive=True, documented=False)
async def refuse_name(_request: Request, name: str) -> Response:
    """Refuse to store a file at the root if another route begins with its name."""
    raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)


def _incoming(
    request: Request, shares: Shares, into: Callable[[], Delivery | None], most: int | None
) -> Incoming[Upload]:
    return Incoming(lambda: Upload(shares, into(), most), request.app.state.threads, request.app.state.short)


def _require_acceptable(request: Request, longest_body: int, max_file_size: int) -> None:
    """Check the request's head before the client sends its body."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not have a Content-Encoding.")
    if content_length(request.headers) > longest_body:
        raise FileTooLarge(max_file_size)


async def _created(
    request: Request, incoming: Incoming[Upload], sent: Options, finish: Callable[[Upload], Record]
) -> Response:
    """Finish an upload, and answer its sender."""
    shares = files_of(request).shares
    # Hashing a password takes long.
    computes = sent.password is not None
    body = await incoming.finish(finish, lambda record: uploaded(request, shares, record), computes=computes)
    metrics.add("Uploads")
    metrics.add("UploadedBytes", body["file_size"])
    delete_link = f"{base_url(request)}/file/{body['file_id']}?token={body['delete_token']}"
    headers = {"X-Url-Delete": delete_link}
    # The sender of a file in an inbox can delete it, and do nothing else with it.
    is_receipt = "download_link" not in body
    if not is_receipt:
        headers["Location"] = body["download_link"]
    if _wants_text(request):
        link = delete_link if is_receipt else f"{body['download_link']}/{quote(plain_name(body['original_name']))}"
        return PlainTextResponse(f"{link}\n", HTTPStatus.CREATED, headers)
    if is_navigation(request.scope):
        page = "received.html" if is_receipt else "uploaded.html"
        return PAGES.render(request, page, HTTPStatus.CREATED, headers, file=body)
    return Response(msgspec.json.encode(body), HTTPStatus.CREATED, headers, "application/json")


def _wants_text(request: Request) -> bool:
    accepted = {item.partition(";")[0].strip().lower() for item in request.headers.get("accept", "").split(",")}
    return "text/plain" in accepted and "application/json" not in accepted


handler = HttpHandler(__name__, router)
