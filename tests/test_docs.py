"""The documentation keeps up with the code: its tables are complete, and its sessions show what really happens."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from functions.app import ROUTERS
from shared.http.endpoint import EVERYWHERE, WITH_BODY, Endpoint
from shared.http.problems import PROBLEMS, TYPE_PREFIX
from shared.settings import GIB, MIB, Settings
from tests.emulated.deployment import ARTIFACT
from tests.emulated.emulator import emulating
from tests.pages import ADDRESS, PAGES, README, ROOT, session, table

START_TIMEOUT = 60.0  # seconds
COMMAND_TIMEOUT = 30.0  # seconds

# What an upload gives out at random, and later commands name.
GIVEN_OUT = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<="delete_token": ")[\w-]+')

# What differs from run to run, and stands for itself after that.
VOLATILE = {
    "a moment": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z"),
    "a date": re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"),
    '"a write", 0': re.compile(r'"[\w-]{12}",\s+\d{10}\.\d+'),
}


class Questions(Mapping[str, str]):
    """An empty environment that notes which variables it is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def shown(value: str | int | tuple[str, ...] | None) -> str:
    if value is None or isinstance(value, tuple):
        return "unset"
    if isinstance(value, str):
        return f"`{value}`"
    unit, name = (GIB, "GiB") if value % GIB == 0 else (MIB, "MiB")
    return f"`{value}` ({value // unit} {name})"


def shown_default(variable: str) -> str:
    # The setting of SHARE_API_TOKEN is `api_tokens`.
    field = variable.removeprefix("SHARE_").lower()
    field += "s" * (not hasattr(Settings(), field))
    somewhere, on_lambda = (
        Settings.from_environment({"SHARE_STORAGE": "s3://bucket", **environment})
        for environment in ({}, {"AWS_LAMBDA_FUNCTION_NAME": "share"})
    )
    if getattr(somewhere, field) == getattr(on_lambda, field):
        return shown(getattr(Settings.from_environment({}), field))
    return f"{shown(getattr(somewhere, field))}; on Lambda {shown(getattr(on_lambda, field))}"


def test_settings() -> None:
    environment = Questions()
    Settings.from_environment(environment)
    documented = {cells[0].strip("`"): cells[1] for cells in table("variable", "default", "meaning")}
    # Lambda itself sets this one.
    assert set(documented) == environment.asked - {"AWS_LAMBDA_FUNCTION_NAME"}
    assert documented == {variable: shown_default(variable) for variable in documented}


@pytest.mark.parametrize("variable", ["HOST", "PORT", "WORKERS"])
def test_arguments_of_make_run(variable: str) -> None:
    default = re.search(rf"^{variable} = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert default is not None
    assert f"`{variable}={default[1]}`" in "".join(PAGES.values())


def test_routes() -> None:
    rows = {}
    for request, _, statuses, source in table("request", "answer", "statuses", "file, also a Lambda handler"):
        path = re.search(r"/[^`?]*", request)
        assert path is not None
        for method in re.findall(r"\b(?:GET|HEAD|POST|PUT|PATCH|DELETE)\b", request):
            rows[method, path[0]] = (set(map(int, re.findall(r"\b\d{3}\b", statuses))), source.strip("`"))

    served = set()
    for route in [route for router in ROUTERS for route in router.routes]:
        assert isinstance(route, Endpoint)
        if not route.include_in_schema:
            continue
        path_text = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        for method in route.offers:
            served.add((method, path_text))
            statuses_shown, source = rows[method, path_text]
            assert statuses_shown >= {route.status_code or 200, *map(int, route.responses)} - {*EVERYWHERE, *WITH_BODY}
            assert source == route.endpoint.__module__.replace(".", "/") + ".py"
    assert served == set(rows)


def test_functions() -> None:
    sources = {f"functions/{path.name}" for path in (ROOT / "functions").glob("*.py")} - {"functions/__init__.py"}
    assert set(re.findall(r"functions/\w+\.py", "".join(PAGES.values()))) >= sources


def answered_problems() -> set[tuple[int, str | None]]:
    """Status and kind of every problem in the code, as far as they are written out there."""
    # The framework raises the last two.
    found = {(row.status, row.kind) for row in PROBLEMS.values()} | {(404, None), (405, None)}
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                status = status_of(node.args[0]) if node.func.id in ("Problem", "HTTPException") else None
                kinds = [word.value for word in node.keywords if word.arg == "kind"] or [ast.Constant(None)]
                if status is not None:
                    found.add((status, ast.literal_eval(kinds[0])))
    return found


def status_of(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int(status)):
            return status
        case ast.Attribute(value=ast.Name(id="HTTPStatus"), attr=name):
            return HTTPStatus[name].value
    return None


def test_problems() -> None:
    documented = [(int(status), kind.strip("`")) for status, kind, _ in table("status", "type", "when")]
    assert documented == sorted(documented, key=lambda row: row[0])
    assert len(documented) == len(set(documented))
    assert set(documented) == {(status, kind or "about:blank") for status, kind in answered_problems()}
    assert f"`{TYPE_PREFIX}`" in "".join(PAGES.values())


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_a_page_says_whom_it_is_for_and_is_no_book(page: str) -> None:
    assert PAGES[page].split("\n\n")[1].startswith("This page is for ")
    assert len(PAGES[page].splitlines()) < 250


LINKING = [*PAGES, "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md", "tests/README.md"]


@pytest.mark.parametrize("path", LINKING)
def test_what_a_page_links_to_is_there(path: str) -> None:
    """Files of this repository, and headings of the pages."""
    page = ROOT / path
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)|<img src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    for target in map("".join, targets):
        file, _, anchor = target.partition("#")
        destination = page.parent / file if file else page
        assert destination.exists(), target
        assert not anchor or anchor in anchors(destination), target


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_layout() -> None:
    tree = README.partition("## Development")[2].split("```")[1]
    listed: dict[str, list[str]] = {}
    for indent, name in re.findall(r"^( *)(\S+)  *\S", tree, re.MULTILINE):
        if not indent:
            folder = name
            listed[folder] = []
        else:
            listed[folder].append(name)
    assert all((ROOT / name).is_dir() for name in listed)
    present = {path.name + "/" * path.is_dir() for path in (ROOT / "shared").iterdir()}
    assert set(listed["shared/"]) == present - {"__init__.py", "__pycache__/"}


