"""`cases.md` names, for every hard case, tests that exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

LAST = 212
NEVER_GIVEN = {
    *(4, 9, 25, 34, 45, 54, 59, 67, 85, 89, 96, 108, 123, 136, 145, 158, 164, 168, 174, 182, 190, 199, 211),
}
IDS = [f"C{number:03}" for number in range(1, LAST + 1) if number not in NEVER_GIVEN]


@functools.cache
def named() -> dict[str, str]:
    """The second cell of every row by the first."""
    rows = re.findall(r"^\| (C\d{3}) \| (.*) \|$", (TESTS / "cases.md").read_text(), re.MULTILINE)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


@functools.cache
def defined() -> set[str]:
    """Every test of the suite as `file::name`."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.relative_to(TESTS).as_posix()}::{node.name}")
    return found


def test_there_is_a_row_for_every_case() -> None:
    assert list(named()) == IDS


@pytest.mark.parametrize("case", IDS)
def test_a_case_is_pinned_by_tests_that_exist(case: str) -> None:
    tests = re.findall(r"`([^`]+)`", named()[case])
    assert tests
    assert set(tests) <= defined()


def test_what_a_comment_calls_a_case_is_one() -> None:
    mentioned = {case for path in TESTS.rglob("*.py") for case in re.findall(r"\bC\d{3}\b", path.read_text())}
    assert mentioned <= set(IDS)
