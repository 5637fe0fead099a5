"""The locked packages: exactly the required ones, and every file with its hash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "functions", "client", "local", "benchmarks", "tests")
LOCKS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.lock"))
NAME = r"[A-Za-z0-9._-]+"


def asked_for(requirements: Path) -> dict[str, str]:
    """Versions by normalized name (PEP 503), in a file and in the files to which it refers."""
    versions: dict[str, str] = {}
    for line in requirements.read_text().splitlines():
        if line.startswith("-r "):
            versions |= asked_for(requirements.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            match = re.match(rf"({NAME})(?:\[[^]]*\])?==([^;\s]+)", line)
            assert match is not None, f"not pinned: {line}"
            versions[normal(match[1])] = match[2]
    return versions


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes by name."""
    entries: dict[str, tuple[str, list[str]]] = {}
    for entry in re.split(r"\n(?=\S)", lock.read_text().strip()):
        match = re.match(rf"({NAME})(?:\[[^]]*\])?==([^;\s\\]+)", entry)
        assert match is not None, entry
        entries[normal(match[1])] = (match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)", entry))
    return entries


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_a_lock_has_what_was_asked_for(lock: Path) -> None:
    # `make lock` updates it.
    versions = {name: version for name, (version, _) in locked(lock).items()}
    requirements = asked_for(lock.with_suffix(".txt"))
    assert {name: versions.get(name) for name in requirements} == requirements


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_locked_package_is_known_by_its_hashes(lock: Path) -> None:
    assert all(hashes for _, hashes in locked(lock).values())
    # No addresses of package registries, which differ between machines.
    assert not re.search(
        r"://|^-|@ ", re.sub(r"^    --hash=.*$", "", lock.read_text(), flags=re.MULTILINE), re.MULTILINE
    )


def test_there_is_a_lock_for_every_file_of_requirements() -> None:
    files = {path.with_suffix("") for folder in FOLDERS for path in (ROOT / folder).glob("*requirements.txt")}
    assert {lock.with_suffix("") for lock in LOCKS} == files


def test_nothing_is_installed_without_its_hash() -> None:
    makefile = re.sub(r"\\\n\s*", "", (ROOT / "Makefile").read_text())
    # Packages from the project itself are installed without a registry.
    installs = [line for line in makefile.splitlines() if "pip install" in line and "--no-index" not in line]
    assert installs
    assert all("$(LOCKED)" in line for line in installs)
    calls = re.findall(r"\$\(call install,.*", makefile)
    assert len(calls) > 5
    assert all(".lock)" in call for call in calls)
    assert "LOCKED = --require-hashes" in makefile


PIP = """#!/bin/sh
echo "Collecting fastapi==1.0 (from -r requirements.lock (line 1))"
echo "  Downloading fastapi-1.0.whl"
echo "Collecting uvicorn<2"
echo "Installing collected packages: fastapi, uvicorn"
exit $STATUS
"""


@pytest.mark.parametrize("status", [0, 1])
def test_installing_shows_each_package_and_fails_if_pip_fails(tmp_path: Path, status: int) -> None:
    """The names are shown through a pipe, whose exit status is not that of pip."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP)
    python.chmod(0o755)
    (tmp_path / ".venv" / ".created").touch()
    # As after an earlier installation of other packages.
    installed = tmp_path / ".venv" / ".installed"
    installed.touch()
    os.utime(installed, (0, 0))
    run = subprocess.run(
        ["make", "--no-print-directory", ".venv/.installed"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "STATUS": str(status)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert " fastapi uvicorn ..." in run.stdout
    assert (run.returncode == 0, installed.exists(), "done." in run.stdout) == ((status == 0,) * 3)
