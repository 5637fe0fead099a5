"""The four ways of running the API, each over fresh storage and put together as in production."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import boto3.session
import httpx
import pytest
from botocore.config import Config
from hypothesis import settings

from functions.app import ROUTERS
from shared import bootstrap
from shared.http.app import build_app
from shared.storage.keys import SECRET_KEY
from tests.api.client import WAYS, Api, BucketObjects, DirectoryObjects, Objects, WholeApp
from tests.emulated.deployment import Deployment, Emulated, EmulatedObjects
from tests.gateway import DOMAIN, Gateway, LambdaContext, handlers
from tests.servers import S3Server, moto_server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

TESTS = Path(__file__).parent
BUCKET = "shares"
SERVER = "http://share.test:8080"

# The loggers that the first event of a Lambda function takes over for the whole process.
LAMBDA_LOGGERS = ("shared", "shared.metrics", "mangum", "botocore")

# The same examples each time, and as long for each as a busy machine needs.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

# What starts programs, waits for real time, or tries very many states: tests whose IDs begin so below tests/.
SLOW = (
    "browser/",
    "client/",
    "emulated/",
    "faults/",
    "load/",
    "properties/",
    "sharing/test_sharing_changes.py::test_a_page_before_many_invisible_files_takes_few_batches",
    "sharing/test_sweeping_effort.py",
    "sharing/test_sweep_commands.py",
    "storage/test_large_file.py",
    "storage/directory/test_store.py::test_two_processes_lose_no_count",
    "storage/counting/test_cells.py::test_in_any_order_and_whoever_dies_the_total_is_exact",
    "test_benchmarks.py",
    "test_cold_starts.py",
    "test_docs_aws.py",
    "test_gateway_cases.py",
    "test_generated_client.py",
    "test_imports.py",
    "test_lambda.py::test_a_sample_event_can_be_invoked_as_it_is_deployed",
    "test_predeploy.py",
    "test_readme.py::test_session",
    "test_recipes.py",
    "test_template.py::test_the_translation_is_sound",
    "wire/",
)
# Fixtures behind which there is a server in a process of its own, and parameters that ask for one of them.
SLOW_FIXTURES = {"deployment", "moto", "s3_server", "seaweed"}
SLOW_PARAMETERS = {"s3", "functions", "emulated", "remapped", "moto", "seaweedfs", "in_bucket"}

LoggerState = tuple[int, bool, list[logging.Handler]]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server for all tests of this process, with one empty bucket."""
    with moto_server() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def s3_client(s3_server: S3Server) -> S3Client:
    return s3_server.client()


class SharedSession:
    """A boto3 session that makes each client once, which is what a test over S3 would spend most of its time on."""

    def __init__(self) -> None:
        self._session = boto3.session.Session()
        self._clients: dict[str, S3Client] = {}

    def client(self, service: Literal["s3"], *, config: Config) -> S3Client:
        key = repr((os.environ.get("AWS_ENDPOINT_URL"), sorted(vars(config).items())))
        if key not in self._clients:
            self._clients[key] = self._session.client(service, config=config)
        return self._clients[key]


