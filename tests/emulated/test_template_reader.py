"""Reading a template: functions and routes with all values evaluated, or an error that names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.intrinsics import InvalidTemplate
from local.template import Route, Template, read

ROOT = Path(__file__).parent.parent.parent

WHOLE = """
AWSTemplateFormatVersion: 2010-09-09
Transform: AWS::Serverless-2016-10-31
Parameters:
  Limit: {Type: Number, Default: 10}
  Origins: {Type: CommaDelimitedList, Default: "https://a.example, https://b.example"}
  Domain: {Type: String, Default: ""}
  Required: {Type: String}
Conditions:
  HasDomain: !Not [!Equals [!Ref Domain, ""]]
  Both: !And [!Condition HasDomain, !Equals [!Ref Limit, 10]]
  Either: !Or [!Condition HasDomain, !Equals [!Ref Limit, 10]]
Globals:
  Function:
    Timeout: 20
    MemorySize: 512
    CodeUri: src/
    Environment:
      Variables: {SHARED: everywhere, OVERRIDDEN: global}
Resources:
  Api: {Type: AWS::Serverless::HttpApi}
  Bucket:
    Type: AWS::S3::Bucket
    Properties: {BucketName: !Sub "share-${AWS::AccountId}-${AWS::Region}"}
  Extra: {Type: AWS::S3::Bucket, Condition: HasDomain}
  Token: {Type: AWS::SecretsManager::Secret}
  OneFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: functions.one.handler
      Timeout: 5
      Environment:
        Variables:
          OVERRIDDEN: own
          VALUE: VARIABLE
      Events:
        Get: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: get, Path: "/one/{id}"}}
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: "*", Path: "/one/{rest+}"}}
        Hourly: {Type: Schedule, Properties: {Schedule: rate(1 hour)}}
  OtherFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: functions.other.handler
      Events:
        Default: {Type: HttpApi, Properties: {ApiId: !Ref Api}}
