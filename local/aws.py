"""The AWS services of the emulated functions: moto, or those that the environment configures.

Apart from `shared.settings`, only this module reads the environment, for the variables of boto3. The emulated functions
get only these.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import boto3.session
from botocore.exceptions import BotoCoreError, ClientError

from local.intrinsics import REGION
from local.processes import kill_group, tethered
from local.template import Template

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CORSRuleTypeDef

HOST = "127.0.0.1"

ENDPOINT = "AWS_ENDPOINT_URL"
S3_ENDPOINT = "AWS_ENDPOINT_URL_S3"
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class Unusable(Exception):
    """The services cannot be started or used; the message says why."""


@contextlib.contextmanager
def services(s3: str | None = None, environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, str]]:
    """Run the services until the block ends; yields the environment variables for processes that use them.

    Uses the services at AWS_ENDPOINT_URL if it is set, else moto. `s3` is the address of another S3 server.
    """
    endpoint = environment.get(ENDPOINT)
    variables = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        # The emulation must not use the profile of the machine's user.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    # moto accepts any credentials, so it does not get real ones: presigned links would contain the key ID.
    real = endpoint is not None or s3 is not None
    variables |= {name: environment.get(name, "testing") if real else "testing" for name in _CREDENTIALS}
    if s3 is not None:
        variables[S3_ENDPOINT] = s3
    if endpoint is not None:
        yield variables | {ENDPOINT: endpoint}
        return
    with _moto() as url:
        yield variables | {ENDPOINT: url}


def provide(template: Template, token: str | None, variables: Mapping[str, str]) -> None:
    """Create the buckets of the template with their CORS rules, and its secrets with the access token, if there is one.

    Raises `Unusable`.
    """
    try:
        s3 = s3_client(variables)
        for bucket in template.buckets:
            with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
                s3.create_bucket(Bucket=bucket)
            if bucket in template.cors:
                s3.put_bucket_cors(
                    Bucket=bucket, CORSConfiguration={"CORSRules": [_cors_rule(rule) for rule in template.cors[bucket]]}
                )
        if token is None:
            return
        secrets = _session(variables).client("secretsmanager", endpoint_url=variables[ENDPOINT])
        for name in template.secrets:
            try:
                secrets.create_secret(Name=name, SecretString=token)
            except secrets.exceptions.ResourceExistsException:
                secrets.put_secret_value(SecretId=name, SecretString=token)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise Unusable(str(error)) from error


# CloudFormation spells two names of S3's CORS rules differently.
_S3_NAMES = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds"}


def _cors_rule(rule: Mapping[str, Any]) -> CORSRuleTypeDef:
    return cast("CORSRuleTypeDef", {_S3_NAMES.get(name, name): value for name, value in rule.items()})


def s3_client(variables: Mapping[str, str]) -> S3Client:
    """A client for the S3 server that a process with this environment uses."""
    return _session(variables).client("s3", endpoint_url=variables.get(S3_ENDPOINT, variables[ENDPOINT]))


def _session(variables: Mapping[str, str]) -> boto3.session.Session:
    key, secret = (variables[name] for name in _CREDENTIALS)
    return boto3.session.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION)


@contextlib.contextmanager
def _moto() -> Iterator[str]:
    """Run a moto server in a separate process, in memory; yields its address. Raises `Unusable`."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            tethered([sys.executable, "-m", "local.moto_server", "0"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            process_group=0,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            if not port:
                log.seek(0)
                raise Unusable(f"moto did not start: {log.read().decode(errors='replace').strip()}")
            yield f"http://{HOST}:{port}"
        finally:
            kill_group(process.pid)
