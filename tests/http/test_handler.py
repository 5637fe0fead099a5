"""Unusual requests as API Gateway's events, and the API's answers to them."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions import download, get_metadata, list_metadata, upload
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from tests.api.client import Objects
from tests.gateway import LambdaContext, started
from tests.samples import sample

MIB = 1024 * 1024
EVERY_BYTE = bytes(range(256))
HOST = "Host: share.test"

pytestmark = pytest.mark.usefixtures("lambda_logging")


def event(name: str, **changes: Any) -> dict[str, Any]:
    """A sample event with changes."""
    return sample(name) | changes


def put_event(data: bytes, content_type: str = "application/octet-stream") -> dict[str, Any]:
    sample = event("upload_put", body=base64.b64encode(data).decode(), rawQueryString="", queryStringParameters={})
    sample["headers"] |= {"accept": "application/json", "content-length": str(len(data)), "content-type": content_type}
    return sample


def about(name: str, file_id: str, **headers: str) -> dict[str, Any]:
    """A sample event for another file, with more headers."""
    sample = event(name)
    request: dict[str, Any] = json.loads(json.dumps(sample).replace(sample["pathParameters"]["file_id"], file_id))
    request["headers"] |= headers
    return request


def stored(sent: dict[str, Any]) -> dict[str, Any]:
    result = started(upload.handler)(sent, LambdaContext())
    assert result["statusCode"] == 201, result["body"]
    answer: dict[str, Any] = json.loads(result["body"])
    return answer


def downloaded(file_id: str, **headers: str) -> bytes:
    result = started(download.handler)(about("download", file_id, **headers), LambdaContext())
    assert result["statusCode"] == 200
    return base64.b64decode(result["body"]) if result["isBase64Encoded"] else result["body"].encode()


@pytest.fixture
def storage(in_directory: Objects, on_lambda: None) -> Objects:
    return in_directory


# --- the gateway ---


def test_a_body_in_base64_is_stored_as_the_bytes_it_stands_for(storage: Objects) -> None:
    record = stored(put_event(EVERY_BYTE))
    assert (record["file_size"], downloaded(record["file_id"])) == (256, EVERY_BYTE)


def test_text_that_the_gateway_altered_is_refused_with_what_to_do(storage: Objects) -> None:
    # A gateway that treats binary data as text replaces invalid UTF-8 with U+FFFD.
    sent = put_event(b"caf\xe9\n", "text/plain")
    sent |= {"body": "caf\N{REPLACEMENT CHARACTER}\n", "isBase64Encoded": False}
    result = started(upload.handler)(sent, LambdaContext())
    assert result["statusCode"] == 400
    assert "application/octet-stream" in json.loads(result["body"])["detail"]
    assert storage.keys() == []


def test_only_clients_with_access_learn_that_text_was_altered(
    storage: Objects, configure: Callable[[str, str], None]
) -> None:
    configure("SHARE_API_TOKEN", "token")
    sent = put_event(b"caf\xe9\n", "text/plain")
    sent["headers"].pop("authorization", None)
    sent |= {"body": "caf\N{REPLACEMENT CHARACTER}\n", "isBase64Encoded": False}
    assert started(upload.handler)(sent, LambdaContext())["statusCode"] == 401


def test_text_with_a_replacement_character_of_its_own_is_stored(storage: Objects) -> None:
    sent = put_event("caf\N{REPLACEMENT CHARACTER}".encode(), "text/plain")
    sent |= {"body": "caf\N{REPLACEMENT CHARACTER}", "isBase64Encoded": False}
    assert downloaded(stored(sent)["file_id"]) == b"caf\xef\xbf\xbd"


def test_below_a_named_stage_nothing_is_found_rather_than_linked_wrongly(storage: Objects) -> None:
    # The path of a named stage begins with its name; the template has the stage $default, whose paths do not.
    sent = event("get_metadata")
    sent["rawPath"] = f"/prod{sent['rawPath']}"
    sent["requestContext"]["http"]["path"] = sent["rawPath"]
    sent["requestContext"]["stage"] = "prod"
    result = started(get_metadata.handler)(sent, LambdaContext())
    assert (result["statusCode"], json.loads(result["body"])["title"]) == (404, "Not Found")


QUERIES = [
    ("limit=%31", 200),
    ("limit=1&x=%zz&y=%", 200),
    ("limit=%2531", 422),
    ("limit=%zz", 422),
    ("after=%2B+%20&limit=1", 422),
]


@pytest.mark.parametrize(("query", "status"), QUERIES)
def test_a_query_is_decoded_once_and_may_be_malformed(storage: Objects, query: str, status: int) -> None:
    assert (
        started(list_metadata.handler)(event("list_metadata", rawQueryString=query), LambdaContext())["statusCode"]
        == status
    )


def test_headers_that_the_gateway_has_joined_are_no_mistake(storage: Objects) -> None:
    # Two Range headers arrive as one. A server can answer several ranges with the whole file (RFC 9110 §14.2), and a
    # value with two units is not a valid range.
    file_id = stored(put_event(EVERY_BYTE))["file_id"]
    joined = {"range": "bytes=0-1,bytes=2-3", "x-forwarded-for": "1.1.1.1, 2.2.2.2"}
    assert downloaded(file_id, **joined) == EVERY_BYTE


def test_no_cookie_and_no_value_of_a_header_is_lost(on_lambda: None) -> None:
    router = Endpoints("Test")

    @router.endpoint("GET", "/")
    async def answer(_request: Request) -> Response:
        response = Response()
        for name in ("a", "b"):
            response.set_cookie(name, name)
            response.headers.append("Vary", name)
        return response

    sent = event("health", rawPath="/")
    sent["requestContext"]["http"]["path"] = "/"
    result = HttpHandler(__name__, router)(sent, LambdaContext())
    assert [cookie.partition(";")[0] for cookie in result["cookies"]] == ["a=a", "b=b"]
    assert result["headers"]["vary"].replace(" ", "").split(",") == ["a", "b"]


# --- the function ---


def resident() -> int:
    """The resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc")
def test_a_warm_instance_keeps_nothing_of_what_it_has_served(
    storage: Objects, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # One instance serves thousands of events with the same memory and the same /tmp (512 MB).
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    sent = put_event(os.urandom(MIB))
    before: tuple[int, int] = (0, 0)
    for number in range(110):
        stored(sent)
        if number == 9:
            before = resident(), len(os.listdir("/proc/self/fd"))
    assert os.listdir(tmp_path / "tmp") == []
    assert len(os.listdir("/proc/self/fd")) <= before[1]
    # 100 bodies would need 100 MiB, or 133 MiB in base64. The allocator can keep a few.
    assert resident() - before[0] < 50 * MIB
