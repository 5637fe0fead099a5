"""What a newcomer runs from the README: the first start, and the recipes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.pages import block
from tests.wire.server import ROOT, WITHIN, Server, until

PLACEHOLDER = "<address of this repository>"
NEEDED = ("Makefile", "requirements.lock", "shared", "functions", "local")


def test_the_clone_starts_and_says_where_it_serves(tmp_path: Path) -> None:
    # Git would clone only committed files, and the packages are already in this environment.
    functions = f"""
        git() {{
            [ "$1 $2" = "clone here" ] && mkdir "$3" && cp -R {" ".join(NEEDED)} "$3" && ln -s {sys.prefix} "$3/.venv"
        }}
        make() {{ exec make --old-file=.venv/.installed "$@" PORT=0; }}
        cd {ROOT}
    """
    start = block("sh", "git clone").replace(PLACEHOLDER, "here").replace("simple-file", f"{tmp_path}/simple-file")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_", "MAKE"))}
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["bash", "-euc", functions + start],
            env={**environment, "SHARE_MIN_FREE_SPACE": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            until(lambda: server.poll() is not None or "running on" in log.read_text())
            address = re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())
            assert address is not None, log.read_text()
            assert httpx.get(f"{address[1]}/health").status_code == 200
            assert f"Files are kept in {tmp_path / 'simple-file-sharing-api' / 'data'}" in log.read_text()
        finally:
            server.terminate()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "data")


def test_each_recipe_does_what_it_says(tmp_path: Path, server: Server) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "hello.txt").write_text("Hello!\n")
    lines = block("sh", "expires_in=3600").splitlines()
    text, *recipes, resumed = [line for line in lines if not line.startswith("#")]
    with server:
        url = f"http://127.0.0.1:{server.port}"
        sent = server.upload([b"Hello!\n"], 7)

        def run(command: str) -> str:
            result = subprocess.run(
                ["bash", "-euc", f"{text}\n{command}"],
                cwd=here,
                env={"PATH": os.environ["PATH"], "HOME": str(here), "URL": url, "link": sent["download_link"]},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                timeout=WITHIN,
                check=True,
            )
            return result.stdout.strip()

        expiring, once, protected, deleted = map(run, recipes)
        assert server.metadata(expiring.split("/")[-2])["expires_at"] is not None
        assert [httpx.get(once).status_code for _ in range(2)] == [200, 410]
        assert [httpx.get(protected, auth=auth).status_code for auth in (None, ("", "swordfish"))] == [401, 200]
        assert httpx.get(deleted).status_code == 404

        (here / "hello.part").write_text("Hel")
        run(resumed)
        assert (here / "hello.part").read_text() == "Hello!\n"
        # A range that starts later does not count as a download.
        assert server.metadata(sent["file_id"])["download_count"] == 0
