"""The Lambda handlers: sample events in, results out, and what reaches logs and metrics on the way."""

from __future__ import annotations

import asyncio
import base64
import importlib
import io
import json
import logging
import os
import pkgutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import functions
from functions.app import ROUTERS
from shared.http.app import build_app
from shared.telemetry import NAME
from tests.api.client import Api, Objects, WholeApp, blob_key, record_key
from tests.gateway import DOMAIN, Gateway, LambdaContext, routes

ROOT = Path(__file__).parent.parent
EVENTS = ROOT / "events"

# The file that the sample events are about, and the API token that they carry.
FILE_ID = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
TOKEN = "example-token"
FILE = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"

# `app` holds one handler for everything; `fallback` is deployed in its place.
FUNCTIONS = sorted(
    module.name
    for module in pkgutil.iter_modules(functions.__path__)
    if module.name != "app" and hasattr(importlib.import_module(f"functions.{module.name}"), "handler")
)


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def invoke(name: str, event: dict[str, Any]) -> dict[str, Any]:
    """The result of a function as Lambda passes it on."""
    result = importlib.import_module(f"functions.{name}").handler(event, LambdaContext())
    passed_on: dict[str, Any] = json.loads(json.dumps(result))
    return passed_on


@pytest.fixture
def storage(in_directory: Objects, on_lambda: None, configure: Callable[[str, str], None]) -> Objects:
    configure("SHARE_API_TOKEN", TOKEN)
    return in_directory


