"""The client package as it would be published: a source distribution, and a wheel whose command runs anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

import pytest
import share

from tests.pages import ROOT

CLIENT = ROOT / "client"
SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]


def run(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    """The output of a command."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, built from the repository, and the wheel, built from that distribution."""
    folder = tmp_path_factory.mktemp("packages")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    run([*build, "-t", "sdist"], CLIENT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    run([*build, "-t", "wheel"], folder / sdist.name.removesuffix(".tar.gz"))
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def test_the_wheel_has_every_module_and_says_what_it_is(packages: tuple[Path, Path]) -> None:
    _, wheel = packages
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    modules = {path.relative_to(CLIENT).as_posix() for path in (CLIENT / "share").rglob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == modules
    assert fields["Name"] == PROJECT["name"]
    assert fields["License-Expression"] == "MIT"
    assert (
        fields["Requires-Python"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )
    assert str(fields.get_payload()).startswith("# share\n")
    assert [name for name in names if name.endswith("/licenses/LICENSE")]


def test_its_version_is_that_of_the_server_and_is_not_released_yet() -> None:
    assert share.__version__ == SERVER["version"]
    # Once a version is in the changelog, the next one needs another number.
    assert f"## [{share.__version__}]" not in (ROOT / "CHANGELOG.md").read_text()


def test_it_has_the_same_licence() -> None:
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_what_it_requires_is_what_is_locked() -> None:
    """And nothing else, except what builds it."""
    required = {re.split(r"[>=\[]", text)[0] for text in PROJECT["dependencies"]}
    pinned = set(re.findall(r"^([a-z]+)", (CLIENT / "requirements.txt").read_text(), re.MULTILINE))
    assert required == pinned - {"hatchling"}


def test_its_command_runs_in_an_environment_of_its_own(tmp_path: Path, packages: tuple[Path, Path]) -> None:
    home = tmp_path / "environment"
    venv.create(home)
    pip: list[str | Path] = [home / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    # It takes pip and the dependencies from here, but not the client, which may be installed here as well.
    here = {"PYTHONPATH": sysconfig.get_path("purelib")}
    run([*pip, "install", "--no-index", "--no-deps", "--ignore-installed", packages[1]], tmp_path, **here)
    run([*pip, "check"], tmp_path, **here)
    assert run([home / "bin" / "share", "--version"], tmp_path, **here).strip().endswith(share.__version__)


def test_its_readme_shows_commands_that_exist() -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    install, _, *commands = block.splitlines()
    assert install == f"pipx install {PROJECT['name']}"
    shown = (ROOT / "docs" / "client.md").read_text()
    # docs/client.md has the same commands, and a test runs those.
    assert all(re.split(r"  +#", command)[0] in shown for command in commands)
