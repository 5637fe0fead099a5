"""The tables of the documentation are complete, and its tree matches the repository."""

from __future__ import annotations

import ast
import re
from http import HTTPStatus

import pytest

from functions.app import ROUTERS
from shared.http.endpoint import EVERYWHERE, WITH_BODY, Endpoint
from shared.http.problems import PROBLEMS, TYPE_PREFIX
from shared.settings import GIB, MIB, Settings
from tests.environment import Questions
from tests.pages import PAGES, ROOT, block, table


def shown(value: str | int | tuple[str, ...] | None) -> str:
    if value is None or isinstance(value, tuple):
        return "unset"
    if isinstance(value, str):
        return f"`{value}`"
    unit, name = (GIB, "GiB") if value % GIB == 0 else (MIB, "MiB")
    return f"`{value}` ({value // unit} {name})"


def shown_default(variable: str) -> str:
    # SHARE_API_TOKEN sets `api_tokens`.
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
    # Lambda itself sets this variable.
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
    # The last one is the example that docs/contributing.md adds.
    assert set(re.findall(r"functions/\w+\.py", "".join(PAGES.values()))) == sources | {"functions/exists.py"}


def answered_problems() -> set[tuple[int, str | None]]:
    """Status and kind of every problem that the code spells out."""
    # The framework raises the last two.
    problems = {(row.status, row.kind) for row in PROBLEMS.values()} | {(404, None), (405, None)}
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                status = status_of(node.args[0]) if node.func.id in ("Problem", "HTTPException") else None
                kinds = [word.value for word in node.keywords if word.arg == "kind"] or [ast.Constant(None)]
                if status is not None:
                    problems.add((status, ast.literal_eval(kinds[0])))
    return problems


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


def test_layout() -> None:
    tree = block("", "shared/        what")
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
