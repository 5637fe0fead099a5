"""The ways of running for client tests, each with a proxy in the path of the files' bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx

from tests.client.proxy import Proxy
from tests.emulated.deployment import ARTIFACT
from tests.forks import start
from tests.servers import S3Server, moto_server, seaweedfs
from tests.wire.server import ROOT, WITHIN, Server, until

BUCKET = "shares"
TOKEN = "token-of-the-tests"
# Smaller than any test file that is sent in parts.
INLINE_LIMIT = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """The API's address, its token, and the proxy where the bytes of large files can be watched and stopped."""

    address: str
    bytes: Proxy
    token: str = ""


@contextlib.contextmanager
def directory(folder: Path) -> Iterator[Way]:
    """The bytes pass through the server."""
    with Server(folder / "data") as server, Proxy(server.port) as proxy:
        yield Way(proxy.address, proxy)


@contextlib.contextmanager
def bucket(folder: Path) -> Iterator[Way]:
    """The bytes of large files go between client and storage, which checks signatures."""
    with watched(seaweedfs) as (s3, proxy):
        s3.client().create_bucket(Bucket=BUCKET)
        variables = {
            **s3.environment(),
            "AWS_ENDPOINT_URL": proxy.address,
            "SHARE_STORAGE": f"s3://{BUCKET}/files",
            "SHARE_INLINE_LIMIT": str(INLINE_LIMIT),
        }
        with Server(folder / "data", **variables) as server:
            yield Way(f"http://127.0.0.1:{server.port}", proxy)


@contextlib.contextmanager
def emulated(folder: Path, artifact: Path = ARTIFACT) -> Iterator[Way]:
    """The emulated deployment, with a token; its template can come from another folder."""
    with watched(moto_server) as (s3, proxy):
        command = ["-m", "tests.emulated.emulate", "--port", "0", "--token", TOKEN]
        command += ["--artifact", str(artifact), "--s3", proxy.address]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
        log = folder / "log"
        variables = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        with log.open("wb") as output:
            process = start(command, ROOT, {**inherited, **variables}, output.fileno(), preparation="emulate")
        try:
            until(lambda: process.poll() is not None or "Ctrl-C" in log.read_text())
            match = re.search(r"on (http://\S+)$", log.read_text(), re.MULTILINE)
            assert match is not None, log.read_text()
            until(lambda: answers(match[1]))
            yield Way(match[1], proxy, TOKEN)
        finally:
            process.terminate()
            process.wait(WITHIN)


@contextlib.contextmanager
def watched(server: Callable[[], AbstractContextManager[S3Server]]) -> Iterator[tuple[S3Server, Proxy]]:
    with server() as s3, Proxy(int(s3.endpoint.rpartition(":")[2])) as proxy:
        yield s3, proxy


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", trust_env=False, timeout=WITHIN).is_success
    except httpx.TransportError:
        return False


WAYS = {"directory": directory, "bucket": bucket, "emulated": emulated}
