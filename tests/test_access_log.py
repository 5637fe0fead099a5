"""The log of `make run`: what operators need about each request, but no secrets and no file names."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from functions import health
from functions.app import ROUTERS
from local.access_log import AccessLog, LineFormatter
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.http.endpoint import RoutingTable
from shared.settings import Settings

NAME = "salary of Bob.txt"


class Client:
    """Sends requests to the application from one address, and collects the log lines of each."""

    def __init__(self, app: AccessLog, caplog: pytest.LogCaptureFixture) -> None:
        self._transport = httpx.ASGITransport(app, client=("192.0.2.7", 5))
        self._caplog = caplog

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://share.test") as client:
                return await client.request(method, path, **options)

        self._caplog.clear()
        return asyncio.run(ask())

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records if record.name == "local.access"]


@pytest.fixture
def client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Client]:
    caplog.set_level(logging.INFO, "local.access")
    app = build_app(*ROUTERS, service=Service.open(Settings(storage=str(tmp_path), min_free_space=0)))
    yield Client(AccessLog(app, app.state.table), caplog)
    app.state.threads.shutdown()


def matches(line: str, expected: str) -> bool:
    """Whether a line equals the expected one, with any duration."""
    return re.fullmatch(re.escape(expected).replace("ms=N", r"ms=[0-9]+\.[0-9]"), line) is not None


def test_uploads_and_downloads_have_the_file_the_bytes_and_the_duration(client: Client) -> None:
    sent = client.send("PUT", f"/{NAME}", content=b"0123456789").json()
    (line,) = client.lines
    file_id = sent["file_id"]
    size = len(client.send("GET", "/openapi.json").content)
    assert size > 0
    assert re.fullmatch(
        rf"192\.0\.2\.7 PUT /{{filename}} 201 in=10 out=[1-9][0-9]+ ms=[0-9]+\.[0-9] file={file_id}", line
    )
    client.send("GET", f"/file/download/{file_id}/{NAME}", headers={"Range": "bytes=0-3"})
    (line,) = client.lines
    assert matches(line, f"192.0.2.7 GET /file/download/{{file_id}}/{{name}} 206 in=0 out=4 ms=N file={file_id}")


@pytest.mark.usefixtures("cheap_passwords")
def test_no_line_has_a_secret_or_a_name(client: Client) -> None:
    sent = client.send("POST", "/file/upload", files={"file": (NAME, b"x")}, data={"password": "swordfish"}).json()
    file_id, token = sent["file_id"], sent["delete_token"]
    logged = client.lines
    begun = client.send("POST", "/file/s3/multipart", json={"filename": NAME}).json()
    part = f"/file/s3/multipart/{begun['uploadId']}/1?key={begun['key']}"
    for method, path, options in (
        ("GET", f"/{NAME}", {}),
        ("GET", f"/anything/{NAME}", {}),
        ("GET", f"/file/download/{file_id}/{NAME}", {"auth": ("", "swordfish")}),
        ("POST", f"/download/{file_id}", {"data": {"password": "swordfish"}}),
        ("PUT", part, {"content": b"x"}),
        ("PUT", f"/file/upload?filename={NAME}", {"content": b"x"}),
        ("GET", f"/file/{file_id}?token={token}", {}),
        ("GET", f"/download/{token}", {}),
        ("DELETE", f"/file/{file_id}?token={token}", {}),
    ):
        client.send(method, path, **options)
        assert len(client.lines) == 1, path
        logged += client.lines
    text = "\n".join(logged)
    for private in (NAME, NAME.replace(" ", "%20"), "salary", "swordfish", token, begun["uploadId"]):
        assert private not in text
    # The ID of the file that the part belongs to.
    assert f"file={begun['file_id']}" in text
    assert f" 204 in=0 out=0 ms=N file={file_id}" in re.sub(r"ms=[0-9.]+", "ms=N", text)


def test_what_pages_and_monitors_repeat_is_left_out_unless_it_fails(client: Client) -> None:
    file_id = client.send("PUT", "/a.txt", content=b"x").json()["file_id"]
    style = re.search(r"/static/[^\"]+", client.send("GET", "/").text)
    assert style is not None
    for path in ("/health", "/health/", f"/file/metadata/{file_id}", style[0]):
        assert client.send("GET", path).is_success
        assert client.lines == []
    for path in ("/file/metadata/none", "/static/x/none.css"):
        assert client.send("GET", path).status_code == 404
        assert len(client.lines) == 1


def line_of(app: Any, caplog: pytest.LogCaptureFixture, *messages: dict[str, Any]) -> str:
    """The log line of a request during which the application receives these messages."""
    caplog.set_level(logging.INFO, "local.access")
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(_message: object) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/health", "query_string": b"", "client": ('1" 2\n', 5)}
    with contextlib.suppress(RuntimeError):
        asyncio.run(AccessLog(app, RoutingTable(health.router.endpoints))(scope, receive, send))
    return caplog.messages[-1]


BODY = {"type": "http.request", "body": b"abc", "more_body": True}
START = {"type": "http.response.start", "status": 200, "headers": []}


def test_an_answer_that_ends_early_is_called_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"12", "more_body": True})
        raise RuntimeError

    # An address from a proxy cannot forge a log line.
    line = line_of(app, caplog, BODY)
    assert matches(line, r"1\x22\x202\x0a GET /health 200 interrupted in=3 out=2 ms=N")


def test_an_upload_whose_sender_leaves_is_called_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the application answers; the server discards it."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send({**START, "status": 400})
        await send({"type": "http.response.body", "body": b""})

    assert " GET /health 400 interrupted in=3 out=0 " in line_of(app, caplog, BODY, {"type": "http.disconnect"})


def test_a_client_that_leaves_after_the_answer_interrupts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Some answers watch for that while they are sent."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": 404})
        await send({"type": "http.response.body", "body": b""})
        await receive()

    assert " GET /health 404 in=0 out=0 " in line_of(app, caplog, {"type": "http.disconnect"})


def test_a_request_without_an_answer_has_no_status(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError

    assert " GET /health - interrupted in=0 out=0 " in line_of(app, caplog)


def test_every_line_has_the_time_and_what_concerns_a_file_its_id() -> None:
    record = logging.LogRecord("shared.sweeping", logging.WARNING, "", 0, "left for %s", ("later",), None)
    record.created, record.file_id = 1_800_000_000.9, "3f0b"
    assert LineFormatter(levels=True).format(record) == "2027-01-15T08:00:00Z WARNING left for later file=3f0b"
    try:
        raise ValueError("broken")
    except ValueError:
        record.exc_info = sys.exc_info()
    first, *traceback = LineFormatter(levels=False).format(record).splitlines()
    assert first == "2027-01-15T08:00:00Z left for later file=3f0b"
    assert traceback[-1] == "ValueError: broken"
