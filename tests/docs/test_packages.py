"""The image and the files that start it, as far as testable without a container engine, and the sample settings."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pathspec
import pytest
import yaml

from shared.errors import InvalidSetting
from shared.settings import Settings
from tests.pages import ROOT, block, table
from tests.programs import process
from tests.servers import free_ports
from tests.test_template import TEMPLATE
from tests.wire.server import WITHIN, until

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """The name and arguments of each instruction in the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line]


DOCKERFILE = instructions()
# The second FROM begins the image itself; everything before it builds.
(_, LAST) = [number for number, (name, _) in enumerate(DOCKERFILE) if name == "FROM"]
BUILD, IMAGE = DOCKERFILE[:LAST], DOCKERFILE[LAST:]


def only(name: str, stage: list[Instruction]) -> str:
    (argument,) = [argument for other, argument in stage if other == name]
    return argument


def command(name: str) -> list[str]:
    """The words of CMD or HEALTHCHECK, which need no shell."""
    argument = only(name, IMAGE)
    words: list[str] = json.loads(argument[argument.index("[") :])
    return words


def copied() -> list[str]:
    """The files that the Dockerfile copies from the repository."""
    return [argument.split()[0] for name, argument in BUILD if name == "COPY"]


def test_the_image_holds_what_it_needs_and_nothing_else_is_sent_to_the_engine() -> None:
    ignored = pathspec.PathSpec.from_lines("gitignore", (ROOT / ".dockerignore").read_text().splitlines())
    sources = copied()
    assert sources
    for source in sources:
        path = ROOT / source
        files = [path] if path.is_file() else [*path.rglob("*.py"), *path.rglob("*.html"), *path.rglob("*.css")]
        assert files, source
        assert not any(ignored.match_file(file.relative_to(ROOT).as_posix()) for file in files)
    private = [".env", ".git/config", ".venv/bin/python", "data/secret", "docs/share.env", "shared/__pycache__/a.pyc"]
    assert all(ignored.match_file(path) for path in private)
    tops = {path.name for path in ROOT.iterdir() if not ignored.match_file(path.name)}
    assert tops == set(sources)


def test_the_base_is_pinned_and_has_the_python_of_the_functions() -> None:
    base = only("ARG", BUILD).removeprefix("BASE=")
    match = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert match is not None
    assert TEMPLATE["Globals"]["Function"]["Runtime"] == f"python{match[1]}"
    assert [argument.split()[0] for name, argument in DOCKERFILE if name == "FROM"] == ["${BASE}", "${BASE}"]


def test_the_image_is_not_root() -> None:
    user, _, group = only("USER", IMAGE).partition(":")
    assert int(user) > 0
    assert int(group) > 0
    # /data belongs to the user, and nothing after this line creates files of another user.
    assert only("RUN", IMAGE) == f"install -d -o {user} -g {group} {only('VOLUME', IMAGE)}"
    names = [name for name, _ in IMAGE]
    assert not {"COPY", "RUN"} & set(names[names.index("USER") :])


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in only("ENV", IMAGE).split())


def frozen(app: Path) -> list[str]:
    """A command prefix that makes this folder read-only, or nothing if this system does not allow that."""
    mount = f"mount --bind {app} {app} && mount -o remount,ro,bind {app}"
    prefix = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode
    ):
        return []
    refused = subprocess.run([*prefix, "touch", str(app / "x")], check=False, capture_output=True)
    assert refused.returncode != 0
    return prefix


def contents(app: Path) -> dict[str, int]:
    """Every path in a folder, with its modification time."""
    return {path.as_posix(): path.lstat().st_mtime_ns for path in [app, *app.rglob("*")]}


