"""The Lambda handlers: sample events and their results, and what reaches logs and metrics."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import io
import json
import logging
import os
import pkgutil
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from aws_lambda_powertools.utilities.parser.models import APIGatewayProxyEventV2Model, EventBridgeModel, S3Model
from pydantic import BaseModel

import functions
from functions.app import ROUTERS
from functions.seal import SealFailed
from local import artifact
from local.emulate import running
from shared.errors import Contended, StorageUnavailable
from shared.http.endpoint import Endpoint
from shared.http.handler import UnexpectedEvent
from shared.storage.contract import ANYTHING, Changed, Condition
from shared.storage.directory.store import DirectoryStore
from shared.telemetry import NAME
from tests.api.client import Api, Objects, WholeApp, blob_key, record_key
from tests.emulated.deployment import ARTIFACT
from tests.emulated.emulate import forking_platform
from tests.gateway import DOMAIN, Gateway, LambdaContext, started
from tests.samples import EVENTS, FILE, FILE_ID, REQUESTS, STATUSES, TOKEN, admitted, recorded, sample

ROOT = Path(__file__).parent.parent

FUNCTIONS = sorted(
    module.name
    for module in pkgutil.iter_modules(functions.__path__)
    if hasattr(importlib.import_module(f"functions.{module.name}"), "handler")
)


def invoke(name: str, event: dict[str, Any]) -> dict[str, Any]:
    """The result of a function as Lambda passes it on."""
    result = started(importlib.import_module(f"functions.{name}").handler)(event, LambdaContext())
    passed_on: dict[str, Any] = json.loads(json.dumps(result))
    return passed_on


@pytest.fixture
def storage(in_directory: Objects, on_lambda: None, configure: Callable[[str, str], None]) -> Objects:
    configure("SHARE_API_TOKEN", TOKEN)
    return in_directory


@pytest.fixture
def uploaded(storage: Objects, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """Storage with the file that the sample event uploads, under the ID in the other events."""
    with monkeypatch.context() as patch:
        patch.setattr("shared.uploads.uuid.uuid4", lambda: uuid.UUID(FILE_ID))
        invoke("upload", sample("upload"))
    return storage


@pytest.fixture
def printed(
    on_lambda: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[dict[str, Any]]]:
    """All log lines, and the lines printed since the last call; each one is JSON."""
    log = io.StringIO()
    # A log handler keeps the standard output of its creation; metrics use the current one.
    monkeypatch.setattr(logging.getLogger(NAME).handlers[0], "stream", log)
    return lambda: [json.loads(line) for line in (log.getvalue() + capsys.readouterr().out).splitlines()]


def metrics(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The value of every metric in the lines, after checking its declaration (CloudWatch embedded metric format)."""
    totals = {}
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
            assert directive["Namespace"] == "SimpleFileSharing"
            totals.update({metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]})
    return totals


RECORDED = sorted(path.stem for path in EVENTS.glob("*.json"))
SAMPLES = sorted({*REQUESTS, *RECORDED})


def function_of(name: str) -> str:
    """The function of a sample event: `upload_put` is another sample for `upload`."""
    return max((function for function in FUNCTIONS if f"{name}_".startswith(f"{function}_")), key=len)


def test_every_function_has_a_sample_event_and_every_event_a_function() -> None:
    assert {function_of(name) for name in SAMPLES} == set(FUNCTIONS) <= set(SAMPLES)


def test_every_operation_has_a_sample_event() -> None:
    operations = {
        f"{method} {re.sub(r':[a-z_]+}', '}', route.path.rstrip('/') or '/').replace('{filename}', '{filename+}')}"
        for router in ROUTERS
        for route in router.routes
        # The others are left to `$default`.
        if isinstance(route, Endpoint) and route.include_in_schema and not route.exclusive
        for method in route.methods or ()
    }
    assert operations <= {sample(name)["routeKey"] for name in REQUESTS}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_sample_event_comes_by_a_route_of_its_function(name: str) -> None:
    assert admitted(name).function == function_of(name)


def test_the_emulated_gateway_makes_events_as_the_real_one_does() -> None:
    for name in REQUESTS.keys() & set(RECORDED):
        event, real = sample(name), recorded(name)
        assert event.keys() == real.keys(), name
        assert event["requestContext"].keys() == real["requestContext"].keys(), name
        for part in ("version", "routeKey", "rawPath", "rawQueryString", "isBase64Encoded", "body", "pathParameters"):
            assert event.get(part) == real.get(part), name
        # These differ between clients, and between requests.
        differing = {name for name, _ in event["headers"].items() ^ real["headers"].items()}
        assert differing <= {"user-agent", "accept-encoding", "x-amzn-trace-id", "x-forwarded-for"}


