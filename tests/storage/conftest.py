"""All object stores on which the contract is tested."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import botocore.endpoint
import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader, create_loader

from shared.storage.contract import ObjectStore
from shared.storage.directory.store import DirectoryStore
from shared.storage.multipart import MIN_PART_SIZE
from shared.storage.s3 import clients
from shared.storage.s3.store import S3Store, open_s3
from tests.servers import SMALL_PART, S3Server, SharedClients, moto_with_small_parts, seaweedfs
from tests.staged import staged
from tests.storage.backends import BUCKET, LEFT_OUT, Backend, Requests, Sleepless
from tests.storage.fake_s3 import FakeS3


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only_s3: what a directory does not offer, or not in steps that a test can see")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with a `backend` on each one, and all tests of an S3 server in one worker, so it starts only once."""
    if "backend" not in metafunc.fixturenames:
        return
    backends = {
        "directory": "directory",
        "moto": pytest.param("moto", marks=pytest.mark.xdist_group("moto")),
        "seaweedfs": pytest.param("seaweedfs", marks=pytest.mark.xdist_group("seaweedfs")),
    }
    for name, test in LEFT_OUT:
        if test == metafunc.function.__name__:
            del backends[name]
    if metafunc.definition.get_closest_marker("only_s3"):
        del backends["directory"]
    metafunc.parametrize("backend", backends.values(), indirect=True)


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with moto_with_small_parts() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def seaweed() -> Iterator[S3Server]:
    with seaweedfs() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def loader() -> Loader:
    """Reads botocore's description of S3 once, because that takes most of a client's creation."""
    return create_loader()


@pytest.fixture
def configure_aws(monkeypatch: pytest.MonkeyPatch, loader: Loader) -> Callable[[Mapping[str, str]], None]:
    """Set variables for botocore, which finds no other configuration."""

    def configure(variables: Mapping[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setattr(botocore.session, "create_loader", lambda *_: loader)
    return configure


@pytest.fixture(scope="session")
def data_directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On a disk, which data directories are made for."""
    return tmp_path_factory.mktemp("data-directories")


@pytest.fixture
def directory(data_directory: Path) -> DirectoryStore:
    return DirectoryStore(data_directory)


@pytest.fixture
def backend(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    configure_aws: Callable[[Mapping[str, str]], None],
    s3_clients: SharedClients,
) -> Backend:
    if request.param == "directory":
        local: DirectoryStore = request.getfixturevalue("directory")
        return Backend(local, lambda: [path.name for path in staged(local.root)])
    server: S3Server = request.getfixturevalue("moto" if request.param == "moto" else "seaweed")
    configure_aws(server.environment())
    monkeypatch.setattr(clients, "Session", s3_clients.session)
    # On SeaweedFS, conflicting requests wait for seconds. Answers must not be lost on a busy machine, either.
    monkeypatch.setattr(clients, "CONDITIONAL_TIMEOUT", 60.0)
    # moto answers one request at a time, and copies the bytes of large parts.
    monkeypatch.setattr(clients, "READ_TIMEOUT", 120.0)
    prefix = f"test/{uuid.uuid4()}"

    def unfinished() -> list[str]:
        answer = server.client().list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
        return [upload["Key"] for upload in answer.get("Uploads", [])]

    return Backend(open_s3(BUCKET, prefix), unfinished)


@pytest.fixture
def part_size(backend: Backend, request: pytest.FixtureRequest) -> int:
    """The minimum size of a part that others follow: S3's on SeaweedFS, which insists on it, and less elsewhere."""
    if request.node.callspec.params["backend"] == "seaweedfs":
        return MIN_PART_SIZE
    request.getfixturevalue("small_parts")
    return SMALL_PART


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    requests = Requests()
    send = URLLib3Session.send

    def noted(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        requests.note(request)
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", noted)
    return requests


@pytest.fixture
def store(backend: Backend) -> ObjectStore:
    return backend.store


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that botocore would have made between retries."""
    pauses: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", Sleepless(pauses))
    return pauses


@pytest.fixture
def fake(configure_aws: Callable[[Mapping[str, str]], None], pauses: list[float]) -> Iterator[FakeS3]:
    fake = FakeS3()
    configure_aws(fake.server.environment())
    yield fake
    fake.close()


@pytest.fixture
def bucket(fake: FakeS3) -> S3Store:
    return open_s3("bucket", "some/prefix")
