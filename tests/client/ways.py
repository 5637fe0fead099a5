"""The ways of running for client tests, each with a proxy in the path of the files' bytes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.client.proxy import Proxy
from tests.emulated.deployment import ARTIFACT
from tests.emulated.emulator import emulating
from tests.servers import S3Server, moto_server, seaweedfs
from tests.wire.server import Server

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
    with (
        watched(moto_server) as (s3, proxy),
        emulating(folder, artifact, "--token", TOKEN, "--s3", proxy.address, services=s3) as emulator,
    ):
        yield Way(emulator.url, proxy, TOKEN)


@contextlib.contextmanager
def watched(server: Callable[[], AbstractContextManager[S3Server]]) -> Iterator[tuple[S3Server, Proxy]]:
    with server() as s3, Proxy(int(s3.endpoint.rpartition(":")[2])) as proxy:
        yield s3, proxy


WAYS = {"directory": directory, "bucket": bucket, "emulated": emulated}
