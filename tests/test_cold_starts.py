"""What a Lambda function does when its module is imported, and what it leaves to its first event."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.odd_s3 import OddS3, Quirk, odd_s3
from tests.samples import sample
from tests.servers import S3Server

ROOT = Path(__file__).parent.parent
BUCKET = "shares"
# An address without a listener.
NOWHERE = "http://127.0.0.1:9"

# Imports one function, calls it with an event if there is one, and prints the result.
SCRIPT = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
report = {
    "loaded": sorted({"mangum", "urllib3", "aws_lambda_powertools"} & set(sys.modules)),
    "prepared": hasattr(module.handler, "service"),
}
if len(sys.argv) > 2:
    from tests.gateway import LambdaContext
    report["answer"] = module.handler(json.loads(sys.argv[2]), LambdaContext())
print("report", json.dumps(report))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def odd(s3_server: S3Server) -> Iterator[OddS3]:
    with odd_s3(s3_server) as odd:
        yield odd


@pytest.fixture
def start(odd: OddS3) -> Run:
    """Start a process that imports `module`, as the function with the handler `runs`, on an empty prefix of storage."""

    def run(module: str, *arguments: str, runs: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
        variables = {
            **inherited,
            **odd.server.environment(),
            "AWS_LAMBDA_FUNCTION_NAME": "share",
            "_HANDLER": runs,
            "SHARE_STORAGE": f"s3://{BUCKET}/{uuid.uuid4()}",
            **environment,
        }
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, module, *arguments],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def report(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    [line] = [line for line in run.stdout.splitlines() if line.startswith("report ")]
    result: dict[str, Any] = json.loads(line.removeprefix("report "))
    return result


EVERYTHING = ["aws_lambda_powertools", "mangum", "urllib3"]


@pytest.mark.parametrize(
    ("name", "loaded", "proven"),
    [
        ("download", EVERYTHING, True),
        ("app", EVERYTHING, True),
        ("get_metadata", EVERYTHING, False),
        ("sweep", ["aws_lambda_powertools", "urllib3"], True),
    ],
)
def test_a_function_is_ready_once_lambda_has_imported_it(
    start: Run, odd: OddS3, name: str, loaded: list[str], proven: bool
) -> None:
    """Functions that count or change something have also checked that storage honours conditions."""
    ready = report(start(f"functions.{name}", runs=f"functions.{name}.handler"))
    assert ready == {"loaded": loaded, "prepared": True}
    assert any("/probe/" in target for method, target in odd.requests if method == "PUT") is proven


def test_a_module_that_is_not_the_function_puts_nothing_together(start: Run) -> None:
    """The whole application imports all of them."""
    nothing = {"loaded": [], "prepared": False}
    assert report(start("functions.app", runs="functions.upload.handler.not")) == nothing


def test_storage_that_does_not_answer_a_start_is_left_to_the_first_event(start: Run) -> None:
    started = report(
        start(
            "functions.health", json.dumps(sample("health")), runs="functions.health.handler", AWS_ENDPOINT_URL=NOWHERE
        )
    )
    assert started["answer"]["statusCode"] == 503
    run = start(
        "functions.download",
        json.dumps(sample("download")),
        runs="functions.download.handler",
        AWS_ENDPOINT_URL=NOWHERE,
    )
    started = report(run)
    assert started["answer"]["statusCode"] == 503
    assert json.loads(started["answer"]["body"])["type"].endswith("storage-unavailable")


@pytest.mark.parametrize("quirk", [Quirk.IGNORES_CONDITIONS, Quirk.REFUSES_CONDITIONS])
@pytest.mark.parametrize("name", ["upload", "sweep"])
def test_a_function_over_storage_without_conditions_does_not_start(
    start: Run, odd: OddS3, name: str, quirk: Quirk
) -> None:
    odd.quirks = {quirk}
    run = start(f"functions.{name}", runs=f"functions.{name}.handler")
    assert run.returncode != 0
    assert "InvalidSetting: SHARE_STORAGE cannot be used: its S3 server " in run.stderr


def test_a_wrong_setting_is_named_when_a_function_starts(start: Run) -> None:
    run = start("functions.upload", runs="functions.upload.handler", SHARE_MAX_FILE_SIZE="banana")
    assert run.returncode != 0
    assert "InvalidSetting: SHARE_MAX_FILE_SIZE must be a whole number" in run.stderr


def test_a_secret_that_cannot_be_read_at_a_cold_start_is_a_503(start: Run) -> None:
    run = start(
        "functions.upload",
        json.dumps(sample("upload")),
        runs="functions.upload.handler",
        SHARE_API_TOKEN_SECRET="no-such-secret",
    )
    answer = report(run)["answer"]
    assert answer["statusCode"] == 503
    assert "Retry-After" in answer["headers"] or "retry-after" in answer["headers"]


def test_the_page_says_that_uploads_need_a_token_that_it_cannot_read(start: Run) -> None:
    event = {**sample("download"), "routeKey": "GET /", "rawPath": "/", "pathParameters": {}}
    event["requestContext"]["http"] |= {"path": "/"}
    answer = report(
        start(
            "functions.page",
            json.dumps(event),
            runs="functions.page.handler",
            SHARE_API_TOKEN_SECRET="no-such-secret",
        )
    )["answer"]
    assert answer["statusCode"] == 200
    assert "&#34;token_required&#34;: true" in answer["body"]
