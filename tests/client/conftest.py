"""The client as people run it: in a separate process, with its own home directory and server.

Most processes are forks, which start faster.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.client.inprocess import Share
from tests.client.proxy import Proxy
from tests.client.run import Result, Run
from tests.client.sizes import PART, large_file
from tests.client.ways import WAYS, Way
from tests.forks import can_fork
from tests.wire.server import ROOT, WITHIN, Server

# The module is found by PYTHONPATH, as `Client.environment` sets it.
COMMAND = [sys.executable, "-m", "share"]

DATA = large_file(PART)
SIZE = len(DATA)


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """`share` with an empty home directory; it works in `here`."""

    home: Path
    here: Path
    server: str
    token: str = ""
    preparation: str = "client"

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "XDG_", "AWS_"))
        }
        own = {
            "HOME": str(self.home),
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(ROOT / "client"),
            "SHARE_SERVER": self.server,
            "SHARE_TOKEN": self.token,
        }
        return {**inherited, **own, **more}

    def fork(self, *arguments: str, data: bytes = b"", **environment: str) -> Run:
        return Run(arguments, self.here, self.environment(**environment), data, preparation=self.preparation)

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL, **environment: str) -> subprocess.Popen[bytes]:
        """Start the command as a process whose streams, command line and interpreter are its own."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.here,
            env=self.environment(**environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # No terminal for questions.
            start_new_session=True,
        )

    def run(self, *arguments: str, data: bytes | None = None, **environment: str) -> Ran:
        code, out, err = self._run(arguments, data or b"", environment)
        assert b"Traceback" not in err, err.decode()
        return Ran(code, out, err.decode(errors="replace"))

    def _run(self, arguments: Sequence[str], data: bytes, environment: dict[str, str]) -> Result:
        if can_fork(environment):
            return self.fork(*arguments, data=data, **environment).result(WITHIN * 2)
        process = self.start(*arguments, stdin=subprocess.PIPE, **environment)
        try:
            out, err = process.communicate(data, WITHIN * 2)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process.returncode, out, err

    def json(self, *arguments: str, data: bytes | None = None, **environment: str) -> dict[str, Any]:
        ran = self.run(*arguments, "--json", data=data, **environment)
        assert ran.code == 0, ran.err
        value: dict[str, Any] = json.loads(ran.out)
        return value

    def kept(self, folder: str) -> list[Path]:
        return sorted((self.home / ".config" / "simple-file-sharing" / folder).glob("*"))


def write_large(client: Client, data: bytes = DATA) -> Path:
    path = client.here / "large.bin"
    path.write_bytes(data)
    return path


@dataclasses.dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: bytes
    err: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as running:
        yield running


@pytest.fixture
def client(tmp_path: Path, proxy: Proxy) -> Client:
    return make_client(tmp_path, proxy.address)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Way]]:
    """Starts a way of running, which then lasts as long as the module."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda name: stack.enter_context(WAYS[name](tmp_path_factory.mktemp(name))))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, started: Callable[[str], Way]) -> Iterator[Way]:
    """Each way of running in turn, unless a test selects some."""
    way = started(request.param)
    way.bytes.reset()
    yield way
    way.bytes.reset()


@pytest.fixture
def owner(tmp_path: Path, way: Way) -> Client:
    """The client of a user with the token, if there is one. Its parts are large enough for S3."""
    client = make_client(tmp_path, way.address)
    return dataclasses.replace(client, token=way.token, preparation="client_of_s3")


def make_client(folder: Path, address: str) -> Client:
    for name in ("home", "here"):
        (folder / name).mkdir()
    return Client(folder / "home", folder / "here", address)


@pytest.fixture
def hostile() -> Iterator[Proxy]:
    # It answers everything itself.
    with Proxy(1) as proxy:
        yield proxy


@pytest.fixture
def share(hostile: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Share:
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Share(tmp_path / "home", hostile.address)
