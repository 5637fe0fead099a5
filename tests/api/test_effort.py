"""Nothing that a stranger sends costs more than its length, and what takes long keeps the event loop free."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Scope

from functions.app import ROUTERS
from shared import passwords
from shared.http.app import build_app
from tests.api.client import DIGITS, Api, file_part, form, problem, text_part

PASSWORD = "correct horse: battery"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
in_this_process = pytest.mark.not_emulated("replaces code in the process of the test")
# A Lambda function serves one request at a time, and has no threads for what takes long.
on_a_server = pytest.mark.parametrize("api", ["directory", "s3"], indirect=True)


def share(api: Api) -> str:
    response = api.post(form(text_part("password", PASSWORD.encode()), file_part(DIGITS)))
    assert response.status_code == 201, response.text
    file_id: str = response.json()["file_id"]
    return file_id


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f":{password}".encode()).decode()}


def enter(api: Api, file_id: str, password: str) -> Any:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = "password=" + "".join(f"%{byte:02X}" for byte in password.encode())
    return api.request("POST", f"/download/{file_id}", headers, body.encode())


# 7 kB, so that they also fit into the head that a gateway lets through; of falling class, which is the worst order.
MARKS = "\N{COMBINING COMMA ABOVE RIGHT}\N{COMBINING ACUTE ACCENT}\N{COMBINING CEDILLA}" * 850


@in_this_process
def test_a_password_that_is_too_long_is_wrong_before_it_is_normalised(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = share(api)
    derived: list[str] = []
    derive = passwords._derive

    def recorded(password: str, *arguments: Any) -> bytes:
        derived.append(password)
        return derive(password, *arguments)

    monkeypatch.setattr(passwords, "_derive", recorded)
    for password in ("x" * 257, MARKS):
        problem(api.download(file_id, **basic(password)), 401)
        assert enter(api, file_id, password).status_code == 401
    assert derived == []
    # The longest that can be set is still looked at.
    problem(api.download(file_id, **basic("x" * 256)), 401)
    assert derived == ["x" * 256]


def test_the_longest_password_opens_its_file(api: Api) -> None:
    password = "ä" * 256
    uploaded = api.post(form(text_part("password", password.encode()), file_part(DIGITS))).json()
    assert api.download(uploaded["file_id"], **basic(password)).content == DIGITS


# What Python's own parser needs quadratic time for (CVE-2024-7592).
HOSTILE_COOKIE = 'pass="' + '\\"' * 3000 + '"'


def test_a_cookie_is_read_only_where_there_is_a_password_and_without_unquoting(api: Api) -> None:
    plain = api.upload()["file_id"]
    assert api.download(plain, cookie=HOSTILE_COOKIE).content == DIGITS
    problem(api.download(share(api), cookie=HOSTILE_COOKIE), 401)


@in_this_process
def test_no_general_parser_of_cookies_is_used(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_text: str) -> dict[str, str]:
        raise AssertionError("cookies were parsed")

    file_id = share(api)
    cookie = enter(api, file_id, PASSWORD).headers["set-cookie"].partition(";")[0]
    monkeypatch.setattr("starlette.requests.cookie_parser", fail)
    assert api.download(file_id, cookie=cookie).content == DIGITS
    problem(api.download(file_id, cookie=HOSTILE_COOKIE), 401)


def test_our_cookie_is_found_among_others_and_the_first_of_its_name_counts(api: Api) -> None:
    file_id = share(api)
    cookie = enter(api, file_id, PASSWORD).headers["set-cookie"].partition(";")[0]
    # Browsers send those of longer paths first, and ours has the longest (RFC 6265 §5.4).
    assert (
        api.download(file_id, cookie=f"theme=dark; bypass=1; {cookie}; pass=of-another-application").content == DIGITS
    )
    problem(api.download(file_id, cookie=f"pass=wrong; {cookie}"), 401)
    problem(api.download(file_id, cookie=cookie.replace("pass", "PASS", 1)), 401)


@on_a_server
def test_a_qr_code_is_made_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    import segno

    threads: list[str] = []
    make = segno.make

    def recorded(*arguments: Any, **named: Any) -> Any:
        threads.append(threading.current_thread().name)
        return make(*arguments, **named)

    monkeypatch.setattr(segno, "make", recorded)
    host = ".".join(["a" * 60] * 4) + ":8080"
    assert api.request("GET", f"/download/{UNKNOWN}/qr.svg", {"host": host}).status_code == 200
    assert [name.startswith("storage") for name in threads] == [True]


def complete(api: Api, body: bytes) -> Any:
    started = api.request(
        "POST", "/file/s3/multipart", {"content-type": "application/json"}, b'{"filename": "a"}'
    ).json()
    path = f"/file/s3/multipart/{started['uploadId']}/complete"
    return api.request("POST", path, {"content-type": "application/json"}, body, params={"key": started["key"]})


@on_a_server
def test_json_is_parsed_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    loads = json.loads

    def recorded(text: Any, **named: Any) -> Any:
        if b'"parts"' in bytes(text if isinstance(text, bytes | bytearray) else text.encode()):
            threads.append(threading.current_thread().name)
        return loads(text, **named)

    monkeypatch.setattr(json, "loads", recorded)
    refused = complete(api, b'{"parts": []}')
    assert [name.startswith("storage") for name in threads] == [True]
    problem(refused, 422)


MANY = {"lists": b"[]", "objects": b"{}", "numbers": b"1"}


@pytest.mark.parametrize("value", MANY.values(), ids=MANY.keys())
def test_json_of_a_great_many_tiny_values_is_refused_unparsed(api: Api, value: bytes) -> None:
    # Parsed, these would stop the process for a third of a second, whichever thread did it.
    problem(complete(api, b'{"parts": [' + value + (b"," + value) * 120_000 + b"]}"), 413)


def test_a_list_of_as_many_parts_as_there_may_be_is_read(api: Api) -> None:
    parts = [{"PartNumber": number, "ETag": f'"{number:032x}"', "Size": 5} for number in range(1, 10_001)]
    # They are not stored, which can be said only of a list that was read.
    refused = problem(complete(api, json.dumps({"parts": parts}).encode()), 422)
    assert refused["errors"][0]["field"] == "parts"


def test_a_digest_and_a_type_that_are_too_long_are_refused(api: Api) -> None:
    digest = {"repr-digest": "a=(" + "a " * 2000 + ")"}
    problem(api.request("PUT", "/file/upload/a.txt", digest, DIGITS), 400)
    kind = {"content-type": "multipart/form-data; boundary=X" + "; a" * 2000}
    problem(api.request("POST", "/file/upload/", kind, DIGITS), 400)


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
        # A client that waits for leave to send is never given it.
        "headers": [(b"host", b"share.test"), (b"content-length", b"1000"), (b"expect", b"100-continue")],
    }
    loop.run_until_complete(build_app(*ROUTERS)(scope, receive, send))
    assert sent[0]["status"] == 404
