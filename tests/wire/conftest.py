"""Servers that share nothing but their storage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import BUCKET, S3Server, seaweedfs
from tests.wire.server import Server, until


@pytest.fixture
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Server]]:
    """One server with two processes, or as many as the parameter says, that share a directory."""
    count = getattr(request, "param", 2)
    log = tmp_path / "data.log"
    with Server(tmp_path / "data", "--workers", str(count)) as server:
        # It answers as soon as one of its processes is up.
        until(lambda: log.read_text().count("Application startup complete") == count)
        yield [server]


@pytest.fixture
def machines(tmp_path: Path, s3_server: S3Server) -> Iterator[list[Server]]:
    """Two servers that share only a bucket."""
    variables = {**s3_server.environment(), "SHARE_STORAGE": f"s3://{BUCKET}/races/{uuid.uuid4()}"}
    with Server(tmp_path / "first", **variables) as first, Server(tmp_path / "second", **variables) as second:
        yield [first, second]


@pytest.fixture(scope="session")
def seaweed() -> Iterator[S3Server]:
    with seaweedfs() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture
def machines_on_seaweedfs(tmp_path: Path, seaweed: S3Server) -> Iterator[list[Server]]:
    variables = {**seaweed.environment(), "SHARE_STORAGE": f"s3://{BUCKET}/races/{uuid.uuid4()}"}
    with Server(tmp_path / "first", **variables) as first, Server(tmp_path / "second", **variables) as second:
        yield [first, second]
