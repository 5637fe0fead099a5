"""The four ways of running the API, each with empty storage and assembled as in production."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import HealthCheck, settings

from shared.storage.keys import SECRET_KEY
from shared.storage.s3 import clients
from tests.api.client import SERVER, WAYS, Api, BucketObjects, DirectoryObjects, Objects, WholeApp
from tests.emulated.deployment import Deployment, Emulated, EmulatedObjects
from tests.environment import unset_all
from tests.gateway import DOMAIN, Gateway, LambdaContext, handlers
from tests.loggers import LAMBDA_LOGGERS, LoggerState, logger_state, set_loggers
from tests.scrypt import cheap_scrypt
from tests.servers import BUCKET, SMALL_PART, S3Server, SharedClients, moto_server
from tests.slow import is_slow
from tests.spares import with_spares

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


# The tests of each of these files share a server, which takes longer to start than most tests take.
ONE_WORKER = ("client/", "wire/")

MOST_WORKERS = 8
# Bytes that must be free in memory. Three workers have used up to 120 MiB at once.
ENOUGH = 2**30
PROCESSORS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None

# Shells make background processes ignore SIGINT, and programs that the tests start and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Otherwise each run would compile the tests again, and each of the many programs that they start the same modules.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples in every run, and no time limit, for busy machines.
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _any_processor() -> Iterator[None]:
    """Let the next test run anywhere: an event loop that ends without its application leaves its thread on one."""
    yield
    if PROCESSORS:
        os.sched_setaffinity(0, PROCESSORS)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server with an empty bucket, for all tests of this process."""
    with moto_server() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def s3_client(s3_server: S3Server) -> S3Client:
    return s3_server.client()


@pytest.fixture(scope="session")
def s3_clients() -> SharedClients:
    return SharedClients()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("multipart", "s3.plan"):
        monkeypatch.setattr(f"shared.storage.{module}.MIN_PART_SIZE", SMALL_PART)


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Set an environment variable and restart the API. No variable is set at first."""

    def set_variable(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)

    unset_all(monkeypatch)
    monkeypatch.setenv("SHARE_MIN_FREE_SPACE", "0")
    return set_variable


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A directory for all tests: in memory where there is room for it, because file systems take longer."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > ENOUGH
    with tempfile.TemporaryDirectory(dir=shared if roomy else None) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def data_directories(memory: Path) -> Path:
    """Where `data_directory` is."""
    return memory


@pytest.fixture
def data_directory(data_directories: Path) -> Iterator[Path]:
    """A data directory with nothing but spares, whose path no test had before."""
    with (
        tempfile.TemporaryDirectory(dir=data_directories) as folder,
        with_spares(Path(folder) / "data", data_directories / "spares") as root,
    ):
        yield root


@pytest.fixture
def in_directory(configure: Callable[[str, str], None], data_directory: Path) -> Objects:
    """An empty directory as storage."""
    configure("SHARE_STORAGE", str(data_directory))
    return DirectoryObjects(data_directory)


@pytest.fixture
def in_bucket(
    configure: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
    s3_client: S3Client,
    s3_clients: SharedClients,
) -> Objects:
    """An empty prefix of the bucket as storage."""
    monkeypatch.setattr(clients, "Session", s3_clients.session)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    prefix = f"test/{uuid.uuid4()}"
    configure("SHARE_STORAGE", f"s3://{BUCKET}/{prefix}")
    # A new key for each prefix would be a quarter of all requests. The other ways of running store one.
    configure("SHARE_SECRET", "x" * 32)
    return BucketObjects(s3_client, BUCKET, prefix)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    # The runner waits for cleanup, as a server would.
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="session")
def lambda_logging() -> dict[str, LoggerState]:
    """The logging configuration that a function sets up at its first event, which has passed by now."""
    before = {name: logger_state(name) for name in LAMBDA_LOGGERS}
    thresholds = gc.get_threshold()
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as environment:
        asyncio.set_event_loop(runner.get_loop())
        unset_all(environment)
        for handler in handlers().values():
            httpx.Client(transport=Gateway(only=handler), base_url=f"https://{DOMAIN}").get("/no/such/page")
    # Other objects come and go in this process, and the collector must find those that were not closed.
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.collect()
    gc.freeze()
    states = {name: logger_state(name) for name in LAMBDA_LOGGERS}
    set_loggers(before)
    return states


@pytest.fixture
def on_lambda(
    configure: Callable[[str, str], None],
    loop: asyncio.AbstractEventLoop,
    lambda_logging: dict[str, LoggerState],
) -> Iterator[None]:
    """The environment of a Lambda function's process."""
    before = {name: logger_state(name) for name in LAMBDA_LOGGERS}
    configure("AWS_LAMBDA_FUNCTION_NAME", LambdaContext().function_name)
    set_loggers(lambda_logging)
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    set_loggers(before)


