"""docs/aws.md agrees with the template, and its commands are valid for make, AWS and the API."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from typing import Any

import boto3.session
import pytest
from botocore import xform_name
from botocore.validate import ParamValidator

from tests.api.client import Api
from tests.pages import PAGES, ROOT, table
from tests.test_template import FUNCTIONS, TEMPLATE, alarmed, only

AWS = PAGES["docs/aws.md"]

VARIABLES = {
    "SECRET": "arn:aws:secretsmanager:us-east-1:123456789012:secret:ApiToken",
    "BUCKET": "files-of-ours",
    "SEAL": "arn:aws:lambda:us-east-1:123456789012:function:seal",
    "QUEUE": "https://sqs.us-east-1.amazonaws.com/123456789012/queue",
    "TOKEN": "old",
    "NEW_TOKEN": "new",
    "URL": "https://files.example.org",
}
# Options of the command line itself.
OF_THE_COMMAND_LINE = {"query", "output"}


def commands(program: str) -> list[str]:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", AWS, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.search(rf"(^|\$\(|\" ){program} ", line)]


def arguments(program: str, command: str) -> list[str]:
    """The arguments of a command after shell parsing."""
    script = f"{program}() {{ printf '%s\\0' \"$@\"; }}; {command}"
    environment = {"PATH": os.environ["PATH"], **VARIABLES}
    result = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, check=True)
    return result.stdout.split("\0")[:-1]


@functools.cache
def client_of(service: str) -> Any:
    """A client of this service, which reads a long description of it."""
    session: Any = boto3.session.Session(region_name="us-east-1")
    return session.client(service)


def request(command: str) -> tuple[str, str, dict[str, Any]]:
    """Service, operation and parameters of an AWS command, with the API's names."""
    service, operation, *options = arguments("aws", command)
    client = client_of(service.removesuffix("api"))
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation.replace("-", "_")])
    members = {} if model.input_shape is None else model.input_shape.members
    names = {xform_name(name, "-"): name for name in members}
    parameters: dict[str, Any] = {}
    for flag, value in zip(options[::2], options[1::2], strict=True):
        name = flag.removeprefix("--")
        if name not in OF_THE_COMMAND_LINE:
            member = members[names[name]]
            parameters[names[name]] = json.loads(value) if member.type_name in ("structure", "list") else value
    if model.input_shape is not None:
        report = ParamValidator().validate(parameters, model.input_shape)
        assert not report.has_errors(), report.generate_report()
    return service, operation, parameters


CALLS = [command for command in commands("aws") if command.startswith("aws ")]


@pytest.mark.parametrize("command", CALLS)
def test_aws_knows_each_command(command: str) -> None:
    request(command)


def test_the_commands_are_found() -> None:
    assert len(CALLS) >= 12


@pytest.mark.parametrize("command", commands("make"))
def test_make_knows_each_command(command: str) -> None:
    script = command.replace("make ", "make --dry-run ", 1)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment | VARIABLES, check=True, capture_output=True)


def test_an_existing_bucket_is_set_up_as_our_own_is() -> None:
    setups = {
        operation: arguments for _, operation, arguments in map(request, CALLS) if operation.startswith("put-bucket-")
    }
    assert {arguments["Bucket"] for arguments in setups.values()} == {VARIABLES["BUCKET"]}
    bucket = only("AWS::S3::Bucket")["Properties"]

    (rule,) = setups["put-bucket-cors"]["CORSConfiguration"]["CORSRules"]
    (ours,) = bucket["CorsConfiguration"]["CorsRules"]
    assert rule == {
        "AllowedMethods": ours["AllowedMethods"],
        "AllowedOrigins": ours["AllowedOrigins"],
        "AllowedHeaders": ours["AllowedHeaders"],
        "ExposeHeaders": ours["ExposedHeaders"],
        "MaxAgeSeconds": ours["MaxAge"],
    }

    (rule,) = setups["put-bucket-lifecycle-configuration"]["LifecycleConfiguration"]["Rules"]
    (ours,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == ours["AbortIncompleteMultipartUpload"]

    notification = setups["put-bucket-notification-configuration"]["NotificationConfiguration"]
    (notified,) = notification["LambdaFunctionConfigurations"]
    (event,) = FUNCTIONS["seal"]["Properties"]["Events"].values()
    assert notified["LambdaFunctionArn"] == VARIABLES["SEAL"]
    assert notified["Events"] == [event["Properties"]["Events"]]
    assert notified["Filter"]["Key"]["FilterRules"] == event["Properties"]["Filter"]["S3Key"]["Rules"]


def test_a_name_that_no_path_carries_is_stored_by_the_command_shown(api: Api) -> None:
    (command,) = commands("curl")
    *_, url = arguments("curl", command)
    headers = {"Content-Type": "application/octet-stream"}
    stored = api.request("PUT", url.removeprefix(VARIABLES["URL"]), headers, b"x").json()
    assert stored["original_name"] == "100% sure?.txt"


def test_every_parameter_is_listed_with_its_default() -> None:
    rows = table("parameter", "default", "meaning")
    listed = {name: default for names, default, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed.keys() == TEMPLATE["Parameters"].keys()
    for name, parameter in TEMPLATE["Parameters"].items():
        assert str(parameter["Default"]) in listed[name]
        assert parameter["Default"] != "" or "none" in listed[name] or name == "PublicUrl"


def test_the_costs_add_up() -> None:
    rows = table("item", "price", "idle", "100 KB", "100 MB")
    (end,) = [number for number, row in enumerate(rows) if row[0] == "**sum**"]
    assert end > 5
    for column in (2, 3, 4):
        *parts, total = [float(row[column].strip("*").replace(",", "")) for row in rows[: end + 1]]
        assert sum(parts) == pytest.approx(total)
    assert f"Idle, it costs\nabout ${rows[end][2].strip('*')} a month" in AWS
    # What is off by default is not part of the sum.
    optional = {row[0].strip("`") for row in rows[end + 1 :]}
    assert {"AlarmTopicArn", "Dashboard", "Tracing", "KmsKeyArn"} <= optional


def test_the_alarms_cost_what_the_page_says() -> None:
    metrics = sum(map(len, alarmed().values()))
    assert f"each of {metrics} alarm metrics" in AWS
    # Plus the custom metric of logged errors.
    assert f"[alarms](#alarms-logs-and-metrics): ${metrics * 0.10 + 0.30:.2f} per month" in AWS
