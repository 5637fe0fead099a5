"""Every use case on S3, with each of its requests failing: how botocore reacts, and what we do then."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import botocore.endpoint
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from shared.storage.s3.store import open_s3
from tests.api.client import DIGITS, Objects, file_part, form, text_part
from tests.clock import Clock
from tests.faults.faulty import Faulty, over
from tests.faults.test_every_call import is_clear
from tests.interposed import InterposedStore
from tests.properties.effort import EFFORT
from tests.servers import BUCKET

Send = Callable[[], AWSResponse]


class _Raw(io.BytesIO):
    """The body of an answer, in the form that botocore reads."""

    def stream(self, **_options: Any) -> Iterator[bytes]:
        yield self.getvalue()


def answered(status: int, code: str) -> Callable[[AWSPreparedRequest, Send], AWSResponse]:
    body = f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode()
    return lambda request, _send: AWSResponse(request.url, status, HTTPHeaders(), _Raw(body))


def dropped(request: AWSPreparedRequest, _send: Send) -> AWSResponse:
    raise ConnectionClosedError(endpoint_url=request.url)


def answer_lost(request: AWSPreparedRequest, send: Send) -> AWSResponse:
    send()
    raise ConnectionClosedError(endpoint_url=request.url)


def hanging(request: AWSPreparedRequest, send: Send) -> AWSResponse:
    send()
    raise ReadTimeoutError(endpoint_url=request.url)


# The status codes are from the S3 API reference, "Error responses".
FAULTS: dict[str, Callable[[AWSPreparedRequest, Send], AWSResponse]] = {
    "SlowDown": answered(503, "SlowDown"),
    "InternalError": answered(500, "InternalError"),
    "ConditionalRequestConflict": answered(409, "ConditionalRequestConflict"),
    "PreconditionFailed": answered(412, "PreconditionFailed"),
    "AccessDenied": answered(403, "AccessDenied"),
    "RequestTimeTooSkewed": answered(403, "RequestTimeTooSkewed"),
    "dropped": dropped,
    "answer lost": answer_lost,
    "hanging": hanging,
}
# Temporary faults, which botocore or we retry.
PASSING = FAULTS.keys() - {"AccessDenied", "RequestTimeTooSkewed", "ConditionalRequestConflict", "PreconditionFailed"}


# Only requests with these headers can get 412.
CONDITIONS = {"If-Match", "If-None-Match"}


class Line:
    """The connection to S3, on which one request meets a fault, or that request and all later ones."""

    def __init__(self, send: Callable[[URLLib3Session, AWSPreparedRequest], AWSResponse]) -> None:
        self._send = send
        self.begin(None, 0, lasting=False)

    def begin(self, fault: str | None, number: int, *, lasting: bool) -> None:
        self._fault, self._number, self._lasting = fault, number, lasting
        self._requests = 0
        self.struck = False

    def mend(self) -> None:
        """Stop the fault. `struck` keeps its value."""
        self._fault = None

    def __call__(self, session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        if self._fault == "PreconditionFailed" and not CONDITIONS & set(request.headers):
            return self._send(session, request)
        position, self._requests = self._requests, self._requests + 1
        due = position >= self._number if self._lasting else position == self._number
        if self._fault is None or not due:
            return self._send(session, request)
        self.struck = True
        return FAULTS[self._fault](request, lambda: self._send(session, request))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line(URLLib3Session.send)
    monkeypatch.setattr(URLLib3Session, "send", lambda session, request: line(session, request))

    class Sleepless:
        @staticmethod
        def sleep(_seconds: float) -> None:
            """botocore waits between retries, which tests need not do."""

    monkeypatch.setattr(botocore.endpoint, "time", Sleepless)
    return line


@pytest.fixture
def faulty(in_bucket: Objects, loop: asyncio.AbstractEventLoop, line: Line, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    store = InterposedStore(open_s3(BUCKET, f"faults/{uuid.uuid4()}"))
    return over(store, Clock(), loop, in_bucket, monkeypatch)


# The faults that differ in their effects; `make fuzz` tries all.
USUAL = ["SlowDown", "ConditionalRequestConflict", "PreconditionFailed", "AccessDenied", "answer lost", "hanging"]


@pytest.mark.parametrize("fault", USUAL if EFFORT == 1 else FAULTS)
def test_a_life_of_a_file_with_every_request_at_fault(faulty: Faulty, line: Line, fault: str) -> None:
    api = faulty.api
    cap = 1000
    first = api.post(form(text_part("max_downloads", b"%d" % cap), file_part(DIGITS))).json()
    steady = first["file_id"]
    owner = {"X-Delete-Token": first["delete_token"], "Content-Type": "application/json"}
    count, acknowledged, refusals = 0, {steady}, 0

    def upload() -> None:
        nonlocal refusals
        answer = api.post(form(file_part(DIGITS)))
        line.mend()
        if answer.status_code == 201:
            acknowledged.add(answer.json()["file_id"])
        else:
            assert line.struck
            is_clear(answer)
            refusals += 1

    def download() -> None:
        nonlocal count, refusals
        answer = api.download(steady)
        line.mend()
        now = api.count(steady)
        if answer.status_code == 200:
            assert answer.content == DIGITS
            assert now == count + 1
        else:
            is_clear(answer)
            assert now in (count, count + 1)
            refusals += 1
        count = now

    def change() -> None:
        nonlocal cap, refusals
        answer = api.request("PATCH", f"/file/{steady}", owner, json.dumps({"max_downloads": cap + 1}).encode())
        line.mend()
        now = api.metadata(steady)["max_downloads"]
        if answer.status_code == 200:
            assert now == cap + 1
        else:
            is_clear(answer)
            assert now in (cap, cap + 1)
            refusals += 1
        cap = now

    def delete() -> None:
        nonlocal refusals
        line.mend()
        file = api.post(form(file_part(DIGITS))).json()
        line.begin(*armed, lasting=lasting)
        token = {"X-Delete-Token": file["delete_token"]}
        answer = api.request("DELETE", f"/file/{file['file_id']}", token)
        line.mend()
        if answer.status_code != 204:
            is_clear(answer)
            refusals += 1
            assert api.request("DELETE", f"/file/{file['file_id']}", token).status_code in (204, 404)
        assert api.download(file["file_id"]).status_code == 404

    positions = 0
    for lasting, act in itertools.product((False, True), (upload, download, change, delete)):
        for number in itertools.count():
            armed = (fault, number)
            line.begin(*armed, lasting=lasting)
            act()
            if not line.struck:
                break
            positions += 1
            if not lasting and fault in PASSING and fault != "hanging":
                # The client does not notice a single temporary fault.
                assert refusals == 0, (act, number)
    assert positions >= (8 if fault == "PreconditionFailed" else 20), positions
    assert refusals

    listed = api.listing().keys()
    assert acknowledged <= listed
    # Any other file is complete, but its uploader got no answer.
    for file_id in listed - acknowledged:
        assert api.download(file_id).content == DIGITS
    faulty.settle()
    assert faulty.kept() == set(listed)
    assert api.count(steady) == count
