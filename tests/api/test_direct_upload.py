"""Direct uploads: the client sends parts directly to storage. Wrong uploads are refused."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.types import Message, Scope

from functions.app import ROUTERS
from shared.http.app import build_app
from tests.api.client import (
    DIGITS,
    Api,
    Objects,
    WholeApp,
    blob_key,
    is_tombstone,
    problem,
    record_key,
    stored,
)
from tests.environment import service
from tests.servers import ask
from tests.wire.server import until

MIB = 1024 * 1024
FIRST = b"a" * (5 * MIB)
LAST = b"the end"
MULTIPART = "/file/s3/multipart"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


class DirectUpload:
    """One upload in parts, as a client does it."""

    def __init__(self, api: Api, **body: Any) -> None:
        self._api = api
        response = api.request("POST", MULTIPART, JSON, json.dumps({"filename": "big.bin", **body}).encode())
        assert response.status_code == 200, response.text
        self.started: dict[str, Any] = response.json()
        self.key = self.started["key"]
        self.upload_id = self.started["uploadId"]
        self.file_id = self.started["file_id"]

    def ask(self, method: str, path: str = "", body: object = None, **changed: str) -> httpx.Response:
        upload_id, key = changed.get("upload_id", self.upload_id), changed.get("key", self.key)
        content = b"" if body is None else json.dumps(body).encode()
        headers = {} if body is None else JSON
        return self._api.request(
            method, f"{MULTIPART}/{quote(upload_id, safe='')}{path}", headers, content, params={"key": key}
        )

    def send(self, number: int, data: bytes) -> dict[str, Any]:
        """Send a part. Returns its entry for `complete`."""
        response = self.put(self.url(number), data)
        assert response.status_code == 200, response.text
        return {"PartNumber": number, "ETag": response.headers["etag"]}

    def url(self, number: int) -> str:
        response = self.ask("GET", f"/{number}")
        assert response.status_code == 200, response.text
        assert response.json()["expires"] == 3600
        url: str = response.json()["url"]
        return url

    def put(self, url: str, data: bytes) -> httpx.Response:
        if url.startswith(self._api.base):
            return self._api.request("PUT", url, content=data)
        return ask("PUT", url, content=data)

    def parts(self) -> list[dict[str, Any]]:
        response = self.ask("GET")
        assert response.status_code == 200, response.text
        parts: list[dict[str, Any]] = response.json()
        return parts

    def complete(self, parts: Sequence[dict[str, Any]]) -> httpx.Response:
        return self.ask("POST", "/complete", {"parts": list(parts)})


JSON = {"content-type": "application/json"}


def sent(api: Api, *datas: bytes, **body: Any) -> tuple[DirectUpload, list[dict[str, Any]]]:
    upload = DirectUpload(api, **body)
    return upload, [upload.send(number, data) for number, data in enumerate(datas, 1)]


def completed(api: Api, *datas: bytes, **body: Any) -> dict[str, Any]:
    upload, parts = sent(api, *datas, **body)
    response = upload.complete(parts)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def fetched(api: Api, file_id: str) -> bytes:
    """The bytes of a download, following a redirect."""
    response = api.download(file_id)
    if response.status_code == 307:
        response = ask("GET", response.headers["location"])
    assert response.status_code == 200, response.text
    return response.content


def left(api: Api, file_id: str = "") -> list[str]:
    """The stored keys of one file or of all, except the expiry index, tombstones and the signing key."""
    return [key for key in stored(api) if file_id in key and not is_tombstone(api, key)]


def test_parts_become_a_file(api: Api) -> None:
    upload, parts = sent(api, FIRST, LAST, type="video/mp4", size=len(FIRST + LAST))
    assert upload.key == f"raw/{upload.file_id}"
    problem(api.request("GET", f"/file/metadata/{upload.file_id}"), 404)
    problem(api.download(upload.file_id), 404)
    assert api.listing() == {}

    answer = upload.complete(parts).json()
    shown = api.metadata(upload.file_id)
    assert {**shown, "file_id": upload.file_id} == {
        name: value for name, value in answer.items() if name not in ("location", "key", "delete_token")
    }
    assert answer["location"] == answer["download_link"]
    assert answer["key"] == upload.key
    assert shown["original_name"] == "big.bin"
    assert shown["content_type"] == "video/mp4"
    assert shown["file_size"] == len(FIRST + LAST)
    # The server never saw the bytes.
    assert shown["sha256"] is None
    assert fetched(api, upload.file_id) == FIRST + LAST
    assert api.count(upload.file_id) == 1
    assert "repr-digest" not in api.download(upload.file_id, "HEAD").headers

    deleted = api.request("DELETE", f"/file/{upload.file_id}", {"x-delete-token": answer["delete_token"]})
    assert deleted.status_code == 204
    assert left(api, upload.file_id) == []


def test_small_ranges_and_conditions_are_answered_before_the_file_is_sealed(api: Api) -> None:
    file_id = completed(api, FIRST, LAST)["file_id"]
    size = len(FIRST + LAST)
    assert api.download(file_id, range=f"bytes={size - 3}-").content == b"end"
    head = api.download(file_id, "HEAD")
    assert (head.status_code, head.headers["content-length"]) == (200, str(size))
    assert api.download(file_id, if_none_match=head.headers["etag"]).status_code == 304
    assert api.download(file_id, range=f"bytes={size}-").status_code == 416
    assert api.count(file_id) == 0


def test_the_last_part_may_be_the_only_one_and_empty(api: Api) -> None:
    assert fetched(api, completed(api, b"")["file_id"]) == b""
    assert fetched(api, completed(api, DIGITS)["file_id"]) == DIGITS


def test_a_complete_that_is_sent_again_is_answered_the_same(api: Api) -> None:
    upload, parts = sent(api, DIGITS)
    first, second = upload.complete(parts), upload.complete(parts)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    other = upload.complete([{"PartNumber": 7, "ETag": '"of nothing"'}])
    assert other.json() == first.json()
    assert fetched(api, upload.file_id) == DIGITS


def test_options_come_as_uppys_metadata(api: Api) -> None:
    # Uppy sends the metadata that its user entered, with fields of its own (@uppy/aws-s3, `allowedMetaFields`).
    metadata = {"expires_in": "60", "max_downloads": 2, "password": "secret", "name": "x", "relativePath": None}
    answer = completed(api, DIGITS, metadata=metadata)
    assert answer["max_downloads"] == 2
    assert answer["password_protected"] is True
    assert answer["expires_at"] > answer["created_at"]
    assert api.download(answer["file_id"]).status_code == 401


WRONG_METADATA = {
    "too small": ({"expires_in": 0}, "expires_in"),
    "no number": ({"max_downloads": "many"}, "max_downloads"),
    "a boolean": ({"max_downloads": True}, "max_downloads"),
    "a fraction": ({"expires_in": 1.5}, "expires_in"),
    "an empty password": ({"password": ""}, "password"),
    "half a character": ({"password": "\ud800"}, "password"),
}


@pytest.mark.parametrize(("metadata", "field"), WRONG_METADATA.values(), ids=WRONG_METADATA.keys())
def test_a_wrong_option_begins_nothing(api: Api, metadata: dict[str, Any], field: str) -> None:
    body = json.dumps({"filename": "x", "metadata": metadata}).encode()
    members = problem(api.request("POST", MULTIPART, JSON, body), 422)
    assert [error["field"] for error in members["errors"]] == [field]
    assert left(api) == []


WRONG_BODIES = {
    "no JSON": (b"{", 400),
    "no object": (b"[]", 400),
    "no name": (b"{}", 422),
    "no text": (b'{"filename": 1}', 422),
    "an empty name": (b'{"filename": ""}', 422),
    "a size below nothing": (b'{"filename": "x", "size": -1}', 422),
    "a size that is none": (b'{"filename": "x", "size": true}', 422),
    "metadata that is none": (b'{"filename": "x", "metadata": [1]}', 422),
    "too long": (b'{"filename": "' + b"x" * 20_000 + b'"}', 413),
}


@pytest.mark.parametrize(("body", "status"), WRONG_BODIES.values(), ids=WRONG_BODIES.keys())
def test_a_wrong_body_begins_nothing(api: Api, body: bytes, status: int) -> None:
    problem(api.request("POST", MULTIPART, JSON, body), status)
    assert left(api) == []


def test_a_form_cannot_begin_an_upload(api: Api) -> None:
    # Otherwise, any page could make a browser do so without a preflight (Fetch Standard, "CORS-safelisted
    # request-header").
    problem(api.request("POST", MULTIPART, {"content-type": "text/plain"}, b'{"filename": "x"}'), 415)


def test_parts_are_listed_so_that_an_upload_can_go_on(api: Api) -> None:
    upload = DirectUpload(api)
    second = upload.send(2, LAST)
    first = upload.send(1, FIRST)
    listed = upload.parts()
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(1, len(FIRST)), (2, len(LAST))]
    assert [part["ETag"].strip('"') for part in listed] == [part["ETag"].strip('"') for part in (first, second)]
    assert upload.complete(listed).status_code == 200
    assert fetched(api, upload.file_id) == FIRST + LAST


def test_a_part_sent_again_takes_the_place_of_the_first(api: Api) -> None:
    upload, parts = sent(api, b"wrong")
    again = upload.send(1, DIGITS)
    problem(upload.complete(parts), 422)
    assert upload.complete([again]).status_code == 200
    assert fetched(api, upload.file_id) == DIGITS


def test_an_aborted_upload_leaves_nothing(api: Api) -> None:
    upload, parts = sent(api, DIGITS)
    response = upload.ask("DELETE")
    assert (response.status_code, response.json()) == (200, {})
    assert left(api, upload.file_id) == []
    for answer in (upload.ask("GET"), upload.ask("GET", "/1"), upload.complete(parts), upload.ask("DELETE")):
        problem(answer, 404)


def test_a_complete_upload_cannot_be_aborted(api: Api) -> None:
    upload, parts = sent(api, DIGITS)
    assert upload.complete(parts).status_code == 200
    problem(upload.ask("DELETE"), 404)
    assert fetched(api, upload.file_id) == DIGITS


def test_a_deleted_file_cannot_be_completed_again(api: Api) -> None:
    upload, parts = sent(api, DIGITS)
    token = upload.complete(parts).json()["delete_token"]
    assert api.request("DELETE", f"/file/{upload.file_id}", {"x-delete-token": token}).status_code == 204
    problem(upload.complete(parts), 404)
    assert left(api, upload.file_id) == []


def test_only_the_upload_id_of_the_very_file_counts(api: Api) -> None:
    one, (part,) = sent(api, DIGITS)
    other = DirectUpload(api)
    file_id = api.upload()["file_id"]
    wrong = [
        {"upload_id": "forged"},
        {"upload_id": other.upload_id},
        {"key": other.key},
        {"key": f"raw/{UNKNOWN}"},
        {"key": f"raw/{file_id}"},
        {"key": f"files/{one.file_id}"},
        {"key": one.file_id},
        {"key": ""},
        {"key": "raw/../metadata"},
    ]
    for changed in wrong:
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/1", None),
            ("PUT", "/1", None),
            ("POST", "/complete", {"parts": [part]}),
            ("DELETE", "", None),
        ):
            problem(one.ask(method, path, body, **changed), 404)
    assert one.complete([part]).status_code == 200


def test_the_key_must_be_there(api: Api) -> None:
    upload = DirectUpload(api)
    assert problem(api.request("GET", f"{MULTIPART}/{upload.upload_id}"), 422)["errors"] == [
        {"field": "key", "reason": "is required"}
    ]


@pytest.mark.parametrize("name", ["key", "size"])
def test_a_parameter_can_be_sent_only_once(api: Api, name: str) -> None:
    upload = DirectUpload(api)
    query = f"key={quote(upload.key)}&size=5&{name}={quote(upload.key) if name == 'key' else 5}"
    assert problem(api.request("GET", f"{MULTIPART}/{upload.upload_id}/1?{query}"), 422)["errors"] == [
        {"field": name, "reason": "must be sent only once"}
    ]


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x", "1.0", "%D9%A1", "9" * 30])
def test_a_part_has_a_number_from_1_to_10000(api: Api, number: str) -> None:
    upload = DirectUpload(api)
    problem(upload.ask("GET", f"/{number}"), 422)
    problem(upload.ask("PUT", f"/{number}"), 422)


def unfit(upload: DirectUpload, parts: list[dict[str, Any]], status: int = 422) -> None:
    members = problem(upload.complete(parts), status)
    assert [error["field"] for error in members["errors"]] == ["parts"]


def test_parts_that_make_no_file_are_refused_and_the_upload_goes_on(api: Api) -> None:
    upload, (first, last) = sent(api, FIRST, LAST)
    small = upload.send(3, DIGITS)
    unfit(upload, [])
    unfit(upload, [last, first])
    unfit(upload, [first, first])
    unfit(upload, [first, last, small])
    unfit(upload, [first, {"PartNumber": 4, "ETag": last["ETag"]}])
    unfit(upload, [first, {"PartNumber": 2, "ETag": first["ETag"]}])
    unfit(upload, [{"PartNumber": "1", "ETag": first["ETag"]}])
    unfit(upload, [{"PartNumber": True, "ETag": first["ETag"]}])
    unfit(upload, [{"PartNumber": 1}])
    problem(api.download(upload.file_id), 404)
    assert upload.complete([first, last]).status_code == 200
    assert fetched(api, upload.file_id) == FIRST + LAST


def test_a_part_that_is_missing_shows_in_the_size_announced(api: Api) -> None:
    upload, (first, last) = sent(api, FIRST, LAST, size=len(FIRST + LAST))
    unfit(upload, [first])
    assert upload.complete([first, last]).status_code == 200


def test_more_than_the_limit_is_refused_and_forgotten(api: Api) -> None:
    api.configure("SHARE_MAX_FILE_SIZE", len(FIRST) + 3)
    assert (
        problem(
            api.request("POST", MULTIPART, JSON, json.dumps({"filename": "x", "size": len(FIRST) + 4}).encode()), 413
        )["limit"]
        == len(FIRST) + 3
    )
    upload = DirectUpload(api)
    parts = [upload.send(1, FIRST)]
    url = upload.url(2)
    if url.startswith(api.base):
        problem(upload.put(url, LAST), 413)
        assert left(api, upload.file_id) == [record_key(upload.file_id), f"raw/{upload.file_id}.parts/1"]
        assert upload.complete(parts).status_code == 200
        return
    # Storage accepts all bytes, so the size is known only at the end.
    parts.append(upload.send(2, LAST))
    assert problem(upload.complete(parts), 413)["limit"] == len(FIRST) + 3
    assert left(api, upload.file_id) == []
    problem(upload.complete(parts), 404)


def test_more_than_was_announced_is_refused_at_the_part_or_in_the_end(api: Api) -> None:
    upload = DirectUpload(api, size=len(DIGITS))
    url = upload.url(1)
    response = upload.put(url, DIGITS + b"!")
    if url.startswith(api.base):
        members = problem(response, 413)
        assert (members["title"], members["limit"]) == ("More than announced", len(DIGITS))
        assert upload.parts() == []
    else:
        # Storage accepts all bytes, so the size is known only at the end.
        problem(upload.complete(upload.parts()), 422)
    assert upload.complete([upload.send(1, DIGITS)]).status_code == 200


def test_a_token_is_required_except_for_parts(api: Api) -> None:
    api.configure("SHARE_API_TOKEN", "a-token-of-sixteen-characters")
    body = b'{"filename": "x"}'
    problem(api.request("POST", MULTIPART, JSON, body), 401)
    problem(api.request("GET", "/file/s3/params", params={"filename": "x"}), 401)
    token = {"authorization": "Bearer a-token-of-sixteen-characters"}
    started = api.request("POST", MULTIPART, {**JSON, **token}, body).json()
    address, params = f"{MULTIPART}/{started['uploadId']}", {"key": started["key"]}
    for method, path in (("GET", ""), ("GET", "/1"), ("POST", "/complete"), ("DELETE", "")):
        problem(api.request(method, address + path, JSON, b"{}", params=params), 401)
    url = api.request("GET", address + "/1", token, params=params).json()["url"]
    if url.startswith(api.base):
        assert api.request("PUT", url, content=DIGITS).status_code == 200


def test_another_site_may_not_begin_an_upload(api: Api) -> None:
    headers = {**JSON, "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert problem(api.request("POST", MULTIPART, headers, b'{"filename": "x"}'), 403)["type"].endswith("cross-site")


def test_a_file_without_bytes_is_sent_by_form(api: Api) -> None:
    # Uppy cannot send an empty part, and asks how to send the whole file (@uppy/aws-s3, S3Uploader).
    asked = {"filename": "none.txt", "type": "text/plain", "metadata[expires_in]": "60", "metadata[name]": "none.txt"}
    answer = api.request("GET", "/file/s3/params", params=asked)
    assert answer.json() == {
        "method": "POST",
        "url": f"{api.base}/file/upload",
        "fields": {"key": "none.txt", "expires_in": "60"},
    }
    # Uppy writes `null` for a missing value.
    assert api.request("GET", "/file/s3/params", params={**asked, "metadata[password]": "null"}).status_code == 200
    problem(api.request("GET", "/file/s3/params", params={**asked, "metadata[password]": "secret"}), 422)
    problem(api.request("GET", "/file/s3/params", params={**asked, "metadata[expires_in]": "soon"}), 422)
    problem(api.request("GET", "/file/s3/params"), 422)


@pytest.mark.parametrize("name", ["expires_in", "inbox", "max_downloads", "sender"])
def test_the_options_of_a_form_have_the_limits_of_json(api: Api, name: str) -> None:
    text = "1" * 1025
    in_form = api.request("GET", "/file/s3/params", params={"filename": "x", f"metadata[{name}]": text})
    in_json = api.request("POST", MULTIPART, JSON, json.dumps({"filename": "x", "metadata": {name: text}}).encode())
    assert problem(in_form, 422)["errors"][0]["field"] == name
    assert in_form.json() == in_json.json()


def test_what_is_shown_holds_no_upload_id(api: Api) -> None:
    upload, parts = sent(api, DIGITS)
    answer = upload.complete(parts)
    shown = [answer.text, api.request("GET", "/file/metadata/").text]
    assert not any(upload.upload_id in text for text in shown)


def test_a_directory_seals_a_file_at_once(api: Api) -> None:
    upload, parts = sent(api, FIRST, LAST)
    stored_by_us = upload.url(1).startswith(api.base)
    assert upload.complete(parts).status_code == 200
    blob = blob_key(upload.file_id)
    expected = [blob] if stored_by_us else [f"raw/{upload.file_id}"]
    assert left(api, upload.file_id) == sorted([*expected, record_key(upload.file_id)])


@pytest.fixture(params=["in_directory", "in_bucket"])
def server(
    request: pytest.FixtureRequest, configure: Callable[[str, str], None], loop: asyncio.AbstractEventLoop
) -> Iterator[Api]:
    """The API as a server runs it, from startup to shutdown."""
    objects: Objects = request.getfixturevalue(request.param)
    app = build_app(*ROUTERS, service=service())
    lifespan = app.router.lifespan_context(app)
    loop.run_until_complete(lifespan.__aenter__())
    yield Api(WholeApp(app, loop), "http://share.test", objects, configure)
    loop.run_until_complete(lifespan.__aexit__(None, None, None))


def test_an_upload_that_is_completed_again_is_measured_once(server: Api, caplog: pytest.LogCaptureFixture) -> None:
    upload, parts = sent(server, DIGITS)
    with caplog.at_level(logging.DEBUG, "shared.metrics"):
        for _ in range(3):
            assert upload.complete(parts).status_code == 200
    measured = [(line.message, vars(line)["value"]) for line in caplog.records if line.name == "shared.metrics"]
    assert measured == [("Uploads", 1), ("UploadedBytes", len(DIGITS))]


def test_a_server_seals_an_upload_as_soon_as_it_is_complete(server: Api) -> None:
    upload, parts = sent(server, DIGITS)
    assert upload.complete(parts).status_code == 200
    until(lambda: json.loads(server.objects.read(record_key(upload.file_id)))["sealed"])
    assert server.objects.read(blob_key(upload.file_id))[11:-1] == DIGITS
    assert server.download(upload.file_id).content == DIGITS


def test_a_part_of_an_unknown_upload_is_refused_before_its_body_is_read(
    configure: Callable[[str, str], None], loop: asyncio.AbstractEventLoop, tmp_path: Any
) -> None:
    configure("SHARE_STORAGE", str(tmp_path))
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    async def send(message: Message) -> None:
        sent.append(message)

    path = "/file/s3/multipart/unknown/1"
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "PUT",
        "path": path,
        "raw_path": path.encode(),
        "query_string": f"key=raw/{UNKNOWN}".encode(),
        # A client that waits for 100 Continue never gets it.
        "headers": [(b"host", b"share.test"), (b"content-length", b"1000"), (b"expect", b"100-continue")],
    }
    loop.run_until_complete(build_app(*ROUTERS, service=service())(scope, receive, send))
    assert sent[0]["status"] == 404
