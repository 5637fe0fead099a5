"""The whole application under a path prefix, as behind a proxy that passes one on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from functions.app import ROUTERS
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.tokens import Tokens

PREFIX = "/share"


def application(tmp_path: Path) -> ASGIApp:
    shares = Shares(DirectoryStore(tmp_path), max_file_size=100)
    return build_app(*ROUTERS, service=Service(Settings(), Tokens(("right",)), shares))


def ask(app: ASGIApp, method: str, path: str, *, root_path: str = PREFIX, **headers: str) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://share.test") as client:
            return await client.request(method, PREFIX + path, headers=headers)

    return asyncio.run(request())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/file/metadata/"),
        ("HEAD", "/file/metadata"),
        ("PUT", "/file/upload/x.txt"),
        ("PUT", "/file/upload"),
        ("POST", "/file/upload/"),
    ],
)
def test_a_token_is_asked_for_under_a_prefix_too(tmp_path: Path, method: str, path: str) -> None:
    assert ask(application(tmp_path), method, path).status_code == 401
    assert ask(application(tmp_path), method, path, authorization="Bearer right").status_code != 401


def test_a_wrong_method_gets_the_right_ones_where_another_application_mounts_this_one(tmp_path: Path) -> None:
    mounting = Starlette(routes=[Mount(PREFIX, application(tmp_path))])
    answer = ask(mounting, "DELETE", "/file/metadata/", root_path="")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_wrong_method_gets_the_right_ones_under_a_prefix(tmp_path: Path) -> None:
    answer = ask(application(tmp_path), "DELETE", "/file/metadata/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
