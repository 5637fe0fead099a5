"""What each layer may use: the import contracts, and rules about single names that import-linter cannot check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The rest of `local` replaces AWS, and so must use what the product must not.
PRODUCT = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py"), ROOT / "local" / "serve.py"]

# Not success codes, nor 300, which could also be sizes or seconds.
STATUSES = frozenset(status.value for status in HTTPStatus if status > HTTPStatus.MULTIPLE_CHOICES)

Finder = Callable[[ast.AST], bool]


def test_the_import_contracts_hold() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_group_is_repeated_possessively() -> None:
    """Python before 3.11.5 can match half of such a group (python/cpython#106052)."""
    paths = [path.name for path in PRODUCT if re.search(r"\)[*+?]\+", path.read_text())]
    assert paths == []


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _importing(*packages: str) -> Finder:
    return lambda node: any(name.partition(".")[0] in packages for name in _imported(node))


def _reads_environment(node: ast.AST) -> bool:
    words = ("environ", "environb", "getenv", "getenvb")
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr in words
    return any(name in {f"os.{word}" for word in words} for name in _imported(node))


def _names_status(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) is int and node.value in STATUSES
    return "http.HTTPStatus" in _imported(node)


S3 = "shared/storage/s3"

# What to find, and the only files or folders that may contain it.
RULES: dict[str, tuple[Finder, set[str]]] = {
    "the environment": (_reads_environment, {"shared/settings.py"}),
    "AWS": (_importing("boto3", "botocore", "types_boto3_s3"), {S3, "shared/tokens.py"}),
    "Lambda events": (_importing("mangum"), {"shared/http/handler.py"}),
    "Powertools": (_importing("aws_lambda_powertools"), {"shared/telemetry.py"}),
    "unpickling": (_importing("pickle", "cPickle", "_pickle", "dill", "joblib", "marshal", "shelve"), set()),
    # S3's own answers have status codes, too.
    "status codes": (_names_status, {"shared/http", "functions", S3}),
}


@pytest.mark.parametrize(("finds", "allowed"), RULES.values(), ids=RULES.keys())
def test_only_some_files_know_of_it(finds: Finder, allowed: set[str]) -> None:
    knowing = {path.relative_to(ROOT) for path in PRODUCT if any(map(finds, ast.walk(ast.parse(path.read_bytes()))))}
    strangers = {path for path in knowing if not allowed & {path.as_posix(), *map(Path.as_posix, path.parents)}}
    assert strangers == set()


CAUGHT = {
    "the environment": ["import os\nos.environ", "import os\nos.getenv('X')", "from os import environ"],
    "AWS": ["import boto3.session", "from botocore.config import Config", "def f():\n    import boto3"],
    "Lambda events": ["from mangum import Mangum"],
    "Powertools": ["import aws_lambda_powertools.metrics"],
    "unpickling": ["import pickle", "from pickle import loads", "import shelve as s"],
    "status codes": ["x = 404", "raise Problem(503)", "from http import HTTPStatus"],
}


@pytest.mark.parametrize(("rule", "source"), [(rule, source) for rule, texts in CAUGHT.items() for source in texts])
def test_a_rule_sees_what_it_is_about(rule: str, source: str) -> None:
    finds = RULES[rule][0]
    assert any(map(finds, ast.walk(ast.parse(source))))
