"""The API with your own S3 server, set up as in docs/self-hosting.md."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.pages import block
from tests.proxies import replaced
from tests.servers import free_ports, weed_server
from tests.wire.server import ROOT, WITHIN, Server


@contextlib.contextmanager
def on_own_s3(tmp_path: Path) -> Iterator[Server]:
    """The API on SeaweedFS, as on the page."""
    preparation, _, command = block("sh", "weed server").replace("\\\n", " ").rpartition("weed/bin/weed server")
    _, _, preparation = preparation.partition("\n")
    subprocess.run(["bash", "-eu", "-c", preparation], cwd=tmp_path, timeout=WITHIN, check=True)
    arguments = shlex.split(replaced(command.strip().removesuffix("&"), **{"weed/": f"{tmp_path}/weed/"}))

    with weed_server(arguments, tmp_path) as s3_port:
        *lines, start = block("sh", "create_bucket").splitlines()
        exports, making = lines[:2], "\n".join(lines[2:])
        assert start.endswith(" make run")
        variables = dict(
            pair.split("=", 1)
            for pair in shlex.split(" ".join([*exports, start.removesuffix("make run")]).replace("export", ""))
        )
        variables["AWS_ENDPOINT_URL"] = replaced(variables["AWS_ENDPOINT_URL"], **{"8333": str(s3_port)})
        (port,) = free_ports(1)
        script = replaced(making, **{".venv/bin/python": sys.executable, "8080": str(port)})
        environment = {**os.environ, **variables}
        subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, timeout=WITHIN, check=True)
        with Server(tmp_path / "unused", "--port", str(port), **variables) as server:
            yield server
        assert not (tmp_path / "unused").exists()
