"""The API with your own S3 server, set up as in docs/self-hosting.md."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from tests.forks import Process
from tests.pages import block
from tests.proxies import BIN, replaced
from tests.servers import free_ports, process, running
from tests.wire.server import ROOT, WITHIN, Server


@contextlib.contextmanager
def on_own_s3(tmp_path: Path) -> Iterator[Server]:
    """The API on SeaweedFS, as on the page."""
    preparation, _, command = block("sh", "weed server").replace("\\\n", " ").rpartition("weed/bin/weed server")
    _, _, preparation = preparation.partition("\n")
    subprocess.run(["bash", "-eu", "-c", preparation], cwd=tmp_path, timeout=WITHIN, check=True)
    arguments = shlex.split(replaced(command.strip().removesuffix("&"), **{"weed/": f"{tmp_path}/weed/"}))

    def weed(ports: Sequence[int], log: int) -> Process:
        # The last of several equal flags applies. Two further servers of SeaweedFS use fixed ports.
        free = [f"-{role}.port={port}" for role, port in zip(("s3", "volume", "master", "filer"), ports, strict=True)]
        none = ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        sockets = [f"-{role}.localSocket={tmp_path / role}.sock" for role in ("s3", "filer")]
        return process([str(BIN / "weed"), f"-logdir={tmp_path}", "server", *arguments, *free, *none, *sockets], log)

    # The server refuses unsigned requests.
    with running(weed, 4, HTTPStatus.FORBIDDEN, patience=0) as ports:
        *lines, start = block("sh", "create_bucket").splitlines()
        exports, making = lines[:2], "\n".join(lines[2:])
        assert start.endswith(" make run")
        variables = dict(
            pair.split("=", 1)
            for pair in shlex.split(" ".join([*exports, start.removesuffix("make run")]).replace("export", ""))
        )
        variables["AWS_ENDPOINT_URL"] = replaced(variables["AWS_ENDPOINT_URL"], **{"8333": str(ports[0])})
        (port,) = free_ports(1)
        script = replaced(making, **{".venv/bin/python": sys.executable, "8080": str(port)})
        environment = {**os.environ, **variables}
        subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, timeout=WITHIN, check=True)
        with Server(tmp_path / "unused", "--port", str(port), **variables) as server:
            yield server
        assert not (tmp_path / "unused").exists()