# They reveal nothing about the file in their path, to anyone or to strangers.
BLIND = {"delete_form", "page_qr", "page_qr_inbox"}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_sample_event_is_answered(uploaded: Objects, name: str) -> None:
    assert invoke(function_of(name), sample(name))["statusCode"] == STATUSES[name]


MODELS: dict[str, type[BaseModel]] = {"seal": S3Model, "sweep": EventBridgeModel}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_event_is_what_powertools_knows_as_one(name: str) -> None:
    MODELS.get(name, APIGatewayProxyEventV2Model).model_validate(recorded(name))


@pytest.fixture(scope="module")
def invoked() -> Iterator[Callable[[str, dict[str, Any]], dict[str, Any]]]:
    """The result of a function in the template, each in a separate process."""
    template = artifact.load(ARTIFACT)
    with (
        forking_platform(ARTIFACT, template, token=TOKEN) as provided,
        running(provided) as runtime,
        asyncio.Runner() as runner,
    ):

        def invoke(name: str, event: dict[str, Any]) -> dict[str, Any]:
            logical_id = f"{function_of(name).title().replace('_', '')}Function"
            result: dict[str, Any] = json.loads(runner.run(runtime.invoke(logical_id, json.dumps(event).encode())))
            return result

        yield invoke
        runner.run(runtime.close())


@pytest.mark.xdist_group("invoked")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_event_can_be_invoked_as_it_is_deployed(
    invoked: Callable[[str, dict[str, Any]], dict[str, Any]], name: str
) -> None:
    result = invoked(name, sample(name))
    if name not in REQUESTS:
        assert set(result.values()) == {0}
    else:
        # Nobody has uploaded the file that the other samples use.
        unknown = name not in BLIND and "file_id" in sample(name).get("pathParameters", {})
        assert result["statusCode"] == (404 if unknown else STATUSES[name])


UNEXPECTED: dict[str, Any] = {
    "warm-up ping": {},
    # Payload format 1.0, of a REST API: the template requires 2.0.
    "format 1.0": {"version": "1.0", "httpMethod": "GET", "path": "/health", "requestContext": {"stage": "prod"}},
    "schedule": sample("sweep"),
    "no request": {"version": "2.0", "requestContext": None},
    "no method": {"version": "2.0", "requestContext": {"http": {"path": "/health", "sourceIp": "203.0.113.7"}}},
}


@pytest.mark.parametrize("event", UNEXPECTED.values(), ids=UNEXPECTED.keys())
def test_an_event_of_another_kind_is_refused_by_what_is_expected(storage: Objects, event: dict[str, Any]) -> None:
    # An exception instead of an answer, because no HTTP client is waiting.
    with pytest.raises(UnexpectedEvent, match=r"HTTP API in payload format 2\.0.*requestContext\.http") as caught:
        invoke("health", event)
    assert all(name in str(caught.value) for name in event)
    assert "203.0.113.7" not in str(caught.value)
    # The instance continues to work.
    assert invoke("health", sample("health"))["statusCode"] == 200


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


def test_binary_travels_in_base64(uploaded: Objects) -> None:
    result = invoke("download", sample("download"))
    assert result["isBase64Encoded"] is True
    assert base64.b64decode(result["body"], validate=True) == FILE


def test_a_problem_travels_as_text(storage: Objects) -> None:
    result = invoke("download", sample("download"))
    assert result["statusCode"] == 404
    assert result["isBase64Encoded"] is False
    assert json.loads(result["body"])["status"] == 404


# Differences of a sample upload from format 2.0, and the resulting status.
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
    event = sample("upload") | changes
    result = invoke("upload", {name: value for name, value in event.items() if value is not ...})
    assert result["statusCode"] == status
    assert (storage.keys() == []) == (status != 201)


