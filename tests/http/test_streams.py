"""Files on their way between a socket and storage."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = 1024  # of 4 KiB, in one batch below


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc decides by the blocks that were freed")
def test_memory_for_batches_is_faulted_in_only_once() -> None:
    program = """
import resource
from shared.http.streams import keep_memory

def batch():
    return [b"x" * 262_144 for _ in range(16)]

keep_memory()
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert int(run.stdout) < PAGES
