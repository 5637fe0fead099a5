"""The emulated deployment for the API tests: functions in separate processes, with AWS's runtime client.

Those are forks of one process, which start faster. `test_emulator.py` starts them as `make emulate` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx
import pytest

from local import artifact
from local.gateway import Gateway
from local.runtime import Runtime
from local.template import Function
from local.worker import START_WITHIN
from shared.storage.keys import SECRET_KEY
from tests.api.client import BucketObjects, WholeApp
from tests.emulated.emulate import forking_platform
from tests.gateway import DOMAIN

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ROOT = Path(__file__).parent.parent.parent
# The source tree, or a build if CI selects one.
ARTIFACT = Path(os.environ.get("EMULATED_ARTIFACT", ROOT)).resolve()
# The number of configurations kept running, each with some hundred MiB.
CONFIGURATIONS = 3

_Gateways = Mapping[bool, httpx.BaseTransport]


class Deployment:
    """The template's functions with the AWS services in `services`, started for each configuration.

    Starting takes most of a test's time. So the functions without configuration stay up for all tests, and so do those
    of the most recent configurations. The `with` block ends all of them.
    """

    def __init__(self, services: Mapping[str, str]) -> None:
        self._services = services
        self._template = artifact.load(ARTIFACT)
        (self.bucket,) = self._template.buckets

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._loop = stack.enter_context(asyncio.Runner()).get_loop()
            with pytest.MonkeyPatch.context() as environment:
                for name, value in self._services.items():
                    environment.setenv(name, value)
                self._platform = stack.enter_context(forking_platform(ARTIFACT, self._template, token=None))
            self._plain = stack.enter_context(self._started({}))
            self._configured: dict[frozenset[tuple[str, str]], tuple[_Gateways, contextlib.ExitStack]] = {}
            stack.callback(self._end_all_but, 0)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stack.close()

    def configured(self, variables: Mapping[str, str]) -> _Gateways:
        """Transports to functions with these variables in their environment, by whether the gateway remaps headers."""
        if not variables:
            return self._plain
        key = frozenset(variables.items())
        kept = self._configured.pop(key, None)
        if kept is None:
            self._end_all_but(CONFIGURATIONS - 1)
            stack = contextlib.ExitStack()
            kept = stack.enter_context(self._started(variables)), stack
        self._configured[key] = kept
        return kept[0]

    def _end_all_but(self, number: int) -> None:
        """End the functions of all configurations except the most recent ones."""
        while len(self._configured) > number:
            _, stack = self._configured.pop(next(iter(self._configured)))
            stack.close()

    @contextlib.contextmanager
    def _started(self, variables: Mapping[str, str]) -> Iterator[_Gateways]:
        functions = {name: _with_variables(function, variables) for name, function in self._platform.functions.items()}
        provided = self._platform
        runtime = Runtime(functions, provided.environment, concurrency=1, interpreter=provided.interpreter)
        try:
            # On a busy machine, a start can take longer than the gateway waits.
            yield {
                remap: WholeApp(
                    Gateway(self._template.routes, runtime.invoke, DOMAIN, timeout=START_WITHIN, remap=remap),
                    self._loop,
                )
                for remap in (False, True)
            }
        finally:
            self._loop.run_until_complete(runtime.close())


def _with_variables(function: Function, variables: Mapping[str, str]) -> Function:
    return dataclasses.replace(function, environment={**function.environment, **variables})


class Emulated(httpx.BaseTransport):
    """The deployment in the configuration of one test."""

    def __init__(self, deployment: Deployment, *, remap: bool) -> None:
        self._deployment = deployment
        self._remap = remap
        self._variables: dict[str, str] = {}

    def configure(self, variable: str, value: str) -> None:
        self._variables[variable] = value

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._deployment.configured(self._variables)[self._remap].handle_request(request)
        # The gateway's request ID, which is always different.
        response.headers.pop("apigw-requestid", None)
        return response


class EmulatedObjects(BucketObjects):
    """The objects in the deployment's bucket, except the signing key: processes that outlast a test keep using it."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        super().__init__(client, bucket, "")

    def keys(self) -> list[str]:
        keys = super().keys()
        return [key for key in keys if key != SECRET_KEY]
