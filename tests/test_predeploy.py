"""Checks before a deployment: wrong parameters, another processor, and changes that would leave the files behind."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3.session
import botocore.session
import pytest
from botocore.loaders import Loader, create_loader
from moto import mock_aws

from local import predeploy
from local.predeploy import Refused
from local.template import parse

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "samconfig.toml"
TEMPLATE = ROOT / "template.yaml"
REGION = "us-east-1"
ACCOUNT = "123456789012"

ENVIRONMENTS: dict[str, Any] = {
    name: section for name, section in tomllib.loads(CONFIG.read_text()).items() if isinstance(section, dict)
}


@pytest.fixture(scope="module")
def loader() -> Loader:
    """One loader of botocore's data for all sessions, because loading takes most of the time of a test."""
    return create_loader()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loader: Loader) -> Iterator[None]:
    monkeypatch.setattr(botocore.session, "create_loader", lambda *_: loader)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


def edited(folder: Path, old: str, new: str) -> Path:
    """A copy of samconfig.toml with one line replaced."""
    text = CONFIG.read_text()
    assert old in text
    copy = folder / "samconfig.toml"
    copy.write_text(text.replace(old, new))
    return copy


def check(config: Path = CONFIG, *, name: str = "default", arch: str = "arm64") -> predeploy.Environment:
    return predeploy.check(name, arch, config, TEMPLATE)


def deploy(bucket: str) -> None:
    """A stack as an earlier deployment left it."""
    template = {
        "Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket}}},
        "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}}},
    }
    client = boto3.session.Session().client("cloudformation")
    client.create_stack(StackName=check_name(), TemplateBody=json.dumps(template))


def check_name() -> str:
    return str(ENVIRONMENTS["default"]["deploy"]["parameters"]["stack_name"])


# --- samconfig.toml ---


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_committed_environments_can_be_deployed(name: str) -> None:
    environment = check(name=name)
    declared = parse(TEMPLATE)["Parameters"]
    assert list(environment.parameters) == list(declared)


def test_there_is_an_environment_to_try_and_one_for_production() -> None:
    assert {"default", "prod"} <= ENVIRONMENTS.keys()
    stacks = [section["deploy"]["parameters"]["stack_name"] for section in ENVIRONMENTS.values()]
    assert len(stacks) == len(set(stacks))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_nothing_but_the_change_set_is_asked(name: str) -> None:
    settings = ENVIRONMENTS[name]["deploy"]["parameters"]
    assert settings["capabilities"] == "CAPABILITY_IAM"
    assert settings["resolve_s3"] is True
    assert settings["confirm_changeset"] is True
    # Repeating a deployment without changes is not an error.
    assert settings["fail_on_empty_changeset"] is False
    # The AWS profile of the user decides on account and region.
    assert not settings.keys() & {"region", "profile", "s3_bucket"}


def test_the_default_environment_has_the_defaults_of_the_template() -> None:
    declared = parse(TEMPLATE)["Parameters"]
    defaults = {name: str(parameter["Default"]) for name, parameter in declared.items()}
    assert check().parameters == defaults


def test_an_unknown_environment_is_refused_with_those_there_are() -> None:
    with pytest.raises(Refused, match=r"no environment staging; it has default, prod"):
        check(name="staging")


def test_a_misspelt_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no parameter MaxSize"):
        check(edited(tmp_path, "MaxFileSize", "MaxSize"))


def test_a_parameter_left_out_is_refused_with_the_line_to_add(tmp_path: Path) -> None:
    with pytest.raises(Refused, match='LogRetentionDays = "30"'):
        check(edited(tmp_path, 'LogRetentionDays = "30"\n', ""))


@pytest.mark.parametrize("text", ["not toml", "[default.deploy.parameters]\nparameter_overrides = 'A=b'\n"])
def test_a_file_that_says_no_parameters_is_refused(tmp_path: Path, text: str) -> None:
    config = tmp_path / "samconfig.toml"
    config.write_text(text)
    with pytest.raises(Refused, match=r"samconfig\.toml"):
        check(config)


# --- the processor ---


def test_a_build_for_another_processor_is_refused_with_the_right_command() -> None:
    with pytest.raises(Refused, match="make deploy ENV=prod ARCH=arm64"):
        check(name="prod", arch="x86_64")


def test_a_build_for_the_configured_processor_passes(tmp_path: Path) -> None:
    config = edited(tmp_path, 'Architecture = "arm64"', 'Architecture = "x86_64"')
    assert check(config, arch="x86_64").parameters["Architecture"] == "x86_64"


# --- the bucket ---


