"""The API reference at /docs: complete, offline, with commands that work when pasted."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.client import Api, openapi_document, problem
from tests.servers import ask
from tests.wire.server import WITHIN, Server

OPERATIONS = [operation["operationId"] for path in openapi_document()["paths"].values() for operation in path.values()]
TOKEN = "a-long-random-token"


def test_the_openapi_document_is_served(api: Api) -> None:
    assert api.request("GET", "/openapi.json").json()["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_reference_shows_every_operation_with_all_of_its_statuses(api: Api, path: str) -> None:
    page = api.request("GET", path)
    assert page.status_code == 200
    for route, operations in api.request("GET", "/openapi.json").json()["paths"].items():
        for operation in operations.values():
            identifier = operation["operationId"]
            (section,) = re.findall(rf'<section class="card" id="{identifier}".*?</section>', page.text, re.DOTALL)
            assert f"<code>{route}</code>" in section
            assert "<pre" in section
            for status in operation["responses"]:
                assert re.search(rf">{status}<", section), (identifier, status)
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in section


def test_no_default_is_null() -> None:
    """In a change, null removes an option, and a missing one stays as it is."""
    assert "'default': None" not in str(openapi_document())


def test_the_reference_needs_nothing_from_elsewhere(api: Api) -> None:
    """It has the same policy and style sheets as the other pages, and works offline."""
    page = api.request("GET", "/docs")
    others = api.request("GET", "/file").headers["content-security-policy"]
    assert page.headers["content-security-policy"] == re.sub(r"'self' https?:[^\s;]+", "'self'", others)
    assert "unsafe" not in page.headers["content-security-policy"]
    fetched = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert {re.sub(r"/static/\w+/", "", address) for address in fetched} >= {"docs.css", "docs.js"}
    assert all(address.startswith("/") for address in fetched)
    assert not re.search(r"<style|style=|<script>| on\w+=", page.text)


def test_there_is_one_reference(api: Api) -> None:
    problem(api.request("GET", "/redoc"), 404)


@pytest.fixture(scope="module", params=["open", "with a token"])
def commands(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[str]]]:
    """The commands for each operation, in order, from the page of a running server."""
    variables = {} if request.param == "open" else {"SHARE_API_TOKEN": TOKEN}
    with Server(tmp_path_factory.mktemp("reference") / "data", **variables) as server:
        address = f"http://127.0.0.1:{server.port}"
        page = ask("GET", f"{address}/docs").text
        assert address in page
        preparations: list[str] = []
        commands: dict[str, list[str]] = {}
        parts = re.findall(r'<section class="card" id="(\w+)"|<pre[^>]*>(.*?)</pre>', page, re.DOTALL)
        operation = ""
        for identifier, text in parts:
            if identifier:
                operation = identifier
            elif operation:
                commands[operation] = [*preparations, html.unescape(text)]
                operation = ""
            else:
                preparations.append(html.unescape(text).replace("your access token", TOKEN))
        # The page asks for a token only if the server requires one.
        assert preparations[0].startswith("TOKEN=") is bool(variables)
        yield commands


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_command_works_as_it_is_shown(commands: dict[str, list[str]], operation: str, tmp_path: Path) -> None:
    assert shutil.which("curl"), "curl is needed (on Debian or Ubuntu: apt install curl)"
    # curl itself exits with 0 when the server refuses a request.
    script = "\n".join(['curl() { command curl --fail "$@"; }', *commands[operation]])
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        # The interpreter of the tests: "python3" may be a script that looks for one.
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        timeout=WITHIN,
        check=False,
    )
    assert result.returncode == 0, (script, result.stdout, result.stderr)