def test_what_is_built_serves_from_a_read_only_copy_and_passes_its_health_check(tmp_path: Path) -> None:
    app, data = tmp_path / "app", tmp_path / "data"
    app.mkdir()
    (port,) = free_ports(1)

    def here(text: str) -> str:
        # In one pass, as what is put in may contain one of the names.
        ours = {"/data": str(data), "/app": str(app), "8080": str(port), "-m venv": "-m venv --without-pip"}
        return re.sub(r"/data\b|/app\b|8080|-m venv\b", lambda match: ours[match[0]], text)

    # pip and the packages are already installed, so it fetches nothing.
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "HOME": str(tmp_path),
    }
    # Only root can change the owner of a folder.
    own = f"-o {os.geteuid()} -g {os.getegid()}" if os.geteuid() else "-o 10001 -g 10001"
    for name, argument in DOCKERFILE:
        if name == "COPY" and "--from" not in argument:
            source, target = argument.split()
            path, destination = ROOT / source, app / target
            if path.is_dir():
                shutil.copytree(path, destination, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, destination)
        elif name == "RUN":
            subprocess.run(
                ["sh", "-ec", here(argument.replace("-o 10001 -g 10001", own))],
                cwd=app,
                env=environment,
                check=True,
                capture_output=True,
            )
    assert list(app.rglob("shared/__pycache__/*.pyc"))
    assert list(data.iterdir()) == []

    settings = {name: here(value).replace("$PATH", environment["PATH"]) for name, value in variables().items()}
    settings |= {"PYTHONPATH": environment["PYTHONPATH"], "SHARE_MIN_FREE_SPACE": "0"}

    def check() -> int:
        health = [here(word) for word in command("HEALTHCHECK")]
        return subprocess.run(health, cwd=app, env=settings, check=False, capture_output=True).returncode

    assert check() != 0
    before = contents(app)
    log = tmp_path / "log"
    arguments = ["sh", "-c", 'cd "$0" && exec "$@"', str(app), *map(here, command("CMD"))]
    with process([*frozen(app), *arguments], log, **settings) as server:
        until(lambda: server.poll() is not None or "startup complete" in log.read_text())
        until(lambda: server.poll() is not None or check() == 0)
        assert server.poll() is None, log.read_text()
    assert f"Files are kept in {data}" in log.read_text()
    assert contents(app) == before


def assignments() -> dict[str, str]:
    """Every setting of the sample, whether or not it is commented out."""
    lines = re.findall(r"^#?([A-Z_]+=.*)$", (ROOT / "docs" / "share.env").read_text(), re.MULTILINE)
    return dict(shlex.split(line)[0].split("=", 1) for line in lines)


def test_the_sample_has_every_setting_with_its_default_or_an_example() -> None:
    documented = {row[0].strip("`"): row[1] for row in table("variable", "default", "meaning")}
    sample = assignments()
    assert {name for name in sample if name.startswith("SHARE_")} == set(documented)
    assert not re.search(r"^[A-Z]", (ROOT / "docs" / "share.env").read_text(), re.MULTILINE)
    for name, default in documented.items():
        match = re.match(r"`([^`]+)`", default)
        assert match is None or sample[name] == match[1]
    # Each one is valid alone and with the others.
    Settings.from_environment(sample)


COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def settings_of(name: str, env: Mapping[str, str]) -> Settings:
    """The settings of a service with these values in `.env`; the engine fills in `${NAME:-default}`."""

    def value(match: re.Match[str]) -> str:
        return env.get(match[1]) or match[2]

    own = COMPOSE["services"][name]["environment"]
    own = {key: re.sub(r"\$\{(\w+):-([^}]*)\}", value, text) for key, text in own.items()}
    return Settings.from_environment({**variables(), **env, **own})


def test_compose_keeps_files_in_a_volume() -> None:
    service = COMPOSE["services"]["directory"]
    assert "profiles" not in service
    settings = settings_of("directory", {**assignments(), "SHARE_STORAGE": "s3://elsewhere"})
    volume, _, mounted = service["volumes"][0].partition(":")
    assert settings.storage == mounted == only("VOLUME", IMAGE)
    assert volume in COMPOSE["volumes"]


def test_compose_keeps_files_in_a_bucket_or_does_not_start() -> None:
    assert COMPOSE["services"]["s3"]["profiles"] == ["s3"]
    assert settings_of("s3", {"SHARE_STORAGE": "s3://bucket/prefix"}).bucket == ("bucket", "prefix")
    with pytest.raises(InvalidSetting, match="SHARE_STORAGE"):
        settings_of("s3", {})


@pytest.mark.parametrize("service", COMPOSE["services"].values(), ids=COMPOSE["services"])
def test_a_container_has_no_rights_and_one_port_on_this_machine(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"] == [f"127.0.0.1:8080:{only('EXPOSE', IMAGE)}"]
    assert service["env_file"] == [{"path": ".env", "required": False}]
    assert command("CMD")[-1] == only("EXPOSE", IMAGE)


def test_the_commands_shown_start_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "share.env", tmp_path / "docs")
    run = subprocess.run(
        ["bash", "-euc", f'docker() {{ echo "docker $*"; }}\n{block("sh", "docker compose")}'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    assert run.stdout == "docker compose up -d\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
