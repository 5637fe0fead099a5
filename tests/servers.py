"""S3 servers for the tests, each in a separate process that lives as long as its `with` block.

There are two, because each lacks something: moto lists in S3's order and answers 404 where S3 does; SeaweedFS checks
signatures, and its conditional writes are as fast as those of a real store. Both listen on 127.0.0.1 only.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import boto3.session
import httpx
from botocore.config import Config
from botocore.session import Session

from tests.forks import ROOT, Process, start

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

HOST = "127.0.0.1"
REGION = "us-east-1"
BUCKET = "shares"
ACCESS_KEY = "testing"
SECRET_KEY = "testing-secret"
ADMINISTRATOR = {
    "name": "tests",
    "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}
START_WITHIN = 60.0  # seconds
ATTEMPTS = 3

# Below the ephemeral ports of operating systems, even with an offset of 10,000.
PORTS = range(10_000, 20_000)
GRPC_OFFSET = 10_000

Handler = Callable[..., None]

# The number of keys on a page of moto's listings. S3 has 1,000, but so many objects take long to create.
MOTO_PAGE_SIZE = 100

# The minimum size of a part that others follow, in tests with `small_parts`. S3 has 5 MiB, which take long to send.
SMALL_PART = 2000


@dataclass(frozen=True)
class S3Server:
    """A running server, and an account with all permissions."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """The environment variables with which boto3 uses this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @functools.cache  # noqa: B019 - servers are few, and a client takes longer to create than most tests take
    def client(self) -> S3Client:
        return boto3.session.Session().client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )


class SharedClients:
    """Creates each client once for all its sessions, because that takes most of the time of an S3 test."""

    def __init__(self) -> None:
        self._session = Session()
        self._clients: dict[object, S3Client] = {}

    def session(self) -> SharedSession:
        return SharedSession(self)

    def client(self, service: Literal["s3"], config: Config, handlers: Sequence[tuple[str, Handler]]) -> S3Client:
        key = os.environ.get("AWS_ENDPOINT_URL"), repr(sorted(vars(config).items())), tuple(handlers)
        if key not in self._clients:
            for event, handler in handlers:
                self._session.register(event, handler)
            self._clients[key] = cast("S3Client", self._session.create_client(service, config=config))
            for event, handler in handlers:
                self._session.unregister(event, handler)
        return self._clients[key]


class SharedSession:
    """A session with no events but its own."""

    def __init__(self, clients: SharedClients) -> None:
        self._clients = clients
        self._handlers: list[tuple[str, Handler]] = []

    def register(self, event: str, handler: Handler) -> None:
        self._handlers.append((event, handler))

    def create_client(self, service: Literal["s3"], *, config: Config) -> S3Client:
        return self._clients.client(service, config, self._handlers)

    def get_scoped_config(self) -> None:
        """None: only sessions without a profile are shared."""


@contextlib.contextmanager
def moto_server(**environment: str) -> Iterator[S3Server]:
    """moto in a separate process: several threads cannot use it safely within one process.

    It lists 100 keys at a time.
    """

    environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(MOTO_PAGE_SIZE), **environment}

    def moto(ports: Sequence[int], log: int) -> Process:
        command = ["-m", "local.moto_server", str(ports[0])]
        return start(command, ROOT, environment, log, preparation="moto")

    with running(moto, 1, HTTPStatus.OK) as ports:
        yield S3Server(f"http://{HOST}:{ports[0]}", ACCESS_KEY, SECRET_KEY)


def moto_with_small_parts() -> contextlib.AbstractContextManager[S3Server]:
    """moto that accepts parts of `SMALL_PART`, and keeps objects of some parts in memory."""
    return moto_server(S3_UPLOAD_PART_MIN_SIZE=str(SMALL_PART), MOTO_S3_DEFAULT_KEY_BUFFER_SIZE=str(10 * SMALL_PART))


