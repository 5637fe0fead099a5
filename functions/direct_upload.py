"""/file/s3/…: files of any size, sent in parts straight to storage.

The routes and their JSON are those of the Companion server that Uppy's S3 plugin expects (`@uppy/aws-s3` 6 with
`companionEndpoint` set to our `/file`), so that Uppy only needs configuration.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from shared import metrics
from shared.direct_uploads import MAX_PARTS, PART_URL_LIFETIME, DirectUploads, file_id_of, raw_key
from shared.errors import FileTooLarge, InvalidValue, NotAuthorised, UnknownFile
from shared.http import options
from shared.http.access import SENDER
from shared.http.async_shares import files_of
from shared.http.bodies import read_json, validated
from shared.http.endpoint import Endpoints, content
from shared.http.handler import HttpHandler
from shared.http.headers import content_length, media_type
from shared.http.models import (
    EXAMPLE_ID,
    EXAMPLE_KEY,
    Cap,
    CompletedReceipt,
    CompletedUpload,
    Lifetime,
    SentOptions,
    base_url,
    inbox_page,
    schema_of,
    uploaded,
)
from shared.http.senders import Destination, can_upload, is_authorised
from shared.http.streams import Incoming
from shared.inbox_options import MAX_SIZE
from shared.names import clean_name
from shared.options import whole_number
from shared.sharing import Shares

router = Endpoints("Large files")

PREFIX = "/file/s3/multipart"
# Enough for 10,000 parts with the longest ETags of S3 servers.
MAX_PARTS_BYTES = 2 * 1024 * 1024

_PART_NUMBER: dict[str, Any] = {
    "name": "part_number",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PARTS},
}
_KEY: dict[str, Any] = {
    "name": "key",
    "in": "query",
    "required": True,
    "description": "The `key` from the answer to the start of the upload.",
    "schema": {"type": "string", "examples": [EXAMPLE_KEY]},
}
_SIZE: dict[str, Any] = {
    "name": "size",
    "in": "query",
    "description": "Bytes of this part, for an upload into an inbox that began without a `size`.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_SIZE},
}
# Of requests that continue an upload.
_CONTINUING: dict[str, Any] = {"access": SENDER, "parameters": [_KEY]}


class StartUpload(BaseModel):
    """The file to upload."""

    filename: str = Field(min_length=1)
    type: str | None = Field(default=None, description="Media type.")
    size: int | None = Field(default=None, ge=0, description="Size of the whole file in bytes.")
    metadata: SentOptions | None = None


class NamedPart(BaseModel):
    """An uploaded part: its number, and the `ETag` from the answer to it."""

    PartNumber: int
    ETag: str


class CompleteUpload(BaseModel):
    """All parts of the file, in order."""

    parts: list[NamedPart] = Field(min_length=1, max_length=MAX_PARTS)


class StartedUpload(BaseModel):
    """An upload that is ready for its parts. Anyone who knows its `uploadId` can continue it."""

    key: str = Field(examples=[EXAMPLE_KEY])
    uploadId: str  # noqa: N815
    file_id: str = Field(examples=[EXAMPLE_ID])
    part_size: int | None = Field(
        default=None,
        description="Present if you upload into an inbox whose parts go to S3: "
        "the size in bytes that every part but the last must have.",
    )


class StoredPart(BaseModel):
    """A stored part."""

    PartNumber: int = Field(ge=1, le=MAX_PARTS)
    Size: int = Field(description="Size in bytes.")
    ETag: str


class PartUrl(BaseModel):
    """The URL to PUT a part to, without a token. Keep the `ETag` of the answer: you need it to complete the upload."""

    url: str
    expires: int = Field(description="Seconds until the URL expires.")


class FormParameters(BaseModel):
    """A form that sends the file instead."""

    method: str = Field(examples=["POST"])
    url: str
    fields: dict[str, str]


@router.endpoint(
    "POST", PREFIX, access=SENDER, answer=StartedUpload, errors=(404, 410, 415, 422, 429, 507), body=StartUpload
)
async def start_upload(request: Request) -> JSONResponse:
    """Start an upload in parts. Put its options into `metadata`, or into the query and headers as with PUT.

    `size` is verified when you complete the upload. Complete it within a week, or it is removed.
    """
    files = files_of(request)
    destination = Destination(request, await can_upload(request))
    with destination.required():
        body = await read_json(request, StartUpload)
        metadata = body.metadata or SentOptions()
        fields = metadata.model_dump(include={"inbox", "sender"}, exclude_none=True)
        destination.choose(fields, body.size or 0, body.size)
    sent_options = options.from_metadata(request, files.shares.lifetimes.limit, metadata)
    name, kind = options.public_name(sent_options, clean_name(body.filename), media_type(body.type or ""))
    destination.check(sent_options, fields)
    uploads = DirectUploads(files.shares)
    record = await files.run(lambda _: uploads.start(name, kind, sent_options, body.size, destination.delivery))
    answer = {"key": raw_key(record.file_id), "uploadId": record.upload_id, "file_id": record.file_id}
    part_size = uploads.part_size(record)
    return JSONResponse(answer if part_size is None else {**answer, "part_size": part_size})


@router.endpoint("GET", PREFIX + "/{upload_id}", answer=list[StoredPart], errors=(404, 422), **_CONTINUING)
async def list_parts(request: Request, upload_id: str) -> JSONResponse:
    """List the stored parts by number, for example to resume an interrupted upload."""
    uploads, file_id = await _continue(request, upload_id)
    parts = await files_of(request).run(lambda _: uploads.parts(file_id, upload_id), file_id)
    return JSONResponse([{"PartNumber": part.number, "Size": part.size, "ETag": f'"{part.etag}"'} for part in parts])


@router.endpoint(
    "GET",
    PREFIX + "/{upload_id}/{part_number}",
    access=SENDER,
    parameters=[_PART_NUMBER, _KEY, _SIZE],
    answer=PartUrl,
    errors=(404, 410, 413, 422),
)
async def get_part_url(request: Request, upload_id: str, part_number: str) -> JSONResponse:
    """Get the URL to send a part to. All parts except the last must have at least 5 MiB."""
    uploads, file_id = await _continue(request, upload_id)
    number = whole_number("part_number", part_number, MAX_PARTS)
    size = options.only("size", *request.query_params.getlist("size"))
    length = None if size is None else whole_number("size", size, MAX_SIZE)
    url = await files_of(request).run(lambda _: uploads.part_url(file_id, upload_id, number, length), file_id)
    own_url = f"{base_url(request)}{PREFIX}/{quote(upload_id, safe='')}/{number}?key={raw_key(file_id)}"
    return JSONResponse({"url": url or own_url, "expires": PART_URL_LIFETIME})


# No token: as with a signed URL, the upload ID in it is the permission.
@router.endpoint(
    "PUT",
    PREFIX + "/{upload_id}/{part_number}",
    parameters=[_PART_NUMBER, _KEY],
    answers={200: {"description": "The part is stored.", "headers": {"ETag": {"schema": {"type": "string"}}}}},
    errors=(404, 410, 422, 507),
    body=content("application/octet-stream", {"type": "string", "format": "binary"}),
)
async def upload_part(request: Request, upload_id: str, part_number: str) -> Response:
    """Store a part, if storage is a directory. It replaces an earlier part with the same number."""
    files, file_id = files_of(request), _file_id(_key(request))
    uploads, threads = DirectUploads(files.shares), files.threads_of(file_id)
    number = whole_number("part_number", part_number, MAX_PARTS)
    size = content_length(request.headers)
    if size > uploads.max_file_size:
        raise FileTooLarge(uploads.max_file_size)
    async with Incoming(lambda: uploads.begin_part(file_id, upload_id, number, size), threads, threads) as incoming:
        # The upload ID is the only credential here, so check it before holding data for the client.
        await incoming.begin()
        async for chunk in request.stream():
            await incoming.write(chunk)
        etag = await incoming.finish(lambda upload: upload.finish(), lambda part: part.etag)
    return Response(headers={"ETag": f'"{etag}"'})


@router.endpoint(
    "POST",
    PREFIX + "/{upload_id}/complete",
    answer=CompletedUpload | CompletedReceipt,
    errors=(404, 410, 415, 422, 507),
    body=CompleteUpload,
    **_CONTINUING,
)
async def complete_upload(request: Request, upload_id: str) -> JSONResponse:
    """Complete an upload from these parts, in order. If you repeat the request, you get the same answer."""
    uploads, file_id = await _continue(request, upload_id)
    body = await read_json(request, CompleteUpload, MAX_PARTS_BYTES)
    parts = [(part.PartNumber, part.ETag.strip('"')) for part in body.parts]

    def work(shares: Shares) -> tuple[dict[str, Any], bool, bool]:
        record, first = uploads.complete(file_id, upload_id, parts)
        return uploaded(request, shares, record), first, record.sealed

    answer, first, sealed = await files_of(request).run(work, file_id)
    if not sealed:
        request.app.state.seal(file_id)
    if first:
        metrics.add("Uploads")
        metrics.add("UploadedBytes", answer["file_size"])
    location = answer["download_link"] if "download_link" in answer else inbox_page(request, answer["inbox_id"])
    return JSONResponse({**answer, "location": location, "key": raw_key(file_id)})


@router.endpoint("DELETE", PREFIX + "/{upload_id}", answer=dict[str, str], errors=(404, 422, 507), **_CONTINUING)
async def abort_upload(request: Request, upload_id: str) -> JSONResponse:
    """Cancel an upload and remove its parts."""
    uploads, file_id = await _continue(request, upload_id)
    await files_of(request).run(lambda _: uploads.abort(file_id, upload_id), file_id)
    return JSONResponse({})


_FORM_PARAMETERS: list[dict[str, Any]] = [
    {"name": "filename", "in": "query", "required": True, "schema": {"type": "string", "minLength": 1}},
    {"name": "type", "in": "query", "schema": {"type": "string"}},
    {"name": "metadata[expires_in]", "in": "query", "schema": schema_of(Lifetime)},
    {"name": "metadata[max_downloads]", "in": "query", "schema": schema_of(Cap)},
]


@router.endpoint(
    "GET", "/file/s3/params", access=SENDER, answer=FormParameters, errors=(422,), parameters=_FORM_PARAMETERS
)
async def get_form_parameters(request: Request) -> JSONResponse:
    """Get the form for sending a file. Uppy requests it for empty files, which have no parts."""
    # Uppy sends the words for a field without a value.
    texts = {name: request.query_params.get(f"metadata[{name}]", "") for name in SentOptions.model_fields}
    fields = {name: text for name, text in texts.items() if text not in ("", "null", "undefined")}
    if "inbox" not in fields and not await is_authorised(request):
        raise NotAuthorised
    for name in fields.keys() & {"password", "encryption"}:
        raise InvalidValue(name, "must not be sent in a URL")
    sent = validated(StartUpload, {"filename": request.query_params.get("filename", ""), "metadata": fields})
    options.from_metadata(request, files_of(request).shares.lifetimes.limit, sent.metadata or SentOptions())
    fields = {"key": clean_name(sent.filename), **fields}
    return JSONResponse({"method": "POST", "url": f"{base_url(request)}/file/upload", "fields": fields})


async def _continue(request: Request, upload_id: str) -> tuple[DirectUploads, str]:
    """The uploads and the ID of this one's file, for a client that can continue it.

    Raises `InvalidValue`, `NotAuthorised`, `UnknownFile` and `StorageUnavailable`.
    """
    key = _key(request)
    uploads = DirectUploads(files_of(request).shares)
    if not await is_authorised(request):
        await files_of(request).run(lambda _: uploads.require_inbox(file_id_of(key), upload_id), file_id_of(key))
    return uploads, _file_id(key)


def _key(request: Request) -> str:
    key = options.only("key", *request.query_params.getlist("key"))
    if key is None:
        raise InvalidValue("key", "is required")
    return key


def _file_id(key: str) -> str:
    file_id = file_id_of(key)
    if key != raw_key(file_id):
        raise UnknownFile(file_id)
    return file_id


handler = HttpHandler(__name__, router)
