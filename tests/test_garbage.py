"""How often Python's garbage collector looks for reference cycles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def run(program: str) -> Any:
    """The JSON output of a separate process, because the collector belongs to the whole process."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, timeout=60)
    return json.loads(done.stdout)


def test_what_was_put_together_is_not_looked_through_again() -> None:
    program = """
import gc, json
from shared.garbage import long_lived
with long_lived():
    held = [[] for _ in range(100_000)]
    during = gc.isenabled()
print(json.dumps([during, gc.isenabled(), any(held[0] is each for each in gc.get_objects())]))
"""
    assert run(program) == [False, True, False]


def test_a_start_that_fails_is_as_if_there_had_been_none() -> None:
    program = """
import gc, json
from shared.garbage import long_lived
before = gc.get_threshold()
try:
    with long_lived():
        raise ValueError
except ValueError:
    print(json.dumps([gc.isenabled(), gc.get_freeze_count(), gc.get_threshold() == before]))
"""
    assert run(program) == [True, 0, True]


def test_garbage_of_requests_is_still_found() -> None:
    program = """
import json, weakref
from shared.garbage import long_lived

class Cycle:
    def __init__(self):
        self.me = self

with long_lived():
    pass
last = weakref.ref(Cycle())
made = 0
while last() is not None and made < 1_000_000:
    made += 1
    Cycle()
print(json.dumps(made))
"""
    assert 0 < run(program) < 100_000
