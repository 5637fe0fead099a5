"""No function loads what it has no use for, since each import is time that every cold start takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.starts import ENVIRONMENT, PEERS, ROOT, cases

FUNCTIONS = {name: code for name, code in cases().items() if name not in PEERS}
PLAIN = {"functions.seal", "functions.sweep"}
WEB = {"fastapi", "starlette", "pydantic", "mangum"}
# Packages that not every function needs, and the functions that do.
NEEDED: dict[str, set[str]] = {
    **dict.fromkeys(WEB, FUNCTIONS.keys() - PLAIN),
    # The parser of Repr-Digest, which few uploads announce.
    "http_sf": set(),
    # What some ways of signing for AWS need.
    "awscrt": set(),
    # What a page is made with, once one is asked for.
    "jinja2": set(),
    "segno": set(),
    # What boto3 loads with every start, and only its file transfers use.
    "boto3": set(),
    "s3transfer": set(),
    # For development, or for a local run.
    "uvicorn": set(),
    "moto": set(),
    "pytest": set(),
}


def modules(name: str, storage: str) -> set[str]:
    """What a process has loaded once the function is ready."""
    environment = {**ENVIRONMENT, "SHARE_STORAGE": storage, "PYTHONDONTWRITEBYTECODE": "1"}
    code = f"{FUNCTIONS[name]}\nimport sys; sys.stderr.write('loaded ' + ' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return set(run.stderr.rpartition("loaded ")[2].split())


def packages(names: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in names}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_on_s3_loads_only_what_it_uses(name: str) -> None:
    loaded = modules(name, "s3://benchmark")
    assert packages(loaded) & NEEDED.keys() == {package for package, users in NEEDED.items() if name in users}
    assert "botocore" in packages(loaded)
    if name != "functions.app":
        assert {module for module in loaded if module.startswith("functions.")} == {name}
        assert ("shared.http.forms" in loaded) is (name == "functions.upload")
        assert ("shared.http.app" in loaded) is (name not in PLAIN)


@pytest.mark.parametrize("name", ["functions.download", "functions.upload", "functions.sweep"])
def test_nothing_of_aws_is_loaded_where_storage_is_a_directory(name: str, tmp_path: Path) -> None:
    # Powertools names itself to botocore, but makes no client.
    assert not packages(modules(name, str(tmp_path))) & {"boto3", "urllib3"}