"""


def reading(folder: Path, text: str, **parameters: str) -> Template:
    path = folder / "template.yaml"
    path.write_text(text)
    return read(path, parameters)


def with_value(value: str) -> str:
    return WHOLE.replace("VALUE: VARIABLE", f"VALUE: {value}")


def test_a_function_has_what_it_and_the_globals_say(tmp_path: Path) -> None:
    template = reading(tmp_path, WHOLE)
    assert list(template.functions) == ["OneFunction", "OtherFunction"]
    one, other = template.functions.values()
    assert (one.handler, one.timeout, one.memory, one.code) == ("functions.one.handler", 5, 512, tmp_path / "src")
    assert one.environment == {"SHARED": "everywhere", "OVERRIDDEN": "own", "VALUE": "VARIABLE"}
    assert other.timeout == 20
    assert other.environment == {"SHARED": "everywhere", "OVERRIDDEN": "global"}


def test_only_events_of_the_http_api_are_routes(tmp_path: Path) -> None:
    assert reading(tmp_path, WHOLE).routes == (
        Route("GET", "/one/{id}", "OneFunction"),
        Route("ANY", "/one/{rest+}", "OneFunction"),
        Route("ANY", "$default", "OtherFunction"),
    )


def test_a_resource_is_there_if_its_condition_holds(tmp_path: Path) -> None:
    without = reading(tmp_path, WHOLE)
    assert without.buckets == ("share-123456789012-us-east-1",)
    assert without.secrets == ("share-emulated-Token",)
    assert reading(tmp_path, WHOLE, Domain="files.example").buckets[1:] == ("share-emulated-extra",)


VALUES = [
    ("text", "text"),
    ("5", "5"),
    ("1.5", "1.5"),
    ("true", "true"),
    ("2010-09-09", "2010-09-09"),
    ("!Ref Limit", "10"),
    ("{Ref: Limit}", "10"),
    ("!Ref Bucket", "share-123456789012-us-east-1"),
    ("!Ref Token", "share-emulated-Token"),
    ("!Ref AWS::StackName", "share-emulated"),
    ('!Sub "${AWS::Region}-${Limit}"', "us-east-1-10"),
    ('!Sub "s3://${Bucket}/${Limit}"', "s3://share-123456789012-us-east-1/10"),
    ('!Join [",", [a, !Ref Limit]]', "a,10"),
    ('!Join [" ", !Ref Origins]', "https://a.example https://b.example"),
    ("!If [HasDomain, yes-it-has, !Ref Limit]", "10"),
    ("!If [Both, both, not-both]", "not-both"),
]


@pytest.mark.parametrize(("written", "value"), VALUES, ids=[written for written, _ in VALUES])
def test_a_value_is_worked_out(tmp_path: Path, written: str, value: str) -> None:
    assert reading(tmp_path, with_value(written)).functions["OneFunction"].environment["VALUE"] == value


def test_a_parameter_can_be_given(tmp_path: Path) -> None:
    function = reading(tmp_path, with_value("!Ref Required"), Required="given").functions["OneFunction"]
    assert function.environment["VALUE"] == "given"


UNKNOWN = [
    ("!Ref Nothing", "Nothing does not exist"),
    # The template does not need these, and they would be easy to evaluate wrongly.
    ("!Ref AWS::NoValue", "AWS::NoValue does not exist"),
    ('!Sub "${!literal}"', "!literal does not exist"),
    ('!Sub ["${name}", {name: x}]', "Fn::Sub"),
    ("!FindInMap [Sizes, eu-west-1, Small]", "Fn::FindInMap"),
    ("!If [Either, a, b]", "Fn::Or"),
    ("{Fn::GetAtt: Bucket.Arn, more: x}", "Fn::GetAtt"),
    ('!Join [",", text]', "Fn::Join"),
    ("!Ref Required", "the parameter Required has no default"),
    ("!Ref Api", "Api"),
    ("!GetAtt Bucket.Arn", "GetAtt"),
    ('!Sub "${Bucket.Arn}/*"', "Bucket.Arn"),
    ("!ImportValue Elsewhere", "ImportValue"),
    ("!If [Unheard, a, b]", "the condition 'Unheard'"),
    ("[a, list]", "not text"),
    ("!Ref Origins", "not text"),
]


@pytest.mark.parametrize(("written", "message"), UNKNOWN, ids=[written for written, _ in UNKNOWN])
def test_what_cannot_be_worked_out_is_named(tmp_path: Path, written: str, message: str) -> None:
    with pytest.raises(InvalidTemplate) as caught:
        reading(tmp_path, with_value(written))
    assert "OneFunction.Environment.VALUE" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "Resources: 5", "Resources: {", "Parameters: {}"])
def test_what_is_no_template_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidTemplate, match=r"template\.yaml"):
        reading(tmp_path, text)


def test_a_function_needs_a_handler(tmp_path: Path) -> None:
    with pytest.raises(InvalidTemplate, match="OtherFunction: no Handler"):
        reading(tmp_path, WHOLE.replace("      Handler: functions.other.handler\n", ""))


def test_a_route_that_ends_in_a_slash_is_refused(tmp_path: Path) -> None:
    # An HTTP API silently ignores it: https://github.com/aws/serverless-application-model/issues/1949
    with pytest.raises(InvalidTemplate, match=r"OneFunction.Events.Get.Path: .*slash"):
        reading(tmp_path, WHOLE.replace('"/one/{id}"', '"/one/{id}/"'))


def test_the_page_at_the_root_has_a_route(tmp_path: Path) -> None:
    template = reading(tmp_path, WHOLE.replace('"/one/{id}"', "/"))
    assert Route("GET", "/", "OneFunction") in template.routes


@pytest.mark.parametrize(("logging", "log_format"), [("", "Text"), ("LoggingConfig: {LogFormat: JSON}", "JSON")])
def test_a_function_has_a_log_format(tmp_path: Path, logging: str, log_format: str) -> None:
    text = WHOLE.replace("    CodeUri: src/\n", f"    CodeUri: src/\n    {logging}\n")
    assert reading(tmp_path, text).functions["OneFunction"].log_format == log_format


def test_a_parameter_that_is_not_there_cannot_be_given(tmp_path: Path) -> None:
    with pytest.raises(InvalidTemplate, match="no such parameter: Limits"):
        reading(tmp_path, WHOLE, Limits="5")


def test_our_own_template_can_be_worked_out() -> None:
    template = read(ROOT / "template.yaml")
    (bucket,) = template.buckets
    rule = {"AllowedMethods": ["GET", "HEAD", "PUT"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]}
    assert template.cors == {bucket: [{**rule, "ExposedHeaders": ["ETag"], "MaxAge": 3600}]}
    assert {function.environment["SHARE_STORAGE"] for function in template.functions.values()} == {f"s3://{bucket}"}
    references = {function.environment.get("SHARE_API_TOKEN_SECRET") for function in template.functions.values()}
    assert references - {None} == set(template.secrets)
    assert Route("ANY", "$default", "AppFunction") in template.routes