@pytest.fixture
def uploaded(storage: Objects, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """Storage with the file that the sample event uploads, under the ID that the other events ask for."""
    with monkeypatch.context() as patch:
        patch.setattr("shared.sharing.uuid.uuid4", lambda: uuid.UUID(FILE_ID))
        invoke("upload", sample("upload"))
    return storage


@pytest.fixture
def printed(
    on_lambda: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[dict[str, Any]]]:
    """What was logged, and what was printed since it was asked last, each line being JSON."""
    log = io.StringIO()
    # A log handler keeps the standard output of the time when it was made, and metrics take that of now.
    monkeypatch.setattr(logging.getLogger(NAME).handlers[0], "stream", log)
    return lambda: [json.loads(line) for line in (log.getvalue() + capsys.readouterr().out).splitlines()]


def metrics(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The values of every metric in the lines, checked to be declared (CloudWatch embedded metric format)."""
    found = {}
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
            assert directive["Namespace"] == "SimpleFileSharing"
            found.update({metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]})
    return found


def test_every_function_has_a_sample_event_and_every_event_a_function() -> None:
    assert sorted(path.stem for path in EVENTS.glob("*.json")) == FUNCTIONS


HTTP_FUNCTIONS = [name for name in FUNCTIONS if name != "sweep"]


@pytest.mark.parametrize("name", HTTP_FUNCTIONS)
def test_a_sample_event_comes_by_a_route_of_its_function(name: str) -> None:
    event = sample(name)
    context = event["requestContext"]
    keys = {route.key for route in routes() if route.function == name}
    if name == "fallback":
        keys.add("$default")
    assert event["routeKey"] in keys
    assert (event["version"], context["stage"]) == ("2.0", "$default")
    assert context["http"]["path"] == event["rawPath"]
    assert event["headers"]["host"] == context["domainName"]


STATUSES = {
    "upload": 201,
    "download": 200,
    "list_metadata": 200,
    "get_metadata": 200,
    "change": 200,
    "delete": 204,
    "health": 200,
    "fallback": 404,
}


@pytest.mark.parametrize("name", HTTP_FUNCTIONS)
def test_a_sample_event_is_answered(uploaded: Objects, name: str) -> None:
    assert invoke(name, sample(name))["statusCode"] == STATUSES[name]


def test_the_schedule_finds_nothing_to_sweep_among_fresh_files(uploaded: Objects) -> None:
    assert set(invoke("sweep", sample("sweep")).values()) == {0}
    assert json.loads(invoke("get_metadata", sample("get_metadata"))["body"])["file_size"] == len(FILE)


def test_the_sample_upload_is_stored_under_the_name_and_type_it_was_sent_with(uploaded: Objects) -> None:
    answer = json.loads(invoke("get_metadata", sample("get_metadata"))["body"])
    assert (answer["original_name"], answer["content_type"], answer["file_size"]) == (
        "report.pdf",
        "application/pdf",
        len(FILE),
    )
    assert answer["download_link"] == f"https://files.example.com/file/download/{FILE_ID}"


def test_binary_travels_in_base64(uploaded: Objects) -> None:  # C119
    result = invoke("download", sample("download"))
    assert result["isBase64Encoded"] is True
    assert base64.b64decode(result["body"], validate=True) == FILE


def test_a_problem_travels_as_text(storage: Objects) -> None:
    result = invoke("download", sample("download"))
    assert result["statusCode"] == 404
    assert result["isBase64Encoded"] is False
    assert json.loads(result["body"])["status"] == 404


# How the sample upload may differ from format 2.0, and the status it then gets.
CHANGES: dict[str, tuple[dict[str, Any], int]] = {
    "no body": ({"body": ...}, 400),
    "null body": ({"body": None}, 400),
    "no headers": ({"headers": ...}, 400),
    "null headers": ({"headers": None}, 400),
    "no query": ({"rawQueryString": ...}, 201),
    "null query": ({"rawQueryString": None}, 201),
    "body said to be text": ({"isBase64Encoded": False}, 400),
    "nothing said about base64": ({"isBase64Encoded": ...}, 400),
}


@pytest.mark.parametrize(("changes", "status"), CHANGES.values(), ids=CHANGES.keys())
def test_an_event_that_lacks_something_is_answered(storage: Objects, changes: dict[str, Any], status: int) -> None:
    event = sample("upload") | changes  # C132
    result = invoke("upload", {name: value for name, value in event.items() if value is not ...})
    assert result["statusCode"] == status
    assert (storage.keys() == []) == (status != 201)


def test_one_bucket_serves_functions_and_the_whole_app(
    in_bucket: Objects, on_lambda: None, configure: Callable[[str, str], None], loop: asyncio.AbstractEventLoop
) -> None:
    gateway = Api(Gateway(), f"https://{DOMAIN}", in_bucket, configure)
    server = Api(WholeApp(build_app(*ROUTERS), loop), "http://share.test", in_bucket, configure)
    data = bytes(range(256))
    file_id = gateway.upload(data)["file_id"]
    assert list(gateway.listing()) == list(server.listing()) == [file_id]
    assert server.download(file_id).content == gateway.download(file_id).content == data
    assert server.count(file_id) == gateway.count(file_id) == 2
    assert in_bucket.keys() == [blob_key(file_id), record_key(file_id), "secret"]


def test_uploads_and_downloads_are_measured(storage: Objects, printed: Callable[[], list[dict[str, Any]]]) -> None:
    uploading = invoke("upload", sample("upload"))
    assert metrics(printed()) == {"Uploads": [1.0], "UploadedBytes": [float(len(FILE))]}
    file_id = json.loads(uploading["body"])["file_id"]
    invoke("download", asking_for(file_id))
    assert metrics(printed()) == {"Downloads": [1.0], "DownloadedBytes": [float(len(FILE))]}
    invoke("download", asking_for(file_id, range="bytes=5-"))
    assert metrics(printed()) == {"DownloadedBytes": [float(len(FILE) - 5)]}
    invoke("download", asking_for(file_id, **{"if-none-match": "*"}))
    assert metrics(printed()) == {}


def asking_for(file_id: str, **headers: str) -> dict[str, Any]:
    """The sample download, of another file and with more headers."""
    event: dict[str, Any] = json.loads(json.dumps(sample("download")).replace(FILE_ID, file_id))
    event["headers"] |= headers
    return event


def test_what_is_logged_carries_the_id_of_its_request(
    uploaded: Objects, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    uploaded.delete(blob_key(FILE_ID))
    assert invoke("download", sample("download"))["statusCode"] == 500
    (line,) = [line for line in printed() if line.get("level") == "ERROR"]
    assert line["correlation_id"] == sample("download")["requestContext"]["requestId"]
    assert line["service"] == NAME
    # The cause is for the log, if for nobody else.
    assert "the blob is missing" in line["message"]


def test_a_fault_of_ours_is_logged_with_its_cause(
    storage: Objects, printed: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("the cause")

    monkeypatch.setattr("shared.sharing.Shares.find", fail)
    assert invoke("download", sample("download"))["statusCode"] == 500
    (line,) = [line for line in printed() if line.get("level") == "ERROR"]
    assert line["correlation_id"] == sample("download")["requestContext"]["requestId"]
    assert "RuntimeError: the cause" in line["exception"]


COLD = """
import json, sys
from functions.{name} import handler
from tests.gateway import LambdaContext
event = json.load(open("events/{name}.json"))
for _ in range(2):
    handler(event, LambdaContext())
print(json.dumps({{"modules": sorted(sys.modules)}}))
"""


@pytest.fixture
def cold(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The JSON lines that a function prints in a process of its own, invoked twice by its sample event."""

    def run(name: str, **environment: str) -> list[dict[str, Any]]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SHARE_", "POWERTOOLS_"))}
        lines = python(
            COLD.format(name=name),
            inherited
            | {
                "SHARE_STORAGE": str(tmp_path / "data"),
                "SHARE_MIN_FREE_SPACE": "0",
                "AWS_LAMBDA_FUNCTION_NAME": "share",
            }
            | environment,
        ).splitlines()
        return [json.loads(line) for line in lines]

    return run


def python(source: str, environment: dict[str, str] | None = None) -> str:
    """What the source prints when it is run on its own."""
    run = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout


def test_a_cold_start_is_measured_once(cold: Callable[..., list[dict[str, Any]]]) -> None:
    starts = [line for line in cold("health") if "ColdStart" in line]
    assert [line["ColdStart"] for line in starts] == [[1.0]]
    assert starts[0]["function_name"] == LambdaContext().function_name


def test_every_request_leaves_one_line_with_its_id(cold: Callable[..., list[dict[str, Any]]]) -> None:
    lines = [line for line in cold("health") if "level" in line]
    assert [line["message"] for line in lines] == ["GET /health 200"] * 2
    request_id = sample("health")["requestContext"]["requestId"]
    assert {line["correlation_id"] for line in lines} == {request_id}


@pytest.mark.parametrize(("disabled", "traced"), [({}, False), ({"POWERTOOLS_TRACE_DISABLED": "false"}, True)])
def test_the_tracer_is_loaded_only_where_tracing_is_on(
    cold: Callable[..., list[dict[str, Any]]], disabled: dict[str, str], traced: bool
) -> None:
    modules = cold("health", **disabled)[-1]["modules"]
    assert ("aws_xray_sdk" in modules) is traced
    assert "boto3" not in modules


def test_the_app_loads_nothing_that_only_lambda_or_a_bucket_needs() -> None:
    loaded = json.loads(python("import functions.app, json, sys; print(json.dumps(sorted(sys.modules)))"))
    assert "functions.app" in loaded
    assert not {"mangum", "boto3", "botocore", "aws_lambda_powertools", "aws_xray_sdk"} & set(loaded)
