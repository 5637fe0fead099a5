"""The output of `make build` that `EMULATED_ARTIFACT` names: all that a function needs, and nothing else."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from local import artifact
from tests.emulated.deployment import ARTIFACT, ROOT

MIB = 1024 * 1024
MAX_BYTES = 40 * MIB
# What installers leave beside packages.
LEFTOVERS = {"__pycache__"}

pytestmark = pytest.mark.skipif(ARTIFACT == ROOT, reason="nothing was built")


@pytest.fixture(scope="module", params=["UploadFunction", "SweepFunction"])
def folder(request: pytest.FixtureRequest) -> Path:
    return artifact.load(ARTIFACT).functions[request.param].code


def sources(folder: Path) -> set[Path]:
    return {
        path.relative_to(folder)
        for package in ("functions", "shared")
        for path in (folder / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_our_own_code_is_in_it_whole(folder: Path) -> None:
    lists = {Path("functions/requirements.txt"), Path("functions/requirements.lock")}
    assert sources(folder) == sources(ROOT) - lists
    for path in sources(folder):
        assert (folder / path).read_bytes() == (ROOT / path).read_bytes()


def normal(name: str) -> str:
    """The normalized name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_beside_it_is_what_the_functions_require_and_nothing_else(folder: Path) -> None:
    distributions = importlib.metadata.distributions(path=[str(folder)])
    installed = {normal(distribution.name): distribution for distribution in distributions}
    requirements = (ROOT / "functions" / "requirements.txt").read_text()
    required = set(map(normal, re.findall(r"^([\w-]+)", requirements, re.MULTILINE)))
    needed: set[str] = set()
    waiting = list(required)
    while waiting:
        name = waiting.pop()
        # Without dependencies that only another extra or system needs.
        if name in installed and name not in needed:
            needed.add(name)
            waiting += [normal(re.split(r"[^\w.-]", text)[0]) for text in installed[name].requires or ()]
    assert set(installed) == needed
    assert required <= needed
    assert not needed & {"boto3", "botocore", "moto", "uvicorn", "pytest"}

    owned = {file.parts[0] for distribution in installed.values() for file in distribution.files or ()}
    present = {path.name for path in folder.iterdir()}
    assert present - owned == {"functions", "shared"} | (present & LEFTOVERS)
    assert not [path for path in folder.rglob("*") if path.name in ("tests", "test") and path.is_dir()]


def test_it_is_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < MAX_BYTES
