"""Programs that tests start, and checks for those that must be installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.wire.server import ROOT, WITHIN


@contextlib.contextmanager
def process(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=ROOT, env={**inherited, **environment}, stdout=output, stderr=subprocess.STDOUT
        ) as started,
    ):
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(WITHIN)
            except subprocess.TimeoutExpired:
                started.kill()


def require(variable: str, *tools: str) -> None:
    """Skip the test if one of these is not installed, or fail it if the variable says that they are required."""
    for tool in tools:
        if shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
            assert os.environ.get(variable) != "1", f"{variable} is set, and there is no {tool}"
            pytest.skip(f"there is no {tool}")
