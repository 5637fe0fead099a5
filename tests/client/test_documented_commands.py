"""The client as in README and docs/client.md: run by the pages' own lines, in every way of running, and installed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from share.faults import Exit

from tests.client.conftest import COMMAND, Client, make_client
from tests.client.inprocess import Share
from tests.emulated.deployment import ARTIFACT
from tests.emulated.emulator import emulating
from tests.forks import forks
from tests.pages import ADDRESS, block, table
from tests.servers import BUCKET, S3Server, moto_server
from tests.wire.server import ROOT, WITHIN, Server


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command `share`, as pip installs it."""
    folder = tmp_path_factory.mktemp("installed")
    # Its dependencies are already installed, so pip asks no package registry.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(folder), str(ROOT / "client")], timeout=WITHIN * 2, check=True
    )
    program = folder / "bin" / "share"
    assert program.exists()
    return program


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The command as a fork, which starts faster."""
    program = tmp_path / "bin" / "share"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join([*forks("client").interpreter(), "-m", "share"])} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(params=["directory", "s3", "emulated"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "emulated":
        with moto_server() as services, emulating(tmp_path, ARTIFACT, "--open", services=services) as emulator:
            yield emulator.url
        return
    variables = {}
    if request.param == "s3":
        s3_server: S3Server = request.getfixturevalue("s3_server")
        variables = {**s3_server.environment(), "SHARE_STORAGE": f"s3://{BUCKET}/client/{tmp_path.name}"}
    with Server(tmp_path / "data", **variables) as server:
        yield f"http://127.0.0.1:{server.port}"


def commands(text: str) -> list[str]:
    """The lines of a block, without their comments."""
    return [line.partition("  #")[0].rstrip() for line in text.splitlines()]


def test_the_commands_of_the_page(program: Path, address: str, tmp_path: Path) -> None:
    client = make_client(tmp_path, address)
    (client.here / "report.pdf").write_bytes(b"%PDF")
    (client.here / "holiday.mov").write_bytes(b"moving")
    (client.here / "notes.txt").write_bytes(b"notes")
    (client.here / "diary.txt").write_bytes(b"dear diary")
    (client.here / "photos").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = client.environment(PATH=f"{program.parent}:{os.environ['PATH']}", SHARE_PASSWORD="swordfish")

    def run(line: str, folder: Path) -> str:
        shell = ["bash", "-euo", "pipefail", "-c", line]
        ran = subprocess.run(
            shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=WITHIN * 2, check=False
        )
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
        return ran.stdout

    export, *lines = commands(block("sh", "share down LINK"))
    assert export == "export SHARE_SERVER=http://127.0.0.1:8080"
    links: dict[str, str] = {}
    ran = []
    for line in lines:
        ran.append(" ".join(line[line.index("share ") :].split()[:2]))
        if "share up" in line:
            name = next(
                word for word in reversed(line.split()) if word.endswith((".pdf", ".mov", ".tar", "diary.txt", "day"))
            )
            links[name] = run(line, client.here).strip()
            assert links[name].startswith(f"{address}/download/")
        else:
            archive = "extract" in line or line.startswith("share ls")
            link = links["holiday" if archive else "backup.tar" if "tar" in line else "report.pdf"]
            output = run(line.replace("LINK", link), elsewhere)
            if line == "share ls":
                assert {row.split("\t")[0] for row in output.splitlines()} == {
                    link.partition("#")[0].rpartition("/")[2] for link in links.values()
                }
    assert ran == [*["share up"] * 5, *["share down"] * 3, "share info", *["share ls"] * 2, "share set", "share rm"]
    assert (elsewhere / "report.pdf").read_bytes() == b"%PDF"
    assert (elsewhere / "holiday.mov").read_bytes() == b"moving"
    assert run(f"share down '{links['diary.txt']}' -o -", elsewhere) == "dear diary"


def test_the_commands_for_inboxes(share: Share, tmp_path: Path) -> None:
    (tmp_path / "here" / "photos").mkdir()
    (tmp_path / "here" / "photos" / "a.jpg").write_bytes(b"photo")
    with Server(tmp_path / "data") as server:
        link, names = "", []
        lines = commands(block("sh", "share inbox new"))
        for line in lines:
            program, *arguments = shlex.split(line)
            names.append(" ".join(arguments[: 2 if arguments[0] == "inbox" else 1]))
            if names[-1] == "inbox get":
                # What the last command sends, first.
                last = shlex.split(lines[-1].replace("LINK", link))
                assert share.run(*last[1:], SHARE_SERVER="").code == 0
            if names[-1] != "up":
                ended = share.run(
                    *[link if word == "INBOX" else word for word in arguments],
                    SHARE_SERVER=f"http://127.0.0.1:{server.port}",
                )
                assert (program, ended.code) == ("share", 0), ended.err
                link = link or ended.out.decode().strip()
    assert names == [*(f"inbox {name}" for name in ("new", "ls", "show", "set", "get", "close")), "up"]
    assert [path.name for path in (tmp_path / "here" / "Photos of the trip").glob("*.zip")] == ["photos.zip"]


def as_installed(command: Path, client: Client, script: str) -> str:
    """The output of a shell script that runs the installed command."""
    environment = client.environment(
        PATH=f"{command.parent}:{os.environ['PATH']}", PYTHONPATH=str(command.parent.parent)
    )
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=client.here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN * 2,
        check=True,
    ).stdout


def test_the_commands_of_the_readme(command: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        client = make_client(tmp_path, server.address)
        (client.here / "hello.txt").write_text("Hello!")
        export, *lines = block("sh", ".venv/bin/share up").replace(".venv/bin/share", "share").splitlines()
        assert export == f"export SHARE_SERVER={ADDRESS}"
        link, row = as_installed(command, client, "\n".join(lines)).splitlines()
        assert row.startswith(link.rpartition("/")[2])
        stored = server.metadata(link.rpartition("/")[2])
        assert stored["max_downloads"] == 1
        assert stored["expires_at"] is not None


def test_the_installed_command_opens_private_links(command: Path, tmp_path: Path) -> None:
    """It starts itself again, without the key in its arguments."""
    with Server(tmp_path / "data") as server:
        client = make_client(tmp_path, server.address)
        script = 'link=$(echo "dear diary" | share up --private - --name diary.txt)\nshare down "$link" -o -'
        assert as_installed(command, client, script) == "dear diary\n"


def test_the_settings_of_the_page_are_those_that_the_client_reads(tmp_path: Path) -> None:
    with Server(tmp_path / "data", SHARE_API_TOKEN="a-long-random-token") as server:
        address = f"http://127.0.0.1:{server.port}"
        client = make_client(tmp_path, address)
        settings = client.here / ".config" / "simple-file-sharing" / "config.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(block("toml", "server =").replace("https://files.example.org", address))
        environment = client.environment(HOME=str(client.here))
        for name in ("SHARE_SERVER", "SHARE_TOKEN", "XDG_CONFIG_HOME"):
            environment.pop(name, None)
        subprocess.run([*COMMAND, "ls"], env=environment, capture_output=True, timeout=WITHIN, check=True)


def test_exit_statuses() -> None:
    documented = {int(status) for status, _ in table("exit status", "meaning")}
    assert documented == {int(code) for code in Exit}


def test_the_package_and_what_is_locked_for_it_name_the_same() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())
    names = {
        re.split("[=><]", line)[0]
        for line in [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    }
    locked = (ROOT / "client" / "requirements.txt").read_text().splitlines()
    assert names == {line.partition("==")[0] for line in locked if not line.startswith("#")}