def comparable(output: str) -> Any:
    """The output without what differs from run to run; JSON as values, and the head of an answer as a set."""
    text = output.replace("\r\n", "\n")
    for stand_in, pattern in VOLATILE.items():
        text = pattern.sub(stand_in, text)
    if text.startswith("HTTP/"):
        # The gateway puts the fields into another order, and adds one of its own.
        return {line for line in text.splitlines() if not line.startswith("apigw-requestid:")}
    try:
        return json.loads(text)
    except ValueError:
        return text


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with other IDs and tokens, also where the first characters of an ID name a folder."""
    for old, new in names.items():
        # A folder's whole name: the path of a link may end in the same two letters, as "/download/ad…" does.
        text = re.sub(rf"\b{old[:2]}/(?={old})", f"{new[:2]}/", text).replace(old, new)
    return text


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[str]:
    """The address of the emulated deployment, started as the README says."""
    with emulating(tmp_path, ARTIFACT, "--open") as emulator:
        yield emulator.url


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server in a process of its own, with storage in `./data` of the temporary directory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
    environment |= {"PYTHONPATH": str(ROOT), "SHARE_MIN_FREE_SPACE": "0"}
    log = tmp_path / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "local.serve", "--port", "0"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            yield started(server, log)
        finally:
            server.kill()


def started(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        found = re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
        if found is not None:
            return found[1]
        time.sleep(0.05)
    pytest.fail(f"the server did not start: {log.read_text(errors='replace')}")


def kept(command: str, variables: Path) -> str:
    """What makes a variable that the command sets known to later ones, by its value: it may stem from an upload."""
    assignment = re.match(r"(\w+)=", command)
    return f"\ndeclare -p {assignment[1]} >> {variables}" if assignment else ""


SESSIONS = [page for page in PAGES if any(session(page))]


@pytest.mark.parametrize("way", ["server", "emulator"])
@pytest.mark.parametrize("page", SESSIONS)
def test_session(request: pytest.FixtureRequest, tmp_path: Path, page: str, way: str) -> None:
    """Every command of a page, in order, on a server of its own, shows what the page says."""
    address: str = request.getfixturevalue(way)
    assert shutil.which("curl"), "curl is needed (on Debian or Ubuntu: apt install curl)"
    # Nothing else of the environment, in which a proxy or a .curlrc might be set.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {"PATH": path, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    commands = list(session(page))
    variables = tmp_path / ".variables"
    variables.touch()
    names: dict[str, str] = {}
    for command, expected in commands:
        if way == "emulator" and "data/" in command:
            # It keeps nothing in a directory.
            continue
        real_names = {shown_name: real for real, shown_name in names.items()}
        script = renamed(command, real_names).replace(ADDRESS, address)
        result = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", f"source {variables}\n{script}{kept(command, variables)}"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        output = result.stdout.decode()
        assert result.returncode == 0, f"{command}\n{output}"
        if "/file/upload" in command or " -T " in command:
            names |= dict(zip(GIVEN_OUT.findall(output), GIVEN_OUT.findall(expected), strict=True))
        output = renamed(output, names).replace(address, ADDRESS)
        assert comparable(output) == comparable(expected), command
