"""Checks a deployment before anything is built: `python -m local.predeploy ENV ARCH`.

CloudFormation replaces a bucket whose name changes: the files stay behind in the old one, and their links break. SAM
keeps the previous value of a parameter that samconfig.toml omits, so removing a line has no effect. This refuses both.

https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-cli-config.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3.session
from botocore.exceptions import BotoCoreError, ClientError

from local.template import parse

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ROOT = Path(__file__).parent.parent
CONFIG = "samconfig.toml"
# The output of the stack that names its bucket.
BUCKET_OUTPUT = "Bucket"


class Refused(Exception):
    """This must not be deployed; the message says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """One section of samconfig.toml. If region or profile is None, the user's AWS configuration decides."""

    name: str
    stack: str
    region: str | None
    profile: str | None
    parameters: Mapping[str, str]

    @classmethod
    def read(cls, name: str, config: Path) -> Environment:
        """Read the environment with this name. Raises `Refused`."""
        try:
            document = tomllib.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refused(f"{config.name} cannot be read: {error}") from error
        sections = {key: value for key, value in document.items() if isinstance(value, dict)}
        if name not in sections:
            raise Refused(f"{config.name} has no environment {name}; it has {', '.join(sorted(sections))}.")
        settings: dict[str, Any] = {}
        for command in ("global", "deploy"):
            settings |= sections[name].get(command, {}).get("parameters", {})
        parameters = settings.get("parameter_overrides")
        if not isinstance(parameters, dict):
            raise Refused(f"{config.name} needs a table [{name}.deploy.parameters.parameter_overrides].")
        if "stack_name" not in settings:
            raise Refused(f"{config.name} needs a stack_name in [{name}.deploy.parameters].")
        return cls(
            name,
            settings["stack_name"],
            settings.get("region"),
            settings.get("profile"),
            {key: str(value) for key, value in parameters.items()},
        )


def check_parameters(environment: Environment, template: Path) -> None:
    """Raises `Refused` unless the environment has exactly the parameters of the template."""
    declarations: dict[str, Any] = parse(template)["Parameters"]
    table = f"[{environment.name}.deploy.parameters.parameter_overrides] of {CONFIG}"
    unknown = sorted(environment.parameters.keys() - declarations.keys())
    if unknown:
        raise Refused(f"{template.name} has no parameter {', '.join(unknown)}: remove it from {table}.")
    missing = [
        f'{name} = "{declarations[name].get("Default", "")}"'
        for name in declarations.keys() - environment.parameters.keys()
    ]
    if missing:
        lines = "\n  ".join(sorted(missing))
        raise Refused(
            f"Parameters that are missing in {table} would keep the value of the last deployment. Add these lines, or "
            f"other values:\n  {lines}"
        )


def check_architecture(environment: Environment, arch: str) -> None:
    """Raises `Refused` if the functions would be built for another processor than they run on."""
    target = environment.parameters["Architecture"]
    if arch != target:
        raise Refused(
            f"{CONFIG} deploys {environment.name} on {target}, but this build is for {arch}. Run: "
            f"make deploy ENV={environment.name} ARCH={target}"
        )


def check_bucket(environment: Environment, session: boto3.session.Session) -> None:
    """Raises `Refused` if the deployment would leave the bucket with the files behind, or could not create its own."""
    bucket = _bucket_name(environment, session)
    current = deployed_bucket(environment.stack, session)
    if current == bucket:
        return
    if current is not None:
        raise Refused(
            f"The stack {environment.stack} keeps its files in the bucket {current}, but {CONFIG} names {bucket}: "
            "the files would stay behind, and their links would break. Restore BucketPrefix, or choose another "
            "stack_name for a second deployment."
        )
    region = _region_of(bucket, session.client("s3"))
    if not environment.parameters["ExistingBucket"]:
        if region is not None:
            raise Refused(
                f"The bucket {bucket} already exists, perhaps from a deleted stack. Set ExistingBucket to use it, or "
                "choose another BucketPrefix."
            )
    elif region is None:
        raise Refused(f"ExistingBucket names {bucket}, which does not exist.")
    elif region != session.region_name:
        raise Refused(f"ExistingBucket names {bucket}, which is in {region}: deploy to that region.")


def _bucket_name(environment: Environment, session: boto3.session.Session) -> str:
    """The name of the bucket, as in the template."""
    existing = environment.parameters["ExistingBucket"]
    if existing:
        return existing
    account = session.client("sts").get_caller_identity()["Account"]
    return f"{environment.parameters['BucketPrefix']}-{account}-{session.region_name}"


def deployed_bucket(stack: str, session: boto3.session.Session) -> str | None:
    """The bucket of a stack; None if the stack does not exist or has no bucket."""
    try:
        (description,) = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        # CloudFormation has no specific error code for this.
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise
    if description["StackStatus"] == "ROLLBACK_COMPLETE":
        raise Refused(
            f"The first deployment of {stack} failed, so the stack must be deleted first. Run: "
            f"aws cloudformation delete-stack --stack-name {stack}"
        )
    outputs = {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}
    return outputs.get(BUCKET_OUTPUT)


def _region_of(bucket: str, s3: S3Client) -> str | None:
    """The region of a bucket; None if it does not exist. Raises `ClientError` if another account owns it."""
    try:
        return s3.head_bucket(Bucket=bucket)["BucketRegion"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "404":
            return None
        raise


def check(name: str, arch: str, config: Path, template: Path) -> Environment:
    """Check an environment, and return it. Raises `Refused`."""
    environment = Environment.read(name, config)
    check_parameters(environment, template)
    check_architecture(environment, arch)
    try:
        session = boto3.session.Session(profile_name=environment.profile, region_name=environment.region)
        if session.region_name is None:
            raise Refused(f"No region is configured. Set AWS_DEFAULT_REGION, or region in {CONFIG}.")
        check_bucket(environment, session)
    except (BotoCoreError, ClientError) as error:
        raise Refused(f"AWS could not be asked about the deployment: {error}") from error
    return environment


def main() -> int:
    """Returns the exit status: 0 if the deployment can proceed."""
    name, arch = sys.argv[1:]
    try:
        environment = check(name, arch, ROOT / CONFIG, ROOT / "template.yaml")
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    print(f"Deploying {environment.stack} ({name} in {CONFIG}) for {arch} ...")
    return 0


if __name__ == "__main__":
    sys.exit(main())
