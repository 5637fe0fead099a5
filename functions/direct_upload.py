"""/file/s3/…: files of any size, sent in parts straight to storage.

The routes, and the JSON they speak, are those that Uppy's S3 plugin expects of its Companion server (`@uppy/aws-s3` 6,
`companionEndpoint` set to our `/file`), so that it works with nothing but configuration.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from shared import bootstrap, metrics
from shared.direct_uploads import MAX_PARTS, PART_URL_LIFETIME, DirectUploads
from shared.errors import FileTooLarge, InvalidValue, UnknownFile
from shared.http import options
from shared.http.app import shares_of
from shared.http.handler import HttpHandler
from shared.http.headers import content_length, media_type
from shared.http.layers.guard import TOKEN, GuardedRoute
from shared.http.models import EXAMPLE_ID, UploadedFile, base_url, problems, uploaded
from shared.http.routing import add_endpoint, tagged_router
from shared.http.streams import Incoming, in_thread
from shared.names import clean_name
from shared.options import MAX_DOWNLOADS_LIMIT, MAX_EXPIRES_IN, MAX_PASSWORD_LENGTH, whole_number

router = tagged_router("Large files")

PREFIX = "/file/s3/multipart"
KEY_PREFIX = "raw/"
# 10,000 parts, each with the longest etag that S3 servers make.
MAX_PARTS_BYTES = 2 * 1024 * 1024

EXAMPLE_KEY = KEY_PREFIX + EXAMPLE_ID
# Read by hand, since pydantic takes more for a number than digits.
PartNumber = Annotated[str, Path(json_schema_extra={"type": "integer", "minimum": 1, "maximum": MAX_PARTS})]
KEY = Query(description="The `key` that the upload was begun with.", examples=[EXAMPLE_KEY])


class StartedUpload(BaseModel):
    """An upload that parts can be sent to. Whoever knows its ID can go on with it."""

    key: str = Field(examples=[EXAMPLE_KEY])
    uploadId: str  # noqa: N815
    file_id: str = Field(examples=[EXAMPLE_ID])


class StoredPart(BaseModel):
    """A part that is stored."""

    PartNumber: int = Field(ge=1, le=MAX_PARTS)
    Size: int = Field(description="Bytes.")
    ETag: str


class PartUrl(BaseModel):
    """Where a part is to be sent by PUT, without a token. The answer's `ETag` is needed to complete the upload."""

    url: str
    expires: int = Field(description="Seconds for which the address is good.")


class CompletedUpload(UploadedFile):
    """A file that was uploaded in parts."""

    location: str = Field(description="The download link, as Uppy calls it.")
    key: str = Field(examples=[EXAMPLE_KEY])


class FormParameters(BaseModel):
    """How a file is to be sent by form instead."""

    method: str = Field(examples=["POST"])
    url: str
    fields: dict[str, str]


async def start(request: Request) -> JSONResponse:
    """Begin an upload in parts; the options of an upload go into `metadata`, or into headers and the query as of PUT.

    `size` says what all parts will have together; it is verified in the end. The upload is to be complete in a week.
    """
    shares = shares_of(request)
    body = await options.read_json(request, options.MAX_JSON_BYTES)
    name = clean_name(_text(body, "filename"))
    kind = media_type(_text(body, "type", default=""))
    size = body.get("size")
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidValue("size", "must be a whole number of bytes")
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise InvalidValue("metadata", "must be an object")
    chosen = options.from_metadata(request, shares.lifetimes.limit, metadata)
    record = await in_thread(request.app.state.threads, lambda: DirectUploads(shares).start(name, kind, chosen, size))
    return JSONResponse({"key": KEY_PREFIX + record.file_id, "uploadId": record.upload_id, "file_id": record.file_id})


async def list_parts(request: Request, upload_id: str, key: str = KEY) -> JSONResponse:
    """The parts that are stored, by number, so that an upload can go on after a break."""
    uploads, file_id = _uploads(request), _file_id(key)
    parts = await in_thread(request.app.state.threads, lambda: uploads.parts(file_id, upload_id))
    return JSONResponse([{"PartNumber": part.number, "Size": part.size, "ETag": f'"{part.etag}"'} for part in parts])