@contextlib.contextmanager
def seaweedfs(volumes: int = 100) -> Iterator[S3Server]:
    """SeaweedFS with a temporary directory.

    A bucket takes several volumes at once, so tests should share one. Each volume has 64 MiB, and deleted data still
    occupies it for some minutes.
    """
    with tempfile.TemporaryDirectory(prefix="seaweedfs-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        accounts = directory / "s3.json"
        accounts.write_text(json.dumps({"identities": [ADMINISTRATOR]}))
        (directory / "data").mkdir()
        arguments = [
            "-s3",
            f"-s3.config={accounts}",
            f"-dir={directory / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            f"-volume.max={volumes}",
        ]
        with weed_server(arguments, directory) as port:
            yield S3Server(f"http://{HOST}:{port}", ACCESS_KEY, SECRET_KEY)


@contextlib.contextmanager
def weed_server(arguments: Sequence[str], folder: Path) -> Iterator[int]:
    """All servers of SeaweedFS in one process, with their logs in a folder; this is the port of S3.

    They refuse unsigned requests.
    """
    roles = ("s3", "master", "volume", "filer")

    def weed(ports: Sequence[int], log: int) -> Process:
        command = [
            str(Path(sys.executable).with_name("weed")),
            f"-logdir={folder}",
            "server",
            *arguments,
            # Of several equal flags, the last one applies.
            *(f"-{role}.port={port}" for role, port in zip(roles, ports, strict=True)),
            *(f"-{role}.localSocket={folder / role}.sock" for role in ("s3", "filer")),
            # Two more servers use fixed ports, which a second SeaweedFS would find in use.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        return process(command, log)

    # An orderly shutdown would take 15 s, for data that is no longer needed.
    with running(weed, len(roles), HTTPStatus.FORBIDDEN, patience=0) as ports:
        try:
            yield ports[0]
        finally:
            for role, port in zip(roles, ports, strict=True):
                Path(f"/tmp/seaweedfs-{role}-grpc-{port + GRPC_OFFSET}.sock").unlink(missing_ok=True)


def process(command: Sequence[str], log: int) -> Process:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextlib.contextmanager
def running(
    server: Callable[[Sequence[int], int], Process],
    port_count: int,
    answer: HTTPStatus,
    *,
    patience: float = 5.0,
) -> Iterator[Sequence[int]]:
    """Run a server until the block ends. It is started with free ports, of which the first answers HTTP, and a log."""
    for attempt in range(ATTEMPTS):
        ports = free_ports(port_count)
        with tempfile.TemporaryFile() as log:
            process = server(ports, log.fileno())
            try:
                if _answers(process, ports[0], answer):
                    yield ports
                    return
                # Another process may have taken a port meanwhile.
                if process.poll() is None or attempt == ATTEMPTS - 1:
                    log.seek(0)
                    raise RuntimeError(f"{process.args!r} did not start:\n{log.read().decode(errors='replace')}")
            finally:
                _stop(process, patience)


def _answers(process: Process, port: int, answer: HTTPStatus) -> bool:
    """Wait until the server answers; False if it ends, or takes too long."""
    deadline = time.monotonic() + START_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        if _status(port) == answer:
            # If another server answered on this port, ours has ended.
            return process.poll() is None
        time.sleep(0.05)
    return False


def _status(port: int) -> int | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _stop(process: Process, patience: float) -> None:
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ask(method: str, url: str, **options: Any) -> httpx.Response:
    """Like `httpx.request`, but without a proxy, and without loading the TLS certificates each time, which is slow."""
    return httpx.request(method, url, trust_env=False, verify=_trusted(), **options)


@functools.cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


def free_ports(count: int) -> Sequence[int]:
    """Free ports, whose derived SeaweedFS ports are free, too. No two workers of pytest choose the same."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    shuffled = random.SystemRandom().sample(ports, len(ports))
    free = (port for port in shuffled if _is_free(port) and _is_free(port + GRPC_OFFSET))
    return [port for port, _ in zip(free, range(count), strict=False)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Like a server: a connection in TIME_WAIT does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
