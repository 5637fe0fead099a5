"""The sessions that the pages show match the real output, on any port."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from local import artifact
from shared.storage.keys import SECRET_KEY
from tests.emulated.deployment import ARTIFACT, EmulatedObjects
from tests.emulated.emulator import emulating
from tests.pages import ADDRESS, ADDRESS_LINE, PAGES, session
from tests.servers import moto_server
from tests.wire.server import Server

# One emulator for all of them, so in one pytest process.
pytestmark = pytest.mark.xdist_group("sessions")

SESSION_TIMEOUT = 120.0  # seconds
PROMPT = "--- the next command ---"

# Random parts of an upload's answer, which later output repeats.
RANDOM = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<="delete_token": ")[\w-]+')

# Parts that differ between runs, and their replacements.
VOLATILE = {
    "a moment": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z"),
    "a date": re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"),
    '"a write", 0': re.compile(r'"[\w-]{12}",\s+\d{10}\.\d+'),
}


def comparable(output: str) -> Any:
    """The output without parts that differ between runs. JSON becomes values, and an answer's header fields become a
    set."""
    text = output.replace("\r\n", "\n")
    for stand_in, pattern in VOLATILE.items():
        text = pattern.sub(stand_in, text)
    if text.startswith("HTTP/"):
        # The gateway changes the order of header fields, and adds one.
        return {line for line in text.splitlines() if not line.startswith("apigw-requestid:")}
    try:
        return json.loads(text)
    except ValueError:
        return text


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with other IDs and tokens, including folder names that begin with an ID's first characters."""
    for old, new in names.items():
        # Whole folder names only: the path of a link can end with the same two letters, as "/download/ad…" does.
        text = re.sub(rf"\b{old[:2]}/(?={old})", f"{new[:2]}/", text).replace(old, new)
    return text


@pytest.fixture(scope="module")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, EmulatedObjects]]:
    """The address of an emulated deployment for all sessions, open as in the README, and what its bucket contains."""
    with (
        moto_server() as services,
        emulating(tmp_path_factory.mktemp("emulator"), ARTIFACT, "--open", services=services) as emulator,
    ):
        (bucket,) = artifact.load(ARTIFACT).buckets
        yield emulator.url, EmulatedObjects(services.client(), bucket)


@pytest.fixture
def emulator(emulation: tuple[str, EmulatedObjects]) -> Iterator[str]:
    """The address of the emulated deployment, without files."""
    address, objects = emulation
    yield address
    objects.clear(keep=SECRET_KEY)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server process with storage in `./data` of the temporary directory."""
    with Server(tmp_path / "data") as server:
        yield server.address


def outputs(commands: Sequence[str], folder: Path) -> Iterator[str]:
    """The output of each command in one shell, as if typed one after the other."""
    # Nothing else from the environment, which could set a proxy or a .curlrc.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    result = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "".join(f"echo {PROMPT}\n{command}\n" for command in commands)],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SESSION_TIMEOUT,
        check=False,
    )
    text = result.stdout.decode()
    assert result.returncode == 0, text
    _, *parts = text.split(f"{PROMPT}\n")
    yield from parts


SESSIONS = [page for page in PAGES if any(session(page))]


def test_the_sessions_are_found() -> None:
    assert {"README.md", "docs/api.md", "docs/large-files.md", "docs/storage.md"} <= set(SESSIONS)


@pytest.mark.parametrize("way", ["server", "emulator"])
@pytest.mark.parametrize("page", SESSIONS)
def test_session(request: pytest.FixtureRequest, tmp_path: Path, page: str, way: str) -> None:
    """Every command prints what the page shows, with another port in the first line and no other change."""
    address: str = request.getfixturevalue(way)
    assert shutil.which("curl"), "curl is needed (on Debian or Ubuntu: apt install curl)"
    # The emulator has no data directory.
    shown = [(command, output) for command, output in session(page) if way == "server" or "data/" not in command]
    (first, _), *others = shown
    assert first == ADDRESS_LINE
    assert not any(ADDRESS in command for command, _ in others)
    commands = [f"URL={address}", *(command for command, _ in others)]
    names: dict[str, str] = {}
    for (command, expected), output in zip(shown, outputs(commands, tmp_path), strict=True):
        for real, name in zip(RANDOM.findall(output), RANDOM.findall(expected), strict=True):
            assert names.setdefault(real, name) == name, command
        assert comparable(renamed(output, names).replace(address, ADDRESS)) == comparable(expected), command
    assert len(set(names.values())) == len(names)