async def part_url(request: Request, upload_id: str, part_number: PartNumber, key: str = KEY) -> JSONResponse:
    """Where to send a part. All but the last have at least 5 MiB."""
    uploads, file_id, number = _uploads(request), _file_id(key), _number(part_number)
    url = await in_thread(request.app.state.threads, lambda: uploads.part_url(file_id, upload_id, number))
    ours = f"{base_url(request)}{PREFIX}/{quote(upload_id, safe='')}/{number}?key={key}"
    return JSONResponse({"url": url or ours, "expires": PART_URL_LIFETIME})


async def take_part(request: Request, upload_id: str, part_number: PartNumber, key: str = KEY) -> Response:
    """Take a part, where storage is a directory. It replaces an earlier one of its number."""
    uploads, file_id, number = _uploads(request), _file_id(key), _number(part_number)
    size = content_length(request.headers)
    if size > uploads.max_file_size:
        raise FileTooLarge(uploads.max_file_size)
    threads = request.app.state.threads
    async with Incoming(lambda: uploads.begin_part(file_id, upload_id, number, size), threads) as incoming:
        # The upload's ID is all that allows it, so nothing is held for those who do not know one.
        await incoming.begin()
        async for chunk in request.stream():
            await incoming.write(chunk)
        etag = await incoming.finish(lambda upload: upload.finish(), lambda part: part.etag)
    return Response(headers={"ETag": f'"{etag}"'})


async def complete(request: Request, upload_id: str, key: str = KEY) -> JSONResponse:
    """Make a file of the parts named, in order. Sent again, it is answered the same."""
    uploads, file_id, shares = _uploads(request), _file_id(key), shares_of(request)
    parts = _parts(await options.read_json(request, MAX_PARTS_BYTES))

    def work() -> tuple[dict[str, Any], bool, bool]:
        record, first = uploads.complete(file_id, upload_id, parts)
        return uploaded(request, shares, record), first, record.sealed

    body, first, sealed = await in_thread(request.app.state.threads, work)
    if not sealed:
        request.app.state.seal(file_id)
    if first:
        metrics.add("Uploads")
        metrics.add("UploadedBytes", body["file_size"])
    return JSONResponse({**body, "location": body["download_link"], "key": key})


async def abort(request: Request, upload_id: str, key: str = KEY) -> JSONResponse:
    """Give an upload up. Its parts are removed."""
    uploads, file_id = _uploads(request), _file_id(key)
    await in_thread(request.app.state.threads, lambda: uploads.abort(file_id, upload_id))
    return JSONResponse({})


async def form_parameters(request: Request) -> JSONResponse:
    """How a file is to be sent by form, which is what Uppy does with one that is empty, since it has no parts."""
    chosen = {}
    for name in sorted(options.CHANGEABLE):
        given = request.query_params.get(f"metadata[{name}]")
        # What Uppy writes for a field that has no value.
        if given in (None, "null", "undefined"):
            continue
        if name == "password":
            raise InvalidValue(name, "must not be sent in a URL, which ends up in logs")
        chosen[name] = given
    options.from_metadata(request, shares_of(request).lifetimes.limit, chosen)
    fields = {"key": clean_name(request.query_params.get("filename", "")), **chosen}
    return JSONResponse({"method": "POST", "url": f"{base_url(request)}/file/upload", "fields": fields})


def _uploads(request: Request) -> DirectUploads:
    return DirectUploads(shares_of(request))


def _file_id(key: str) -> str:
    if not key.startswith(KEY_PREFIX):
        raise UnknownFile("of another key")
    return key.removeprefix(KEY_PREFIX)


def _number(text: str) -> int:
    return whole_number("part_number", text, MAX_PARTS)


def _text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name)
    if value is None:
        value = default
    if not isinstance(value, str):
        raise InvalidValue(name, "must be text")
    return value


def _parts(body: dict[str, Any]) -> list[tuple[int, str]]:
    named = body.get("parts")
    if not isinstance(named, list) or not 1 <= len(named) <= MAX_PARTS:
        raise InvalidValue("parts", f"must be a list of 1 to {MAX_PARTS} parts")
    parts = []
    for part in named:
        match part:
            case {"PartNumber": int(number), "ETag": str(etag)} if type(number) is int:
                parts.append((number, etag.strip('"')))
            case _:
                raise InvalidValue("parts", "must each have a PartNumber and an ETag")
    return parts


