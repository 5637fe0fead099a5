"""A process killed at any step leaves the old state or the new one, and the sweep removes the rest."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.killed import USE_CASES
from tests.properties.effort import EFFORT

ROOT = Path(__file__).parent.parent.parent


def test_a_process_may_be_killed_at_any_step(memory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=memory) as place:
        command = [sys.executable, "-m", "tests.faults.killed", place, "4" if EFFORT == 1 else "1"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    points = json.loads(run.stdout)
    assert points.keys() == USE_CASES.keys()
    assert all(number > 3 for number in points.values()), points