@pytest.fixture(scope="session")
def s3_session() -> SharedSession:
    return SharedSession()


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Set a variable, and have the process start over with it. Nothing is set to begin with."""

    def set_variable(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        _forget_settings()

    _unset_all(monkeypatch)
    monkeypatch.setenv("SHARE_MIN_FREE_SPACE", "0")
    yield set_variable
    _forget_settings()


def _unset_all(environment: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SHARE_", "AWS_", "POWERTOOLS_"))]:
        environment.delenv(name)


def _forget_settings() -> None:
    bootstrap.settings.cache_clear()
    bootstrap.tokens.cache_clear()
    bootstrap.shares.cache_clear()
    bootstrap.proven_shares.cache_clear()


@pytest.fixture
def in_directory(configure: Callable[[str, str], None], tmp_path: Path) -> Objects:
    """Storage is an empty directory."""
    configure("SHARE_STORAGE", str(tmp_path / "data"))
    return DirectoryObjects(tmp_path / "data")


@pytest.fixture
def in_bucket(
    configure: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
    s3_client: S3Client,
    s3_session: SharedSession,
) -> Objects:
    """Storage is an empty prefix of the bucket."""
    monkeypatch.setattr(boto3.session, "Session", lambda: s3_session)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    prefix = f"test/{uuid.uuid4()}"
    configure("SHARE_STORAGE", f"s3://{BUCKET}/{prefix}")
    return BucketObjects(s3_client, BUCKET, prefix)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    # The runner waits for what is left to be cleaned up, as a server would.
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="session")
def lambda_logging() -> dict[str, LoggerState]:
    """How the functions set up logging with their first event, which all of them have had by now."""
    before = {name: _logger_state(name) for name in LAMBDA_LOGGERS}
    thresholds = gc.get_threshold()
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as environment:
        asyncio.set_event_loop(runner.get_loop())
        _unset_all(environment)
        for handler in handlers().values():
            httpx.Client(transport=Gateway(only=handler), base_url=f"https://{DOMAIN}").get("/no/such/page")
    # Here others come and go in the process, and what they leave open is to be found.
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    _forget_settings()
    made = {name: _logger_state(name) for name in LAMBDA_LOGGERS}
    _set_loggers(before)
    return made


@pytest.fixture
def on_lambda(
    configure: Callable[[str, str], None],
    loop: asyncio.AbstractEventLoop,
    lambda_logging: dict[str, LoggerState],
) -> Iterator[None]:
    """What a Lambda function finds in its process."""
    before = {name: _logger_state(name) for name in LAMBDA_LOGGERS}
    configure("AWS_LAMBDA_FUNCTION_NAME", LambdaContext().function_name)
    _set_loggers(lambda_logging)
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    _set_loggers(before)


def _logger_state(name: str) -> LoggerState:
    logger = logging.getLogger(name)
    return logger.level, logger.propagate, list(logger.handlers)


def _set_loggers(states: dict[str, LoggerState]) -> None:
    for name, (level, propagate, logged_by) in states.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers = list(logged_by)


@pytest.fixture(scope="session")
def deployment(s3_server: S3Server) -> Iterator[Deployment]:
    with Deployment(s3_server.environment()) as deployment:
        yield deployment


@pytest.fixture
def emulated_api(
    request: pytest.FixtureRequest, deployment: Deployment, s3_client: S3Client
) -> Iterator[Callable[[bool], Api]]:
    """The API behind an emulated gateway, which remaps headers or not.

    What a test cannot ask of another process is said by its mark.
    """
    for mark in request.node.iter_markers("not_emulated"):
        pytest.skip(mark.args[0])
    objects = EmulatedObjects(s3_client, deployment.bucket)

    def emulated(remap: bool) -> Api:
        transport = Emulated(deployment, remap=remap)
        return Api(transport, f"https://{DOMAIN}", objects, transport.configure)

    yield emulated
    objects.clear(keep=SECRET_KEY)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "not_emulated(reason): a test that processes of their own cannot be put to")
    config.addinivalue_line("markers", "slow: left out by `make check`; `tests/conftest.py` says which tests are")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for prefix in SLOW:
        assert (TESTS / prefix.partition("::")[0]).exists(), f"SLOW names {prefix}, which is not there"
    for item in items:
        if _is_slow(item):
            item.add_marker(pytest.mark.slow)


def _is_slow(item: pytest.Item) -> bool:
    if item.nodeid.removeprefix("tests/").startswith(SLOW):
        return True
    if not isinstance(item, pytest.Function):
        return False
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    parameters = {value for value in values if isinstance(value, str)}
    return not SLOW_FIXTURES.isdisjoint(item.fixturenames) or not SLOW_PARAMETERS.isdisjoint(parameters)


@pytest.fixture(params=WAYS)
def api(request: pytest.FixtureRequest, configure: Callable[[str, str], None], loop: asyncio.AbstractEventLoop) -> Api:
    """The API: the whole application over a directory, or over S3, or each function on its own over S3, or emulated."""
    if request.param in ("emulated", "remapped"):
        emulated: Callable[[bool], Api] = request.getfixturevalue("emulated_api")
        return emulated(request.param == "remapped")
    objects: Objects = request.getfixturevalue("in_directory" if request.param == "directory" else "in_bucket")
    if request.param == "functions":
        request.getfixturevalue("on_lambda")
        return Api(Gateway(), f"https://{DOMAIN}", objects, configure)
    return Api(WholeApp(build_app(*ROUTERS), loop), SERVER, objects, configure)