def test_the_name_of_the_bucket_is_that_of_the_template() -> None:
    bucket = parse(TEMPLATE)["Resources"]["Bucket"]
    assert bucket["Properties"]["BucketName"] == {"Fn::Sub": "${BucketPrefix}-${AWS::AccountId}-${AWS::Region}"}
    # Upgrades compare this output, so it must stay.
    outputs = parse(TEMPLATE)["Outputs"]
    assert predeploy.BUCKET_OUTPUT in outputs


def test_an_upgrade_that_keeps_its_bucket_passes() -> None:
    deploy(f"simple-file-sharing-{ACCOUNT}-{REGION}")
    assert check().stack == "simple-file-sharing"


def test_an_upgrade_that_would_leave_its_files_behind_is_refused(tmp_path: Path) -> None:
    deploy(f"simple-file-sharing-{ACCOUNT}-{REGION}")
    config = edited(tmp_path, 'BucketPrefix = "simple-file-sharing"', 'BucketPrefix = "other"')
    with pytest.raises(Refused, match="links would break") as refused:
        check(config)
    assert f"simple-file-sharing-{ACCOUNT}-{REGION}" in str(refused.value)
    assert f"other-{ACCOUNT}-{REGION}" in str(refused.value)


def test_a_first_deployment_does_not_fail_on_a_bucket_of_that_name() -> None:
    boto3.session.Session().client("s3").create_bucket(Bucket=f"simple-file-sharing-{ACCOUNT}-{REGION}")
    with pytest.raises(Refused, match=r"already exists.* ExistingBucket"):
        check()


@pytest.mark.parametrize("bucket", ["files-of-ours", f"simple-file-sharing-{ACCOUNT}-{REGION}"])
def test_a_bucket_can_be_adopted_and_kept(tmp_path: Path, bucket: str) -> None:
    boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
    config = edited(tmp_path, 'ExistingBucket = ""', f'ExistingBucket = "{bucket}"')
    assert check(config).parameters["ExistingBucket"] == bucket
    boto3.session.Session().client("s3").delete_bucket(Bucket=bucket)
    deploy(bucket)
    assert check(config).parameters["ExistingBucket"] == bucket


def test_an_upgrade_to_an_existing_bucket_would_leave_the_files_behind(tmp_path: Path) -> None:
    boto3.session.Session().client("s3").create_bucket(Bucket="files-of-ours")
    deploy(f"simple-file-sharing-{ACCOUNT}-{REGION}")
    with pytest.raises(Refused, match="links would break"):
        check(edited(tmp_path, 'ExistingBucket = ""', 'ExistingBucket = "files-of-ours"'))


def test_a_bucket_that_does_not_exist_cannot_be_adopted(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="which does not exist"):
        check(edited(tmp_path, 'ExistingBucket = ""', 'ExistingBucket = "files-of-ours"'))


def test_a_bucket_of_another_region_cannot_be_adopted(tmp_path: Path) -> None:
    elsewhere = boto3.session.Session().client("s3", region_name="eu-central-1")
    elsewhere.create_bucket(Bucket="files-of-ours", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    with pytest.raises(Refused, match="in eu-central-1: deploy to that region"):
        check(edited(tmp_path, 'ExistingBucket = ""', 'ExistingBucket = "files-of-ours"'))


def test_a_stack_whose_first_deployment_failed_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(f"simple-file-sharing-{ACCOUNT}-{REGION}")
    session = boto3.session.Session()
    client = session.client("cloudformation")
    (stack,) = client.describe_stacks(StackName=check_name())["Stacks"]
    stack["StackStatus"] = "ROLLBACK_COMPLETE"
    # A creation in moto cannot fail half-way.
    monkeypatch.setattr(client, "describe_stacks", lambda **_name: {"Stacks": [stack]})
    monkeypatch.setattr(session, "client", lambda _service: client)
    with pytest.raises(Refused, match="aws cloudformation delete-stack --stack-name simple-file-sharing"):
        predeploy.deployed_bucket(check_name(), session)


# --- AWS itself ---


def test_a_region_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(Refused, match="AWS_DEFAULT_REGION"):
        check()


def test_the_profile_of_the_environment_is_used(tmp_path: Path) -> None:
    config = edited(tmp_path, 'stack_name = "simple-file-sharing"', 'profile = "nobody"\nstack_name = "x"')
    with pytest.raises(Refused, match="nobody"):
        check(config)


def test_a_refusal_is_one_sentence_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["predeploy", "default", "x86_64"])
    assert predeploy.main() == 2
    assert capsys.readouterr().err.startswith("error: samconfig.toml deploys default on arm64")
    monkeypatch.setattr("sys.argv", ["predeploy", "default", "arm64"])
    assert predeploy.main() == 0
