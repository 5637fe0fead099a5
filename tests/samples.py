"""One sample request for each operation, for every way of running."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.gateway import Invocation, Router, admit
from local.payloads import Request
from tests.gateway import DOMAIN, routes

EVENTS = Path(__file__).parent.parent / "events"
TOKEN = "example-token"
# The file in the sample requests.
FILE_ID = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
FILE = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"
UPLOAD_ID = "VXBsb2FkSWRPZkFuRXhhbXBsZQ"

_KEY = f"key=raw%2F{FILE_ID}"
_BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
_FORM = (
    (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="report.pdf"\r\n'
        "Content-Type: application/pdf\r\n\r\n"
    ).encode()
    + FILE
    + f"\r\n--{_BOUNDARY}--\r\n".encode()
)
_AUTHORISED = {"authorization": f"Bearer {TOKEN}"}
_JSON = {**_AUTHORISED, "content-type": "application/json"}
_OWN_PAGE = {
    "accept": "text/html",
    "content-type": "application/x-www-form-urlencoded",
    "origin": "https://files.example.com",
    "sec-fetch-site": "same-origin",
}
_FORM_TYPE = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}


def _request(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Request:
    fields = {"host": DOMAIN, "accept": "*/*", "user-agent": "curl/7.88.1", **(headers or {})}
    return Request(method, target, list(fields.items()), body, source_ip="203.0.113.7", id="UXkFjZ8liAEMJgQ=")


# By the name of the function, with a suffix if it has several samples.
REQUESTS: dict[str, Request] = {
    "app": _request("GET", "/file/metadata/?limit=100", _AUTHORISED),
    "change": _request("PATCH", f"/file/{FILE_ID}", _JSON, b'{"expires_in": 86400, "max_downloads": 3}'),
    "delete": _request("DELETE", f"/file/{FILE_ID}", _AUTHORISED),
    "delete_form": _request("POST", f"/file/{FILE_ID}", _OWN_PAGE, b"token=wrong"),
    "direct_upload": _request(
        "POST",
        "/file/s3/multipart",
        _JSON,
        b'{"filename": "film.mov", "type": "video/quicktime", "size": 734003200, "metadata": {"expires_in": 604800}}',
    ),
    "direct_upload_abort": _request("DELETE", f"/file/s3/multipart/{UPLOAD_ID}?{_KEY}", _AUTHORISED),
    "direct_upload_complete": _request(
        "POST",
        f"/file/s3/multipart/{UPLOAD_ID}/complete?{_KEY}",
        _JSON,
        b'{"parts": [{"PartNumber": 1, "ETag": "\\"ae566253288191ce5d879e51dae1d8c3\\""}]}',
    ),
    "direct_upload_params": _request(
        "GET", "/file/s3/params?filename=empty.txt&type=text%2Fplain&metadata%5Bexpires_in%5D=604800", _AUTHORISED
    ),
    "direct_upload_part": _request(
        "PUT", f"/file/s3/multipart/{UPLOAD_ID}/1?{_KEY}", {"content-type": "application/octet-stream"}, b"part"
    ),
    "direct_upload_part_url": _request("GET", f"/file/s3/multipart/{UPLOAD_ID}/1?{_KEY}", _AUTHORISED),
    "direct_upload_parts": _request("GET", f"/file/s3/multipart/{UPLOAD_ID}?{_KEY}", _AUTHORISED),
    "download": _request("GET", f"/file/download/{FILE_ID}"),
    "download_named": _request("GET", f"/file/download/{FILE_ID}/report.pdf"),
    "entries": _request("GET", f"/file/entries/{FILE_ID}"),
    "get_metadata": _request("GET", f"/file/metadata/{FILE_ID}"),
    "health": _request("GET", "/health"),
    "inbox": _request("POST", "/inbox", _JSON, b'{"title": "Photos of the trip", "max_files": 20}'),
    "inbox_change": _request("PATCH", f"/inbox/{FILE_ID}", _JSON, b'{"max_files": 50}'),
    "inbox_close": _request("DELETE", f"/inbox/{FILE_ID}", _AUTHORISED),
    "inbox_show": _request("GET", f"/inbox/{FILE_ID}"),
    "list_metadata": _request("GET", "/file/metadata?limit=100", _AUTHORISED),
    "page": _request("GET", f"/download/{FILE_ID}", {"accept": "text/html"}),
    "page_all": _request("GET", "/file", {"accept": "text/html"}),
    "page_file": _request("GET", f"/file/{FILE_ID}?token=x", {"accept": "text/html"}),
    "page_inboxes": _request("GET", "/inbox", {"accept": "text/html"}),
    "page_password": _request("POST", f"/download/{FILE_ID}", _OWN_PAGE, b"password=correct+horse"),
    "page_qr": _request("GET", f"/download/{FILE_ID}/qr.svg", {"accept": "image/*"}),
    "page_qr_inbox": _request("GET", f"/inbox/{FILE_ID}/qr.svg", {"accept": "image/*"}),
    "page_static": _request("GET", "/static/0/tokens.css", {"accept": "text/css"}),
    "page_upload": _request("GET", "/", {"accept": "text/html"}),
    "upload": _request("POST", "/file/upload", {**_AUTHORISED, **_FORM_TYPE}, _FORM),
    "upload_inbox": _request("PUT", f"/inbox/{FILE_ID}/report.pdf?sender=Ada", {}, FILE),
    "upload_inbox_unnamed": _request("PUT", f"/inbox/{FILE_ID}", {}, FILE),
    "upload_put": _request(
        "PUT",
        "/file/upload/report%202.pdf?expires_in=3600&max_downloads=1",
        {**_AUTHORISED, "accept": "text/plain", "content-type": "application/pdf"},
        FILE,
    ),
    "upload_query": _request(
        "PUT",
        "/file/upload?filename=100%25+really%3F.txt&content_type=text%2Fplain",
        {**_AUTHORISED, "accept": "text/plain", "content-type": "application/octet-stream"},
        FILE,
    ),
    "upload_refused": _request("POST", "/file/upload", {**_FORM_TYPE, "authorization": "Bearer wrong-token"}, _FORM),
}

# The status of each answer, once the sample file exists.
STATUSES = {
    "upload": 201,
    "upload_put": 201,
    "upload_query": 201,
    "upload_refused": 401,
    "page_all": 200,
    "page_file": 200,
    "delete_form": 403,
    "direct_upload": 200,
    "direct_upload_params": 200,
    # Its upload was never started.
    "direct_upload_parts": 404,
    "direct_upload_part_url": 404,
    "direct_upload_part": 404,
    "direct_upload_complete": 404,
    "direct_upload_abort": 404,
    # Its inbox does not exist.
    "inbox_change": 404,
    "inbox_close": 404,
    "inbox_show": 404,
    "upload_inbox": 404,
    "upload_inbox_unnamed": 422,
    "inbox": 201,
    "download": 200,
    "download_named": 200,
    # Its file is not an archive.
    "entries": 415,
    "list_metadata": 200,
    "get_metadata": 200,
    "change": 200,
    "delete": 204,
    "health": 200,
    "page": 200,
    "page_upload": 200,
    "page_password": 303,
    "page_inboxes": 200,
    "page_qr": 200,
    "page_qr_inbox": 200,
    "page_static": 200,
    "app": 200,
}


def admitted(name: str) -> Invocation:
    """The gateway's event for a sample request."""
    invocation = admit(REQUESTS[name], Router(routes()), DOMAIN)
    assert isinstance(invocation, Invocation)
    return invocation


def recorded(name: str) -> dict[str, Any]:
    """A sample event from a file."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(admitted(name).event) if name in REQUESTS else recorded(name)
    return event
