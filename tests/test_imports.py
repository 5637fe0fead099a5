"""No function loads what it does not use, because every import lengthens each cold start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.starts import ENVIRONMENT, PEERS, ROOT, cases

FUNCTIONS = {name: code for name, code in cases().items() if name not in PEERS}
PLAIN = {"functions.seal", "functions.sweep"}
WEB = {"fastapi", "starlette", "pydantic", "mangum"}
# Packages that only some functions need, and those functions.
NEEDED: dict[str, set[str]] = {
    **dict.fromkeys(WEB, FUNCTIONS.keys() - PLAIN),
    # The parser of Repr-Digest, which few uploads send.
    "http_sf": set(),
    # For some ways of signing requests to AWS.
    "awscrt": set(),
    # For pages, once one is requested.
    "jinja2": set(),
    "segno": set(),
    # boto3 loads these at each start, but only its file transfers use them.
    "boto3": set(),
    "s3transfer": set(),
    # For development, or for a local run.
    "uvicorn": set(),
    "moto": set(),
    "pytest": set(),
}


def modules(name: str, storage: str) -> set[str]:
    """The modules that a process has loaded once the function is ready."""
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
    # FastAPI loads it for each type that it is given to validate.
    assert "pydantic.v1" not in loaded
    if name != "functions.app":
        assert {module for module in loaded if module.startswith("functions.")} == {name}
        assert ("shared.http.forms" in loaded) is (name == "functions.upload")
        assert ("shared.http.app" in loaded) is (name not in PLAIN)


@pytest.mark.parametrize("name", ["functions.download", "functions.upload", "functions.sweep"])
def test_nothing_of_aws_is_loaded_where_storage_is_a_directory(name: str, tmp_path: Path) -> None:
    # Powertools registers its name with botocore, but creates no client.
    assert not packages(modules(name, str(tmp_path))) & {"boto3", "urllib3"}