_EXPIRES_IN = {"type": "integer", "minimum": 1, "maximum": MAX_EXPIRES_IN}
_MAX_DOWNLOADS = {"type": "integer", "minimum": 1, "maximum": MAX_DOWNLOADS_LIMIT}
_START = {
    "type": "object",
    "required": ["filename"],
    "properties": {
        "filename": {"type": "string", "minLength": 1},
        "type": {"type": "string", "description": "Media type."},
        "size": {"type": "integer", "minimum": 0, "description": "Bytes."},
        "metadata": {
            "type": "object",
            "properties": {
                "expires_in": {**_EXPIRES_IN, "description": "Seconds, from completion on."},
                "max_downloads": _MAX_DOWNLOADS,
                "password": {"type": "string", "minLength": 1, "maxLength": MAX_PASSWORD_LENGTH},
            },
        },
    },
}
_COMPLETE = {
    "type": "object",
    "required": ["parts"],
    "properties": {
        "parts": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_PARTS,
            "items": {
                "type": "object",
                "required": ["PartNumber", "ETag"],
                "properties": {"PartNumber": {"type": "integer"}, "ETag": {"type": "string"}},
            },
        }
    },
}
_FORM_PARAMETERS = [
    {"name": "filename", "in": "query", "required": True, "schema": {"type": "string", "minLength": 1}},
    {"name": "type", "in": "query", "schema": {"type": "string"}},
    *(
        {"name": f"metadata[{name}]", "in": "query", "schema": schema}
        for name, schema in (("expires_in", _EXPIRES_IN), ("max_downloads", _MAX_DOWNLOADS))
    ),
]
_GUARDED: dict[str, Any] = {"route_class_override": GuardedRoute, "dependencies": TOKEN}


def _body(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


add_endpoint(
    router,
    "POST",
    PREFIX,
    start,
    name="start_upload",
    response_model=StartedUpload,
    responses=problems(400, 401, 403, 413, 415, 422, 429, 503, 507),
    openapi_extra=_body(_START),
    **_GUARDED,
)
add_endpoint(
    router,
    "GET",
    PREFIX + "/{upload_id}",
    list_parts,
    response_model=list[StoredPart],
    responses=problems(401, 404, 422, 503),
    **_GUARDED,
)
add_endpoint(
    router,
    "DELETE",
    PREFIX + "/{upload_id}",
    abort,
    name="abort_upload",
    response_model=dict[str, str],
    responses=problems(401, 403, 404, 422, 503, 507),
    **_GUARDED,
)
add_endpoint(
    router,
    "POST",
    PREFIX + "/{upload_id}/complete",
    complete,
    name="complete_upload",
    response_model=CompletedUpload,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 503, 507),
    openapi_extra=_body(_COMPLETE),
    **_GUARDED,
)
add_endpoint(
    router,
    "GET",
    PREFIX + "/{upload_id}/{part_number}",
    part_url,
    name="get_part_url",
    response_model=PartUrl,
    responses=problems(401, 404, 422, 503),
    **_GUARDED,
)
# No token: the upload's ID is what a signed URL would have in it.
add_endpoint(
    router,
    "PUT",
    PREFIX + "/{upload_id}/{part_number}",
    take_part,
    name="upload_part",
    response_class=Response,
    responses={
        200: {"description": "The part is stored.", "headers": {"ETag": {"schema": {"type": "string"}}}},
        **problems(403, 404, 408, 413, 422, 503, 507),
    },
    openapi_extra=_body({"type": "string", "format": "binary"}, "application/octet-stream"),
)
add_endpoint(
    router,
    "GET",
    "/file/s3/params",
    form_parameters,
    name="get_form_parameters",
    response_model=FormParameters,
    responses=problems(401, 422),
    openapi_extra={"parameters": _FORM_PARAMETERS},
    **_GUARDED,
)

handler = HttpHandler(__name__, router, shares=bootstrap.proven_shares)
