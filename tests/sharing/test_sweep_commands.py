"""Sweep and scrub as their users run them: a scheduled Lambda function, and commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions import sweep
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import blob_key
from tests.clock import DAY, HOUR, Clock
from tests.gateway import LambdaContext, started
from tests.sharing.shares import contents, shares_over, upload

ROOT = Path(__file__).parent.parent.parent
NOTHING = {"removed": 0, "sealed": 0, "leftovers": 0, "failed": 0}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def expired(root: Path) -> str:
    """A file that expired hours ago. Returns its ID."""
    return upload(shares_over(DirectoryStore(root), Clock(datetime.now(UTC) - 3 * HOUR)), expires_in=1).file_id


@pytest.fixture
def kept(root: Path) -> str:
    return upload(shares_over(DirectoryStore(root), Clock(datetime.now(UTC))), expires_in=DAY.total_seconds()).file_id


@pytest.fixture
def on_schedule(
    root: Path, on_lambda: None, configure: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> Callable[[], tuple[dict[str, int], set[str]]]:
    """Send EventBridge's event to the function. Returns its result, and the names of the metrics that it emitted."""
    configure("SHARE_STORAGE", str(root))
    event = json.loads((ROOT / "events" / "sweep.json").read_text())

    def run() -> tuple[dict[str, int], set[str]]:
        capsys.readouterr()
        result: dict[str, int] = started(sweep.handler)(event, LambdaContext())
        lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return result, {name for line in lines for name in line if name.startswith("Sweep")}

    return run


@pytest.fixture
def run(root: Path) -> Run:
    """Run a module on the directory, as from a shell."""

    def command(module: str, **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
        environment = {**inherited, "SHARE_STORAGE": str(root), **variables}
        return subprocess.run(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


def test_the_schedule_removes_what_has_expired(
    on_schedule: Callable[[], tuple[dict[str, int], set[str]]], expired: str, kept: str, root: Path
) -> None:
    result, metrics = on_schedule()
    assert result == {**NOTHING, "removed": 1}
    assert metrics == {"SweepRemoved"}
    left = contents(root)
    assert blob_key(expired) not in left
    assert blob_key(kept) in left


def test_a_sweep_that_does_nothing_emits_no_metric(
    on_schedule: Callable[[], tuple[dict[str, int], set[str]]], kept: str
) -> None:
    assert on_schedule() == (NOTHING, set())


def test_the_sweep_command_prints_what_it_did(run: Run, expired: str, kept: str, root: Path) -> None:
    first = run("functions.sweep")
    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout) == {**NOTHING, "removed": 1}
    assert blob_key(expired) not in contents(root)
    assert json.loads(run("functions.sweep").stdout) == NOTHING
    assert blob_key(kept) in contents(root)


def test_the_scrub_command_reports_damage(run: Run, kept: str, root: Path) -> None:
    whole = run("shared.scrub")
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, "1 intact, 0 damaged\n", "")
    (root / blob_key(kept)).write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    damaged = run("shared.scrub")
    assert damaged.returncode == 1
    assert kept in damaged.stdout


@pytest.mark.parametrize("module", ["functions.sweep", "shared.scrub"])
def test_a_command_names_the_setting_that_it_cannot_use(run: Run, module: str) -> None:
    done = run(module, SHARE_STORAGE="ftp://example.org")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: SHARE_STORAGE must be a directory or s3://bucket/prefix\n"


def test_the_sweep_loads_no_web_framework_and_no_aws() -> None:
    script = "import sys, functions.sweep; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "shared" in loaded
    assert loaded.isdisjoint({"fastapi", "starlette", "pydantic", "uvicorn", "mangum", "botocore"})
