from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from functions.app import ROUTERS, handler
from local.gateway import Router, admit
from local.payloads import Request, Response, response_to
from local.template import DEFAULT_ROUTE, Route
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.tokens import Tokens
from tests.api.client import Objects
from tests.gateway import DOMAIN, LambdaContext, started
from tests.properties.asgi import HOST, Answer, Client

MAX_FILE_SIZE = 5000
ROUTER = Router([Route("ANY", DEFAULT_ROUTE, "app")])


@pytest.fixture
def root(data_directory: Path) -> Path:
    return data_directory


@pytest.fixture
def client(root: Path, loop: asyncio.AbstractEventLoop) -> Client:
    """The whole application on a directory, with a small limit on file sizes."""
    shares = Shares(DirectoryStore(root), max_file_size=MAX_FILE_SIZE, secret="x" * 32)
    service = Service(Settings(max_file_size=MAX_FILE_SIZE), Tokens(), shares)
    return Client(build_app(*ROUTERS, service=service), loop)


class Function:
    """All endpoints as one Lambda function, called with a gateway's events."""

    def ask(
        self,
        method: str,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        chunks: Iterable[bytes] = (),
    ) -> Answer:
        fields = [(name.decode(), value.decode("latin-1")) for name, value in (HOST, *headers)]
        request = Request(method, target.decode("latin-1"), fields, b"".join(chunks), source_ip="203.0.113.7")
        admitted = admit(request, ROUTER, DOMAIN)
        if isinstance(admitted, Response):
            response = admitted
        else:
            result = handler(json.loads(admitted.event), LambdaContext())
            response = response_to(request, json.dumps(result).encode())
        return Answer(response.status, [(name.lower(), value) for name, value in response.headers], response.body)


@pytest.fixture
def function(in_directory: Objects, on_lambda: None) -> Function:
    started(handler)
    return Function()
