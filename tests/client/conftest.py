"""The client as people run it: a process of its own, in a home of its own, against a server of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.proxy import Proxy
from tests.wire.server import ROOT, WITHIN, Server

CLIENT = ROOT / "client" / "share.py"


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """`share`, with an empty home; it works in `here`."""

    home: Path
    here: Path
    server: str

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "XDG_", "AWS_"))
        }
        return {**inherited, "HOME": str(self.home), "NO_PROXY": "127.0.0.1", "SHARE_SERVER": self.server, **more}

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(CLIENT), *arguments],
            cwd=self.here,
            env=self.environment(**environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # No terminal to ask at.
            start_new_session=True,
        )

    def run(self, *arguments: str, data: bytes | None = None, **environment: str) -> Ran:
        process = self.start(*arguments, stdin=subprocess.PIPE, **environment)
        try:
            out, err = process.communicate(data, WITHIN * 2)
        except BaseException:
            process.kill()
            process.wait()
            raise
        assert b"Traceback" not in err, err.decode()
        return Ran(process.returncode, out, err.decode())

    def json(self, *arguments: str, data: bytes | None = None, **environment: str) -> dict[str, Any]:
        ran = self.run(*arguments, "--json", data=data, **environment)
        assert ran.code == 0, ran.err
        value: dict[str, Any] = json.loads(ran.out)
        return value

    def kept(self, folder: str) -> list[Path]:
        return sorted((self.home / ".config" / "simple-file-sharing" / folder).glob("*"))


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


def make_client(folder: Path, address: str) -> Client:
    for name in ("home", "here"):
        (folder / name).mkdir()
    return Client(folder / "home", folder / "here", address)
