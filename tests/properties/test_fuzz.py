"""Random requests: each gets a client error soon, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from shared.errors import InvalidValue
from shared.http.forms import MAX_OVERHEAD_BYTES, receive_form
from shared.http.models import PROBLEM_TYPE
from tests.properties.asgi import Answer, Client
from tests.properties.conftest import MAX_FILE_SIZE
from tests.properties.effort import examples
from tests.properties.test_transfers import SIZES, pieces

BOUNDARY = b"X"
TOKENS = [
    *(b"--X", b"--X--", b"\r\n", b"\r\n--X\r\n", b"\r\n--X--\r\n", b"--", b"X", b"\r", b"\n", b":", b";", b"=", b'"'),
    *(
        b"Content-Disposition: form-data",
        b'; name="file"',
        b'; filename="a"',
        b"; filename*=UTF-8''%e2",
        b"\\",
        b"\x00",
    ),
    b'\r\n--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
    b'\r\n--X\r\nContent-Disposition: form-data; name="expires_in"\r\n\r\n',
    b'\r\n--X\r\nContent-Disposition: form-data; name="max_downloads"\r\n\r\n1',
    *(b"Content-Type: text/plain", b"\r\nContent-Transfer-Encoding: base64\r\n", b"a" * 3000, b"\xff\xfe", b"1", b"-1"),
]
junk = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=12), max_size=30).map(b"".join)
form_types = st.sampled_from(
    [b"multipart/form-data; boundary=X"] * 6
    + [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data;boundary="X',
        b"text/plain",
        b"",
    ]
) | st.binary(max_size=40).map(lambda tail: b"multipart/form-data; boundary=X" + tail)


def contents(root: Path) -> set[str]:
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != ".spares"}


def is_problem(answer: Answer) -> bool:
    return answer.header("content-type") == PROBLEM_TYPE and json.loads(answer.body)["status"] == answer.status


@examples(250)
@given(body=junk, begun=st.booleans(), form_type=form_types, sizes=SIZES)
def test_a_form_of_junk_is_the_clients_fault(
    client: Client, root: Path, body: bytes, begun: bool, form_type: bytes, sizes: list[int]
) -> None:
    body = b"--X\r\n" + body if begun else body
    before = contents(root)
    answer = client.ask("POST", b"/file/upload/", [(b"content-type", form_type)], pieces(body, sizes))
    if answer.status == 201:
        upload = json.loads(answer.body)
        downloaded = client.ask("GET", f"/file/download/{upload['file_id']}".encode()).body
        assert downloaded in body
        assert len(downloaded) == upload["file_size"]
        return
    assert answer.status in (400, 413, 415, 422)
    assert is_problem(answer)
    assert contents(root) == before


UNITS = [
    b"\r\n",
    b"-",
    b"--X\r\n",
    b"a: b\r\n",
    b"a" * 70,
    b'--X\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n',
    b'--X\r\nContent-Disposition: form-data; name="password"\r\n\r\n' + b"y" * 900 + b"\r\n",
    b'--X\r\nContent-Disposition: form-data; name="x"; filename="y"\r\n\r\n' + b"y" * 5000 + b"\r\n",
]


@examples(100)
@given(
    start=junk, unit=st.sampled_from(UNITS) | st.binary(min_size=1, max_size=50), size=st.sampled_from([1, 100, 65536])
)
def test_a_form_without_end_is_not_read_for_ever(start: bytes, unit: bytes, size: int) -> None:
    # Limits apply to everything outside the file, so it cannot exhaust memory or time. Storage limits the file.
    taken = stored = 0
    endless = unit * (size // len(unit) + 1)

    async def arriving() -> AsyncIterator[bytes]:
        nonlocal taken
        for chunk in (b"--X\r\n", start):
            taken += len(chunk)
            yield chunk
        while True:
            taken += len(endless)
            yield endless

    async def write(data: bytes) -> None:
        nonlocal stored
        stored += len(data)
        if stored > MAX_FILE_SIZE:
            raise InvalidValue("file", "is too large")

    form = receive_form("multipart/form-data; boundary=X", arriving(), write, fields={"password": 1024})
    with pytest.raises((HTTPException, InvalidValue)):
        asyncio.run(form)
    assert taken - stored <= MAX_OVERHEAD_BYTES + 2 * len(endless) + len(start) + 5


# Whole requests


class Asks(Protocol):
    def ask(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]] = ..., chunks: list[bytes] = ...
    ) -> Answer: ...


KNOWN_ID = b"3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
segments = st.sampled_from(
    [b"file", b"upload", b"download", b"metadata", b"health", b"static", b"qr.svg", b"", b".", b"..", KNOWN_ID, b"ID"]
) | st.binary(max_size=8).map(lambda raw: b"".join(b"%%%02x" % byte for byte in raw))
targets = st.lists(segments, max_size=4).map(lambda parts: b"/" + b"/".join(parts)) | st.sampled_from(
    [b"/file/upload/", b"/file/upload/a", b"/file/download/ID", b"/file/metadata/", b"/file/metadata/ID", b"/file/ID"]
    * 2
    + [b"/download/ID", b"/download/ID/qr.svg"]
)
queries = st.sampled_from([b"", b"?token=x", b"?limit=1&after=ID", b"?expires_in=9&max_downloads=1"]) | st.binary(
    max_size=20
).map(lambda raw: b"?" + raw.replace(b" ", b"+").replace(b"#", b""))
values = (
    st.binary(max_size=30)
    | st.sampled_from([b"9" * 5000, b"-1", b"0", b"bytes=0-3", b"bytes=" + b"0-0," * 2000, b'"x"', b"*", b"W/" * 2000])
    | st.sampled_from(
        [b"Bearer x", b"Basic ", b"Basic OnB3", b"Basic \xff", b"null", b"sha-256=:AAAA:", b"http://evil.example"]
    )
)
header_names = st.sampled_from(
    [
        *(b"content-type", b"content-length", b"content-encoding", b"expect", b"range", b"if-range", b"if-match"),
        *(b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"authorization", b"x-delete-token"),
        *(b"x-password", b"max-days", b"max-downloads", b"repr-digest", b"accept", b"cookie", b"origin"),
        *(b"sec-fetch-site", b"sec-purpose", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded", b"x-odd"),
    ]
)
heads = st.lists(st.tuples(header_names, values), max_size=4)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] * 3 + ["OPTIONS", "TRACE", "BREW", "get"])
bodies = st.lists(
    st.binary(max_size=60) | st.sampled_from([b"{", b'{"expires_in":', b"9" * 5000, b"[" * 5000, b"password=x"]),
    max_size=3,
)


def try_request(
    client: Asks, file_id: str, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: list[bytes]
) -> None:
    target = target.replace(b"ID", file_id.encode())
    answer = client.ask(method, target, headers, body)
    # A prefetch is asked to come back; no other request here may fail with 5xx.
    assert answer.status < 500 or (answer.status == 503 and b"prefetch" in answer.body)
    # The gateway refuses some requests itself.
    ours = not answer.body.startswith(b'{"message":') and not answer.header("content-type").startswith("text/html")
    if answer.status >= 400 and method != "HEAD" and ours:
        assert is_problem(answer)


def new_file(client: Asks) -> str:
    file_id: str = json.loads(client.ask("PUT", b"/file/upload/a", [], [b"0123456789"]).body)["file_id"]
    return file_id


@examples(250)
@given(method=methods, target=targets, query=queries, headers=heads, body=bodies)
@example(method="GET", target=b"/", query=b"?\x80", headers=[], body=[])
@example(method="GET", target=b"/file/metadata/", query=b"?\x80", headers=[], body=[])
@example(method="PUT", target=b"/file/upload/a", query=b"", headers=[(b"content-length", b"9" * 5000)], body=[])
@example(method="POST", target=b"/file/upload/", query=b"", headers=[(b"content-length", b"9" * 5000)], body=[])
@example(
    method="PUT",
    target=b"/file/s3/multipart/x/1",
    query=b"?key=raw/ID",
    headers=[(b"content-length", b"9" * 5000)],
    body=[],
)
def test_no_request_is_a_fault_of_ours(
    client: Client, method: str, target: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: list[bytes]
) -> None:
    try_request(client, new_file(client), method, target + query, headers, body)


@examples(120)
@given(method=methods, target=targets, query=queries, headers=heads, body=bodies)
def test_no_event_is_a_fault_of_ours(
    function: Asks, method: str, target: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: list[bytes]
) -> None:
    try_request(function, new_file(function), method, target + query, headers, body)
