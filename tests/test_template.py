"""The template: it matches the code, grants minimal permissions, and is valid after SAM has translated it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import json
from pathlib import Path
from typing import Any

import boto3.session
import pytest
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.template import read
from shared.settings import Settings
from shared.storage.keys import raw_key
from shared.sweeping import Swept
from shared.telemetry import NAME, NAMESPACE
from shared.time_limit import TimeLimit
from tests.environment import Questions
from tests.gateway import WHOLE, routes
from tests.pages import table

ROOT = Path(__file__).resolve().parent.parent

Properties = dict[str, Any]


TEMPLATE: Properties = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
GLOBALS: Properties = TEMPLATE["Globals"]["Function"]


def resources(kind: str) -> dict[str, Properties]:
    return {name: resource for name, resource in TEMPLATE["Resources"].items() if resource["Type"] == kind}


def only(kind: str) -> Properties:
    (resource,) = resources(kind).values()
    return resource


def module_of(properties: Properties) -> str:
    package, module, handler = properties["Handler"].split(".")
    assert (package, handler) == ("functions", "handler")
    return str(module)


# By the name of their file in functions/.
FUNCTIONS = {
    module_of(resource["Properties"]): resource for resource in resources("AWS::Serverless::Function").values()
}


# The permissions for a KMS key, if there is one.
KEY = {"Fn::If": ["KeyOn", {"Ref": "KeyPolicy"}, {"Ref": "AWS::NoValue"}]}
# In every statement on S3: anyone who takes over the name of a deleted bucket gets nothing from us.
ACCOUNT = {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(module: str) -> list[Properties]:
    policies = FUNCTIONS[module]["Properties"].get("Policies", [])
    return [statement for policy in policies if policy != KEY for statement in policy["Statement"]]


def allowed(module: str) -> set[tuple[str, str]]:
    """Each action with its resources: key patterns in the bucket, such as `files/*`, or names of other resources."""
    permissions = set()
    for statement in statements(module):
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                permissions.add((action, target(resource)))
    return permissions


def target(resource: Properties) -> str:
    match resource:
        case {"Fn::Sub": str(text)} if text.startswith("${BucketArn.Value}/"):
            return text.removeprefix("${BucketArn.Value}/")
        case {"Fn::GetAtt": ["BucketArn", "Value"]} | {"Fn::GetAtt": "BucketArn.Value"}:
            return "Bucket"
        case {"Ref": str(name)}:
            return name
    raise AssertionError(f"not one of our own resources: {resource}")


def takes_token(module: str) -> bool:
    """Whether a client can send an access token to one of its endpoints."""
    router = getattr(importlib.import_module(f"functions.{module}"), "router", None)
    schemes = [each.dependency for endpoint in router.endpoints for each in endpoint.dependencies] if router else []
    return any(scheme.scheme_name == "ApiToken" for scheme in schemes)


def variables(module: str) -> Properties:
    own = FUNCTIONS[module]["Properties"].get("Environment", {}).get("Variables", {})
    return {**GLOBALS["Environment"]["Variables"], **own}


# --- the code ---


def test_every_handler_has_a_function_and_every_function_a_handler() -> None:
    sources = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__"}
    assert set(FUNCTIONS) == sources
    assert len(FUNCTIONS) == len(resources("AWS::Serverless::Function"))
    for module in FUNCTIONS:
        assert callable(importlib.import_module(f"functions.{module}").handler)


def test_a_function_is_named_after_its_file() -> None:
    for name, resource in resources("AWS::Serverless::Function").items():
        assert name == module_of(resource["Properties"]).title().replace("_", "") + "Function"


def test_the_routes_are_those_of_the_routers() -> None:
    deployed = []
    for module, resource in FUNCTIONS.items():
        for event in resource["Properties"].get("Events", {}).values():
            if event["Type"] == "HttpApi":
                properties = event["Properties"]
                assert properties["ApiId"] == {"Ref": "Api"}
                deployed.append((properties.get("Method", "ANY"), properties.get("Path", "$default"), module))
    assert len(deployed) == len(set(deployed))
    assert set(deployed) == {(route.method, route.path, route.function) for route in routes()}


def test_only_the_sweep_has_a_schedule_and_only_the_seal_is_notified() -> None:
    kinds = {
        module: {event["Type"] for event in resource["Properties"]["Events"].values()}
        for module, resource in FUNCTIONS.items()
    }
    assert kinds.pop("sweep") == {"Schedule"}
    assert kinds.pop("seal") == {"S3"}
    assert set(map(frozenset, kinds.values())) == {frozenset({"HttpApi"})}


def test_every_variable_is_one_that_the_settings_read() -> None:
    environment = Questions()
    Settings.from_environment(environment)
    for module in FUNCTIONS:
        assert set(variables(module)) <= environment.asked


def test_the_defaults_are_settings_that_the_functions_start_with() -> None:
    defaults = {name: parameter["Default"] for name, parameter in TEMPLATE["Parameters"].items()}
    settings = Settings.from_environment(
        {
            "AWS_LAMBDA_FUNCTION_NAME": "share",
            "SHARE_STORAGE": f"s3://{defaults['BucketPrefix']}-123456789012-eu-central-1",
            "SHARE_PUBLIC_URL": defaults["PublicUrl"],
            "SHARE_CORS_ORIGINS": defaults["CorsOrigins"],
            "SHARE_TITLE": defaults["Title"],
            "SHARE_ACCENT": defaults["Accent"],
            "SHARE_MAX_FILE_SIZE": defaults["MaxFileSize"],
        }
    )
    assert settings.max_file_size == Settings.max_file_size
    assert settings.inline_limit is not None


def test_the_seal_is_notified_of_direct_uploads() -> None:
    (event,) = FUNCTIONS["seal"]["Properties"]["Events"].values()
    # `compose` creates small raw objects with PutObject, and those are not uploads.
    assert event["Properties"] == {
        "Bucket": {"Ref": "Bucket"},
        "Events": "s3:ObjectCreated:CompleteMultipartUpload",
        "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": raw_key("")}]}},
    }


def test_pages_of_any_site_that_may_use_the_api_may_send_parts() -> None:
    (rule,) = only("AWS::S3::Bucket")["Properties"]["CorsConfiguration"]["CorsRules"]
    # Without the ETags of its parts, no client can complete an upload.
    assert ("PUT" in rule["AllowedMethods"], rule["ExposedHeaders"]) == (True, ["ETag"])
    # The upload page is at the gateway's own address, which the template cannot name here.
    assert rule["AllowedOrigins"] == ["*"]


def test_files_are_kept_in_the_bucket_that_the_functions_may_use() -> None:
    name = only("AWS::S3::Bucket")["Properties"]["BucketName"]["Fn::Sub"]
    choices = {
        "s3://": GLOBALS["Environment"]["Variables"]["SHARE_STORAGE"],
        "arn:${AWS::Partition}:s3:::": only("AWS::SSM::Parameter")["Properties"]["Value"],
    }
    for beginning, choice in choices.items():
        own, existing = ({"Fn::Sub": f"{beginning}{bucket}"} for bucket in (name, "${ExistingBucket}"))
        assert choice == {"Fn::If": ["OwnBucket", own, existing]}
    assert only("AWS::S3::Bucket")["Condition"] == only("AWS::S3::BucketPolicy")["Condition"] == "OwnBucket"
    assert TEMPLATE["Conditions"]["OwnBucket"] == {"Fn::Equals": [{"Ref": "ExistingBucket"}, ""]}


def test_a_function_has_an_answer_before_it_is_ended_and_the_gateway_gives_up_last() -> None:
    limit = TimeLimit()
    # Two seconds for the handler itself, and to return an answer of 6 MB.
    assert limit.last_try + limit.connect + limit.read + 2 <= GLOBALS["Timeout"] < 30


# --- permissions ---


def test_every_action_is_written_out_and_on_resources_of_the_stack() -> None:
    for module in FUNCTIONS:
        for action, resource in allowed(module):
            assert "*" not in action
            assert resource in ("Bucket", "ApiToken", "secret") or resource.endswith("/*")


@pytest.mark.parametrize("module", FUNCTIONS)
def test_the_token_is_known_only_where_it_is_checked(module: str) -> None:
    checks = module == WHOLE or takes_token(module)
    assert ("SHARE_API_TOKEN_SECRET" in variables(module)) == checks
    assert (("secretsmanager:GetSecretValue", "ApiToken") in allowed(module)) == checks


@pytest.mark.parametrize("module", FUNCTIONS)
def test_readers_may_list_so_that_a_missing_key_is_not_forbidden(module: str) -> None:
    reads = any(action == "s3:GetObject" for action, _ in allowed(module))
    conditions = [
        statement.get("Condition")
        for statement in statements(module)
        if "s3:ListBucket" in as_list(statement["Action"])
    ]
    assert not reads or conditions == [{"StringEquals": ACCOUNT}]


MAY_CHANGE = {
    "upload": {
        ("s3:PutObject", "files/*"),
        ("s3:AbortMultipartUpload", "files/*"),
        ("s3:DeleteObject", "files/*"),
        ("s3:PutObject", "metadata/*"),
        ("s3:PutObject", "expiries/*"),
        ("s3:DeleteObject", "expiries/*"),
        ("s3:PutObject", "inboxes/*"),
        ("s3:PutObject", "secret"),
    },
    "direct_upload": {
        ("s3:PutObject", "raw/*"),
        ("s3:DeleteObject", "raw/*"),
        ("s3:AbortMultipartUpload", "raw/*"),
        ("s3:DeleteObject", "files/*"),
        ("s3:PutObject", "metadata/*"),
        ("s3:PutObject", "expiries/*"),
        ("s3:PutObject", "inboxes/*"),
        ("s3:PutObject", "secret"),
    },
    "download": {
        ("s3:PutObject", "raw/*"),
        ("s3:DeleteObject", "raw/*"),
        ("s3:AbortMultipartUpload", "raw/*"),
        ("s3:PutObject", "metadata/*"),
        ("s3:PutObject", "counts/*"),
        ("s3:DeleteObject", "counts/*"),
        ("s3:PutObject", "expiries/*"),
        ("s3:PutObject", "secret"),
    },
    "seal": {
        ("s3:PutObject", "files/*"),
        ("s3:DeleteObject", "files/*"),
        ("s3:AbortMultipartUpload", "files/*"),
        ("s3:PutObject", "metadata/*"),
    },
    "inbox": {("s3:PutObject", "inboxes/*"), ("s3:PutObject", "expiries/*"), ("s3:PutObject", "secret")},
    "get_metadata": {("s3:PutObject", "secret")},
    "page": {("s3:PutObject", "secret")},
    "entries": {("s3:PutObject", "secret")},
    "change": {
        ("s3:PutObject", "metadata/*"),
        ("s3:PutObject", "counts/*"),
        ("s3:DeleteObject", "counts/*"),
        ("s3:PutObject", "expiries/*"),
        ("s3:PutObject", "secret"),
    },
    "delete": {
        ("s3:DeleteObject", "files/*"),
        ("s3:DeleteObject", "raw/*"),
        ("s3:AbortMultipartUpload", "raw/*"),
        ("s3:PutObject", "metadata/*"),
        ("s3:DeleteObject", "counts/*"),
        ("s3:PutObject", "expiries/*"),
        ("s3:PutObject", "inboxes/*"),
        ("s3:PutObject", "secret"),
    },
    "sweep": {
        ("s3:PutObject", "files/*"),
        ("s3:DeleteObject", "raw/*"),
        ("s3:AbortMultipartUpload", "raw/*"),
        ("s3:DeleteObject", "files/*"),
        ("s3:AbortMultipartUpload", "files/*"),
        ("s3:PutObject", "metadata/*"),
        ("s3:DeleteObject", "metadata/*"),
        ("s3:PutObject", "counts/*"),
        ("s3:DeleteObject", "counts/*"),
        ("s3:PutObject", "expiries/*"),
        ("s3:DeleteObject", "expiries/*"),
        ("s3:PutObject", "inboxes/*"),
        ("s3:DeleteObject", "inboxes/*"),
    },
}
READING = (
    "s3:GetObject",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
    "secretsmanager:GetSecretValue",
)


# The HTTP functions, which make up the whole application.
ENDPOINTS = FUNCTIONS.keys() - {"seal", "sweep", WHOLE}

# Functions that count or change something check first whether the bucket honours conditional writes.
PROVING = {"upload", "direct_upload", "inbox", "download", "change", "delete", "seal", "sweep"}
for each in PROVING:
    MAY_CHANGE[each] |= {("s3:PutObject", "probe/*"), ("s3:DeleteObject", "probe/*")}
MAY_CHANGE[WHOLE] = set().union(*(MAY_CHANGE.get(module, set()) for module in ENDPOINTS))


@pytest.mark.parametrize("module", FUNCTIONS)
def test_a_function_may_change_what_it_has_to_and_no_more(module: str) -> None:
    changes = {(action, resource) for action, resource in allowed(module) if action not in READING}
    assert changes == MAY_CHANGE.get(module, set())


def test_functions_that_change_records_may_check_conditions() -> None:
    for module in FUNCTIONS:
        changes = allowed(module) & {("s3:PutObject", "metadata/*"), ("s3:PutObject", "inboxes/*")}
        # S3 allows If-Match only to those who may read.
        proves = {(f"s3:{verb}Object", "probe/*") for verb in ("Get", "Put", "Delete")}
        assert proves & allowed(module) == (proves if changes else set())


def test_only_what_shows_bytes_of_files_may_read_them() -> None:
    readers = {module for module in FUNCTIONS if ("s3:GetObject", "files/*") in allowed(module)}
    assert readers == {"download", "entries", WHOLE}


def test_functions_that_show_the_count_of_an_older_file_may_read_its_cells() -> None:
    # If the answer to a completion was lost, the client completes it again, and the file may be hot by then.
    readers = {module for module in FUNCTIONS if ("s3:GetObject", "counts/*") in allowed(module)}
    # The sweep folds the cells of files that are no longer hot.
    assert readers == {"get_metadata", "list_metadata", "change", "download", "direct_upload", "page", "sweep", WHOLE}


def test_the_whole_app_has_the_rights_of_every_endpoint_and_no_others() -> None:
    assert allowed(WHOLE) == set().union(*map(allowed, ENDPOINTS))


def test_the_whole_app_has_every_variable_of_an_endpoint() -> None:
    # Above all that of the token: otherwise, anyone could upload through a path that ends in a slash.
    needed = {name: value for module in ENDPOINTS for name, value in variables(module).items()}
    assert variables(WHOLE) == needed
    assert needed["SHARE_API_TOKEN_SECRET"] == {"Ref": "ApiToken"}


def test_the_signing_key_may_be_made_but_not_replaced() -> None:
    for module in FUNCTIONS:
        for statement in statements(module):
            on_key = "secret" in map(target, as_list(statement["Resource"]))
            if on_key and "s3:PutObject" in as_list(statement["Action"]):
                assert statement["Condition"] == {"Null": {"s3:if-none-match": "false"}, "StringEquals": ACCOUNT}


@pytest.mark.parametrize("module", FUNCTIONS)
def test_storage_is_reached_only_in_the_account_of_the_stack(module: str) -> None:
    for statement in statements(module):
        on_s3 = {action.startswith("s3:") for action in as_list(statement["Action"])}
        assert len(on_s3) == 1
        if on_s3 == {True}:
            assert statement["Condition"]["StringEquals"].items() >= ACCOUNT.items()


@pytest.mark.parametrize("module", FUNCTIONS)
def test_a_function_that_handles_objects_or_the_token_has_the_right_to_their_key(module: str) -> None:
    handles = {action for action, _ in allowed(module)} - {"s3:ListBucket"}
    assert (KEY in FUNCTIONS[module]["Properties"]["Policies"]) == bool(handles)


# --- resources ---


def test_the_bucket_outlives_the_stack_but_not_a_first_deployment_that_fails() -> None:
    for kind in ("AWS::S3::Bucket", "AWS::S3::BucketPolicy"):
        # If a failed creation left the bucket behind, every further one would fail, because the name is taken.
        assert only(kind)["DeletionPolicy"] == "RetainExceptOnCreate"
        assert only(kind)["UpdateReplacePolicy"] == "Retain"


def test_functions_run_on_what_they_are_built_for() -> None:
    assert GLOBALS["Runtime"] == "python3.13"
    assert GLOBALS["Architectures"] == [{"Ref": "Architecture"}]
    assert TEMPLATE["Parameters"]["Architecture"]["Default"] == "arm64"


def test_every_route_is_throttled_by_the_parameters() -> None:
    settings = only("AWS::Serverless::HttpApi")["Properties"]["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == {"Ref": "ThrottlingRate"}
    assert settings["ThrottlingBurstLimit"] == {"Ref": "ThrottlingBurst"}


def alarmed() -> dict[tuple[str, str], list[str]]:
    """The metrics with alarms: namespace and name, with their dimensions."""
    dimensions: dict[tuple[str, str], list[str]] = {}
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        assert (properties["Threshold"], properties["TreatMissingData"]) == (1, "notBreaching")
        assert properties["AlarmActions"] == [{"Ref": "AlarmTopicArn"}]
        metrics = [each["MetricStat"]["Metric"] for each in properties.get("Metrics", []) if "MetricStat" in each]
        for metric in metrics or [properties]:
            namespace = metric["Namespace"]
            key = (namespace if isinstance(namespace, str) else namespace["Fn::Sub"], metric["MetricName"])
            (dimension,) = metric.get("Dimensions") or [{"Value": None}]
            dimensions.setdefault(key, []).append(json.dumps(dimension["Value"]))
    return dimensions


def test_alarms_ring_for_failures_and_not_for_answers_that_ask_to_come_again() -> None:
    interactive = {
        json.dumps({"Ref": name})
        for name, resource in resources("AWS::Serverless::Function").items()
        if module_of(resource["Properties"]) not in ("seal", "sweep")
    }
    ringing = alarmed()
    for metric in ("Errors", "Throttles"):
        functions = ringing.pop(("AWS/Lambda", metric))
        assert set(functions) == interactive
        assert len(functions) == len(interactive)
    queues = ringing.pop(("AWS/SQS", "ApproximateNumberOfMessagesVisible"))
    assert queues == [json.dumps({"Fn::GetAtt": [name, "QueueName"]}) for name in ("SweepFailures", "SealFailures")]
    # An alarm on the gateway's 5xx would also ring for prefetches and busy files.
    assert ringing.keys() == {("SimpleFileSharing/${AWS::StackName}", "LoggedErrors")}


def test_logged_errors_are_those_that_our_log_calls_so() -> None:
    (transformation,) = only("AWS::Logs::MetricFilter")["Properties"]["MetricTransformations"]
    assert transformation["MetricName"] == "LoggedErrors"
    assert transformation["MetricNamespace"] == {"Fn::Sub": "SimpleFileSharing/${AWS::StackName}"}
    # As `shared.telemetry` writes it; tests/test_lambda.py looks at such lines.
    assert only("AWS::Logs::MetricFilter")["Properties"]["FilterPattern"] == '{ $.level = "ERROR" }'
    assert only("AWS::Logs::MetricFilter")["Properties"]["LogGroupName"] == {"Ref": "Logs"}


def test_a_seal_that_fails_for_good_is_kept_in_a_queue() -> None:
    destination = TEMPLATE["Resources"]["SealFunction"]["Properties"]["EventInvokeConfig"]["DestinationConfig"]
    assert destination == {"OnFailure": {"Type": "SQS", "Destination": {"Fn::GetAtt": ["SealFailures", "Arn"]}}}
    for queue in resources("AWS::SQS::Queue").values():
        # Two weeks, the maximum.
        assert queue["Properties"] == {"MessageRetentionPeriod": 1209600, "SqsManagedSseEnabled": True}


def test_a_sweep_that_fails_or_does_not_start_is_kept_in_a_queue() -> None:
    arn = {"Fn::GetAtt": ["SweepFailures", "Arn"]}
    sweep = TEMPLATE["Resources"]["SweepFunction"]["Properties"]
    assert sweep["DeadLetterQueue"] == {"Type": "SQS", "TargetArn": arn}
    (schedule,) = sweep["Events"].values()
    assert schedule["Properties"]["DeadLetterConfig"] == {"Arn": arn}


def test_the_bucket_is_private() -> None:
    properties = only("AWS::S3::Bucket")["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (encryption,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == {"Fn::If": ["KeyOn", "aws:kms", "AES256"]}
    (statement,) = only("AWS::S3::BucketPolicy")["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_unfinished_uploads_do_not_stay() -> None:
    (rule,) = only("AWS::S3::Bucket")["Properties"]["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    # Nothing else may be deleted by age: files stay until they expire.
    assert set(rule) == {"Id", "Status", "AbortIncompleteMultipartUpload"}


def test_every_log_is_kept_for_a_limited_time() -> None:
    groups = resources("AWS::Logs::LogGroup")
    assert all(group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    assert GLOBALS["LoggingConfig"]["LogGroup"]["Ref"] in groups


def test_the_access_log_holds_no_path_and_no_query() -> None:
    text, names = only("AWS::Serverless::HttpApi")["Properties"]["AccessLogSettings"]["Format"]["Fn::Sub"]
    condition, address, nothing = names["Address"]["Fn::If"]
    fields = {"requestId", "requestTime", "routeKey", "status", "responseLength", "responseLatency"}
    expected = {f"$context.{name}" for name in (*fields, "integrationErrorMessage")}
    assert set(json.loads(text.replace("${Address}", nothing)).values()) == expected
    # The client's address is personal data, and is logged only if the operator enables it.
    assert TEMPLATE["Conditions"][condition] == {"Fn::Equals": [{"Ref": "LogClientAddress"}, "Enabled"]}
    entry = json.loads(text.replace("${Address}", address))
    assert set(entry.values()) == expected | {"$context.identity.sourceIp"}


def test_what_costs_money_while_idle_is_off() -> None:
    defaults = {name: parameter["Default"] for name, parameter in TEMPLATE["Parameters"].items()}
    assert (defaults["Tracing"], defaults["AlarmTopicArn"], defaults["Dashboard"]) == ("Disabled", "", "Disabled")
    assert all(alarm["Condition"] == "AlarmsOn" for alarm in resources("AWS::CloudWatch::Alarm").values())
    assert only("AWS::CloudWatch::Dashboard")["Condition"] == "DashboardOn"
    for resource in FUNCTIONS.values():
        properties = {**GLOBALS, **resource["Properties"]}
        assert not properties.keys() & {"SnapStart", "ProvisionedConcurrencyConfig", "AutoPublishAlias"}
        assert properties["Tracing"] == {"Ref": "Tracing"}


# --- the translation ---


@functools.cache
def translated(**parameters: str) -> Properties:
    """The template that CloudFormation receives, as if the functions had been built and uploaded."""
    template = copy.deepcopy(TEMPLATE)
    for name, value in parameters.items():
        # For the linter, which tries every allowed value of a parameter.
        template["Parameters"][name]["Default"] = value
        template["Parameters"][name].pop("AllowedValues", None)
    template["Globals"]["Function"]["CodeUri"] = "s3://artefacts/functions"
    session = boto3.session.Session(region_name="us-east-1")
    result: Properties = Translator({}, Parser(), boto_session=session).translate(template, parameters)
    return result


# Without the translation, linters miss cycles, wrong runtimes and more.
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {
            "Architecture": "x86_64",
            "CorsOrigins": "https://a.example,https://b.example",
            "Tracing": "Active",
            "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms",
            "Dashboard": "Active",
            "DomainName": "files.example.org",
            "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/0",
            "HostedZoneId": "Z0123456789",
            "ExistingBucket": "files-of-ours",
            "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/0",
            "LogClientAddress": "Enabled",
        },
        {"DomainName": "files.example.org", "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/0"},
    ],
    ids=["defaults", "everything", "domain elsewhere"],
)
def test_the_translation_is_sound(parameters: dict[str, str]) -> None:
    # Imported here, because that takes half a second, and only one worker runs this.
    from cfnlint.api import lint  # type: ignore[import-untyped]

    # Errors and warnings, but no information. SAM drops a parameter that it has evaluated itself (W2001).
    matches = lint(json.dumps(translated(**parameters)), config={"ignore_checks": ["I", "W2001"]})
    assert [str(match) for match in matches] == []


def test_the_gateway_has_a_route_for_each_of_the_apps() -> None:
    (document,) = (
        resource["Properties"]["Body"]
        for resource in translated()["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Api"
    )
    keys = {
        "$default" if path == "/$default" or path == "$default" else f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    # An HTTP API has no such route, and an import silently drops it:
    # https://github.com/aws/serverless-application-model/issues/1949
    assert {key for key in keys if key.endswith("/")} == {"GET /", "HEAD /"}
    assert keys == {route.key for route in routes()}


def test_a_domain_replaces_the_address_of_the_gateway() -> None:
    template = translated(
        DomainName="files.example.org", CertificateArn="arn:aws:acm:us-east-1:123456789012:certificate/0"
    )
    (server,) = template["Resources"]["Api"]["Properties"]["Body"]["servers"]
    endpoint = server["x-amazon-apigateway-endpoint-configuration"]
    # Otherwise, clients could use the old address to bypass the protection of the new one.
    assert endpoint == {"disableExecuteApiEndpoint": {"Fn::If": ["DomainOn", True, False]}}
    assert template["Outputs"]["Url"]["Value"]["Fn::If"][:2] == ["DomainOn", {"Fn::Sub": "https://${DomainName}"}]
    mapping = template["Resources"]["DomainMapping"]["Properties"]
    # A base path would be part of every path that the functions see.
    assert mapping == {
        "ApiId": {"Ref": "Api"},
        "DomainName": {"Ref": "Domain"},
        "Stage": {"Ref": "ApiApiGatewayDefaultStage"},
    }
    assert "ApiApiGatewayDefaultStage" in template["Resources"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ""),
        ({"DomainName": "files.example.org"}, "https://files.example.org"),
        ({"DomainName": "files.example.org", "PublicUrl": "https://cdn.example.org"}, "https://cdn.example.org"),
    ],
)
def test_links_follow_the_domain(parameters: dict[str, str], expected: str) -> None:
    for function in read(ROOT / "template.yaml", parameters).functions.values():
        assert function.environment["SHARE_PUBLIC_URL"] == expected


def test_an_existing_bucket_is_used_and_left_as_it_is() -> None:
    template = read(ROOT / "template.yaml", {"ExistingBucket": "files-of-ours"})
    assert template.buckets == ()
    assert {function.environment["SHARE_STORAGE"] for function in template.functions.values()} == {"s3://files-of-ours"}
    # The account's operator sets up its notifications, and any bucket of that account may call the function.
    permission = translated(ExistingBucket="files-of-ours")["Resources"]["SealFunctionUploadedPermission"]
    assert permission["Properties"]["SourceAccount"] == {"Ref": "AWS::AccountId"}
    assert "Condition" not in permission
    assert "SealFunctionArn" in TEMPLATE["Outputs"]


METRICS = {
    "Uploads",
    "UploadedBytes",
    "Downloads",
    "DownloadedBytes",
    "Sealed",
    "CounterConflicts",
    "Retries",
    "ColdStart",
}


def test_the_dashboard_shows_every_metric_of_the_functions() -> None:
    body = only("AWS::CloudWatch::Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(body)["widgets"]
    places = [(widget["x"], widget["y"]) for widget in widgets]
    assert len(places) == len(set(places))
    metrics = set()
    for widget in widgets:
        for first, *rest in widget["properties"]["metrics"]:
            if first == NAMESPACE:
                assert rest[1:] == ["service", NAME]
                metrics.add(rest[0])
            elif isinstance(first, dict) and f"{{{NAMESPACE}," in first["expression"]:
                metrics.add(first["expression"].partition('MetricName="')[2].partition('"')[0])
    assert metrics == METRICS


def test_the_docs_list_every_metric() -> None:
    listed = {name.strip("` ") for names, _ in table("metric", "what") for name in names.split(",")}
    assert listed == METRICS | {f"Sweep{entry.name.title()}" for entry in dataclasses.fields(Swept)}


def test_behind_an_alias_sam_would_lose_a_parameter() -> None:
    """The reason why SnapStart is not offered. Once this test fails, it can be.

    https://github.com/aws/serverless-application-model/issues/3820
    """
    versions = set()
    for size in ("1", "2"):
        template = copy.deepcopy(TEMPLATE)
        alias = {"AutoPublishAlias": "live", "AutoPublishAliasAllProperties": True}
        template["Globals"]["Function"] |= {"CodeUri": "s3://artefacts/functions", **alias}
        session = boto3.session.Session(region_name="us-east-1")
        translator = Translator({}, Parser(), boto_session=session)
        resources = translator.translate(template, {"MaxFileSize": size})["Resources"]
        versions |= {name for name in resources if name.startswith("UploadFunctionVersion")}
    assert len(versions) == 1


def test_traces_are_sent_only_where_asked_for() -> None:
    for tracing, expected in (("Disabled", False), ("Active", True)):
        template = translated(Tracing=tracing)["Resources"]
        lambdas = [each["Properties"] for each in template.values() if each["Type"] == "AWS::Lambda::Function"]
        roles = [each["Properties"] for each in template.values() if each["Type"] == "AWS::IAM::Role"]
        assert {"TracingConfig" in each for each in lambdas} == {expected}
        assert {any("xray" in str(arn).lower() for arn in each["ManagedPolicyArns"]) for each in roles} == {expected}
