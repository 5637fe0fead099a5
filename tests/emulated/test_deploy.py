"""`sam deploy` as `make deploy` calls it, on moto's CloudFormation: it asks only about the change set.

moto does not know SAM: it creates the stack's plain resources, such as the bucket, but none of the functions.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3.session
import pytest

from local import artifact, aws
from tests.emulated.deployment import ARTIFACT, ROOT

SAM = ROOT / ".venv-sam" / "bin" / "sam"
TIMEOUT = 300.0  # seconds

# The make inside the tests must not see the variables of a `make test` around them.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_", "MAKE", "MFLAGS"))
}


def commands(**variables: str) -> str:
    """The commands that `make deploy` would run."""
    assignments = [f"{name}={value}" for name, value in variables.items()]
    result = subprocess.run(
        ["make", "--dry-run", "deploy", *assignments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


def test_the_check_comes_first_and_the_environment_alone_is_given() -> None:
    text = commands(ENV="prod", ARCH="x86_64")
    assert text.index("local.predeploy 'prod' 'x86_64'") < text.index("sam build") < text.index("sam deploy")
    (line,) = re.findall(r"sam deploy(.*)", text)
    assert line.split() == ["--config-env", "'prod'"]


@pytest.mark.skipif(ARTIFACT == ROOT or not SAM.exists(), reason="nothing was built, or not here")
def test_a_deployment_asks_for_nothing_but_the_change_set(tmp_path: Path) -> None:
    (command,) = re.findall(r"^.*sam deploy.*$", commands(), re.MULTILINE)
    folder = small_project(tmp_path)
    configuration = tmp_path / "aws"
    # There is no DNS for bucket names here.
    configuration.write_text("[default]\ns3 =\n  addressing_style = path\n")
    with aws.services(environment={}) as services:
        # moto recognises a template in S3 by this host name.
        endpoint = services[aws.ENDPOINT].replace("127.0.0.1", "localhost")
        variables = {**services, aws.ENDPOINT: endpoint, "AWS_CONFIG_FILE": str(configuration), "HOME": str(tmp_path)}
        session = boto3.session.Session(
            aws_access_key_id="testing", aws_secret_access_key="testing", region_name=services["AWS_REGION"]
        )
        client = session.client("cloudformation", endpoint_url=services[aws.ENDPOINT])
        provide_packages_bucket(client)
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**ENVIRONMENT, **variables},
            input="y\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        assert re.findall(r".*\[y/N\]", result.stdout) == ["Deploy this changeset? [y/N]"]
        (stack,) = client.describe_stacks(StackName="simple-file-sharing")["Stacks"]
        buckets = [bucket["Name"] for bucket in aws.s3_client(services).list_buckets()["Buckets"]]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert {"Key": "environment", "Value": "default"} in stack["Tags"]
    assert "simple-file-sharing-123456789012-us-east-1" in buckets


def small_project(tmp_path: Path) -> Path:
    """The folder to deploy from, with the build's template and a file for each function, which is packed sooner."""
    folder = tmp_path / "project"
    build = folder / ".aws-sam" / "build"
    build.mkdir(parents=True)
    shutil.copy(ROOT / "samconfig.toml", folder)
    shutil.copy(ARTIFACT / "template.yaml", build)
    for function in artifact.load(ARTIFACT).functions.values():
        code = build / function.code.relative_to(ARTIFACT)
        code.mkdir(exist_ok=True)
        (code / "code.py").touch()
    (folder / ".venv-sam").symlink_to(SAM.parent.parent)
    return folder


def provide_packages_bucket(client: Any) -> None:
    """Create the bucket for SAM's uploads. SAM could create its stack itself, but moto loses outputs of change sets."""
    template = {
        "Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "packages-of-sam"}}},
        "Outputs": {"SourceBucket": {"Value": {"Ref": "Bucket"}}},
    }
    client.create_stack(
        StackName="aws-sam-cli-managed-default",
        TemplateBody=json.dumps(template),
        Tags=[{"Key": "ManagedStackSource", "Value": "AwsSamCli"}],
    )