@pytest.fixture(scope="session")
def deployment(s3_server: S3Server) -> Iterator[Deployment]:
    with Deployment(s3_server.environment()) as deployment:
        yield deployment


@pytest.fixture
def emulated_api(
    request: pytest.FixtureRequest, deployment: Deployment, s3_client: S3Client
) -> Iterator[Callable[[bool], Api]]:
    """The API behind an emulated gateway, which remaps headers or not.

    Tests that need the API in their own process are marked accordingly.
    """
    for mark in request.node.iter_markers("not_emulated"):
        pytest.skip(mark.args[0])
    objects = EmulatedObjects(s3_client, deployment.bucket)

    def emulated(remap: bool) -> Api:
        transport = Emulated(deployment, remap=remap)
        return Api(transport, f"https://{DOMAIN}", objects, transport.configure)

    yield emulated
    objects.clear(keep=SECRET_KEY)


@pytest.hookimpl
def pytest_xdist_auto_num_workers() -> int:
    """More workers than processors, because tests also wait. Each starts servers and browsers of its own."""
    processors = len(PROCESSORS) if PROCESSORS else os.cpu_count() or 1
    return min(processors + processors // 2, MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "not_emulated(reason): a test that processes of their own cannot be put to")
    config.addinivalue_line("markers", "slow: left out by `make check`; `tests/slow.py` says which tests are")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from the tests themselves, which last: it took half the time of their collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


# Before pytest-xdist, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    in_firefox = {file_of(item) for item in items if "shared_firefox" in getattr(item, "fixturenames", ())}
    browsing = dict.fromkeys(file_of(item) for item in items if file_of(item).startswith("browser/"))
    only_chromium = [file for file in browsing if file not in in_firefox]
    for item in items:
        if is_slow(item):
            item.add_marker(pytest.mark.slow)
        file = file_of(item)
        if file.startswith(ONE_WORKER) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(file))
        elif file.startswith("browser/"):
            # Each worker starts one server and Chromium once, and one of them Firefox, which takes seconds to start.
            number = 0 if file in in_firefox or workers == 1 else 1 + only_chromium.index(file) % (workers - 1)
            item.add_marker(pytest.mark.xdist_group(f"browser {number}"))


def file_of(item: pytest.Item) -> str:
    """The file of a test, relative to `tests/`."""
    return item.nodeid.removeprefix("tests/").partition("::")[0]


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "scrypt", cheap_scrypt)


@pytest.fixture(params=WAYS)
def api(
    request: pytest.FixtureRequest,
    configure: Callable[[str, str], None],
    cheap_passwords: None,
    loop: asyncio.AbstractEventLoop,
) -> Api:
    """The API in each way: the whole application on a directory or S3, each function by itself on S3, or emulated."""
    if request.param in ("emulated", "remapped"):
        emulated: Callable[[bool], Api] = request.getfixturevalue("emulated_api")
        return emulated(request.param == "remapped")
    objects: Objects = request.getfixturevalue("in_directory" if request.param == "directory" else "in_bucket")
    if request.param == "functions":
        request.getfixturevalue("on_lambda")
        return Api(Gateway(), f"https://{DOMAIN}", objects, configure)
    return Api(WholeApp(None, loop), SERVER, objects, configure)