def test_one_bucket_serves_functions_and_the_whole_app(
    in_bucket: Objects,
    on_lambda: None,
    configure: Callable[[str, str], None],
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SHARE_SECRET")
    gateway = Api(Gateway(), f"https://{DOMAIN}", in_bucket, configure)
    server = Api(WholeApp(None, loop), "http://share.test", in_bucket, configure)
    data = bytes(range(256))
    file_id = gateway.upload(data)["file_id"]
    assert list(gateway.listing()) == list(server.listing()) == [file_id]
    assert server.download(file_id).content == gateway.download(file_id).content == data
    assert server.count(file_id) == gateway.count(file_id) == 2
    kept = [key for key in in_bucket.keys() if not key.startswith("expiries/")]  # noqa: SIM118
    assert kept == [blob_key(file_id), record_key(file_id), "secret"]


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


def test_conflicts_and_retries_are_measured(
    uploaded: Objects, printed: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed()
    put, faults = DirectoryStore.put, ["lost", "refused"]

    def meet_others(store: DirectoryStore, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        match faults.pop() if faults else None:
            case "lost":
                put(store, key, store.read(key)[0] + b" ")
            case "refused":
                # S3 can answer 409 even though no other write has succeeded.
                raise Changed(key)
        return put(store, key, data, when)

    monkeypatch.setattr(DirectoryStore, "put", meet_others)
    monkeypatch.setattr("shared.storage.documents.BACKOFF_BASE", 0.0)
    assert invoke("download", sample("download"))["statusCode"] == 200
    measured = {name: sum(values) for name, values in metrics(printed()).items()}
    assert measured == {"Downloads": 1, "DownloadedBytes": len(FILE), "CounterConflicts": 1, "Retries": 2}
    # They belong to that invocation only.
    invoke("download", sample("download"))
    assert metrics(printed()).keys() == {"Downloads", "DownloadedBytes"}


def asking_for(file_id: str, **headers: str) -> dict[str, Any]:
    """The sample download for another file, with more headers."""
    event: dict[str, Any] = json.loads(json.dumps(sample("download")).replace(FILE_ID, file_id))
    event["headers"] |= headers
    return event


@pytest.mark.parametrize(
    ("name", "correlation_id"),
    [
        ("seal", sample("seal")["Records"][0]["responseElements"]["x-amz-request-id"]),
        ("sweep", sample("sweep")["id"]),
    ],
)
def test_what_is_logged_of_an_event_carries_its_id(
    storage: Objects, printed: Callable[[], list[dict[str, Any]]], name: str, correlation_id: str
) -> None:
    key = sample("seal")["Records"][0]["s3"]["object"]["key"]
    file_id = key.removeprefix("raw/")
    storage.write(record_key(file_id), b"damaged")
    # This makes the sweep look at the file.
    storage.write(f"expiries/2026-01-01T00/{file_id}", b"")
    with contextlib.suppress(SealFailed):
        invoke(name, sample(name))
    lines = [line for line in printed() if "message" in line]
    assert lines
    assert {line["correlation_id"] for line in lines} == {correlation_id}


def test_what_is_logged_carries_the_id_of_its_request(
    uploaded: Objects, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    uploaded.delete(blob_key(FILE_ID))
    assert invoke("download", sample("download"))["statusCode"] == 500
    (line,) = [line for line in printed() if line.get("level") == "ERROR"]
    assert line["correlation_id"] == sample("download")["requestContext"]["requestId"]
    assert line["service"] == NAME
    # Only the log contains the cause.
    assert "its bytes are missing" in line["message"]


SECRETS = {
    "name": "report-2.pdf",
    "access token": TOKEN,
    "password": "correct horse",
    "file password": "battery staple",
    "what is no ID": "secret-name",
}


@pytest.mark.usefixtures("cheap_passwords")
def test_what_is_logged_names_file_and_request_and_holds_no_secret(
    storage: Objects, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    upload = json.loads(json.dumps(sample("upload_put")).replace("report 2.pdf", SECRETS["name"]))
    upload["headers"] |= {"x-password": SECRETS["file password"], "accept": "application/json"}
    stored = json.loads(invoke("upload", upload)["body"])
    file_id, token = stored["file_id"], stored["delete_token"]

    download = asking_for(file_id, authorization=basic(SECRETS["file password"]))
    assert invoke("download", download)["statusCode"] == 200
    refused = asking_for(file_id, authorization=basic(SECRETS["password"]))
    assert invoke("download", refused)["statusCode"] == 401
    unknown = json.loads(json.dumps(sample("download")).replace(FILE_ID, SECRETS["what is no ID"]))
    assert invoke("download", unknown)["statusCode"] == 404
    storage.write(record_key(file_id), b"damaged")
    assert invoke("download", download)["statusCode"] == 500

    lines = [line for line in printed() if "level" in line]
    of_file = [(line["level"], line["correlation_id"]) for line in lines if line.get("file_id") == file_id]
    uploading, downloading = (event["requestContext"]["requestId"] for event in (upload, download))
    assert of_file == [
        ("INFO", uploading),
        ("INFO", downloading),
        ("INFO", downloading),
        ("ERROR", downloading),
        ("INFO", downloading),
    ]
    (other,) = [line for line in lines if line.get("file_id") != file_id]
    assert (other["message"], "file_id" in other) == ("GET /file/download/{file_id} 404", False)
    for secret in (*SECRETS.values(), token, basic(SECRETS["file password"])):
        assert secret not in json.dumps(lines)


@pytest.mark.usefixtures("cheap_passwords")
def test_no_way_to_send_a_secret_leads_to_the_log(
    storage: Objects, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    by_form = sample("upload")
    form = base64.b64decode(by_form["body"]).replace(b"report.pdf", SECRETS["name"].encode())
    head, _, _ = form.partition(b"\r\n")
    field = b'\r\nContent-Disposition: form-data; name="password"\r\n\r\n' + SECRETS["file password"].encode()
    form = head + field + b"\r\n" + form
    by_form["body"] = base64.b64encode(form).decode()
    by_form["headers"]["content-length"] = str(len(form))
    stored = json.loads(invoke("upload", by_form)["body"])
    file_id, delete_token = stored["file_id"], stored["delete_token"]

    def about(name: str, **changes: Any) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(json.dumps(sample(name)).replace(FILE_ID, file_id))
        return event | changes

    entered = f"password={quote_plus(SECRETS['file password'])}".encode()
    password = about("page_password", body=base64.b64encode(entered).decode())
    password["headers"]["content-length"] = str(len(entered))
    to_download = invoke("page", password)
    with_cookie = about("download", cookies=[to_download["cookies"][0].partition(";")[0]])
    wrong = about("change", rawQueryString=f"token={SECRETS['what is no ID']}")
    del wrong["headers"]["authorization"]
    by_token = about("delete", rawQueryString=f"token={delete_token}")
    del by_token["headers"]["authorization"]
    secret = json.dumps({"password": SECRETS["password"]})
    change = about("change", body=secret)
    change["headers"]["content-length"] = str(len(secret))
    statuses = [
        to_download["statusCode"],
        invoke("page", about("page_password"))["statusCode"],
        invoke("download", with_cookie)["statusCode"],
        invoke("change", wrong)["statusCode"],
        invoke("change", change)["statusCode"],
        invoke("upload", sample("upload_refused"))["statusCode"],
        invoke("delete", by_token)["statusCode"],
    ]
    assert statuses == [303, 401, 200, 403, 200, 401, 204]

    lines = [line for line in printed() if "level" in line]
    assert [line["level"] for line in lines] == ["INFO"] * (len(statuses) + 1)
    assert [line["message"] for line in lines if "file_id" not in line] == ["POST /file/upload 401"]
    cookie = with_cookie["cookies"][0].partition("=")[2]
    for secret in (*SECRETS.values(), delete_token, cookie, "wrong-token", entered.decode()):
        assert secret not in json.dumps(lines)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"x:{password}".encode()).decode()


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


@pytest.mark.parametrize(
    ("error", "level"), [(StorageUnavailable("of the test"), "ERROR"), (Contended("of the test"), "WARNING")]
)
def test_an_error_is_logged_for_failures_which_set_off_an_alarm_and_not_for_much_demand(
    storage: Objects,
    printed: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    level: str,
) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("shared.sharing.Shares.find", fail)
    assert invoke("download", sample("download"))["statusCode"] == 503
    lines = [line for line in printed() if "answered 503" in line.get("message", "")]
    assert [line["level"] for line in lines] == [level]


def test_a_prefetch_that_is_put_off_is_no_error_in_the_log(
    uploaded: Objects, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    assert invoke("download", asking_for(FILE_ID, **{"sec-purpose": "prefetch"}))["statusCode"] == 503
    assert {line["level"] for line in printed() if "level" in line} == {"INFO"}


COLD = """
import json, sys
from functions.{name} import handler
from tests.gateway import LambdaContext
event = json.loads(sys.stdin.read())
for _ in range(2):
    handler(event, LambdaContext())
print(json.dumps({{"modules": sorted(sys.modules)}}))
"""


@pytest.fixture
def cold(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The JSON lines that a function prints in a separate process, invoked twice with its sample event."""

    def run(name: str, **environment: str) -> list[dict[str, Any]]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SHARE_", "POWERTOOLS_"))}
        lines = python(
            COLD.format(name=name),
            json.dumps(sample(name)),
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


def python(source: str, text: str = "", environment: dict[str, str] | None = None) -> str:
    """The output of Python code in a separate process."""
    run = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=environment,
        input=text,
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


def test_the_app_loads_nothing_that_only_lambda_or_a_bucket_needs() -> None:
    loaded = json.loads(python("import functions.app, json, sys; print(json.dumps(sorted(sys.modules)))"))
    assert "functions.app" in loaded
    assert not {"mangum", "botocore", "aws_lambda_powertools"} & set(loaded)
