"""`make smoke`: passes on a correct deployment, names differences on others, and leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.emulated.deployment import ARTIFACT, ROOT
from tests.emulated.emulator import emulating
from tests.wire.server import WITHIN, Server

TOKEN = "token-of-the-tests"
OWNER = {"Authorization": f"Bearer {TOKEN}"}
TIMEOUT = 180.0  # seconds


def smoke(url: str, **variables: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SHARE_"))}
    result = subprocess.run(
        [sys.executable, "-m", "local.smoke", url],
        cwd=ROOT,
        env=environment | {"TOKEN": TOKEN} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return result.returncode, result.stdout


@pytest.mark.xdist_group("emulator")
def test_a_deployment_as_it_should_be_passes_whole(tmp_path: Path) -> None:
    with emulating(tmp_path, ARTIFACT, "--token", TOKEN) as emulator:
        bucket = re.search(r"^Bucket: (\S+) on (\S+)$", emulator.log.read_text(), re.MULTILINE)
        assert bucket is not None
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
        status, output = smoke(emulator.url, BUCKET=bucket[1], AWS_ENDPOINT_URL=bucket[2], **keys)
        assert status == 0, output
        assert "The download was redirected to storage." in output
        assert output.count("ok  ") == 6
        assert httpx.get(f"{emulator.url}/file/metadata", headers=OWNER).json() == {}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with Server(tmp_path / "data", SHARE_API_TOKEN=TOKEN) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_a_plain_server_passes_and_the_output_says_what_does_not_apply(server: str) -> None:
    kept = httpx.put(f"{server}/file/upload/other.txt", content=b"of somebody else", headers=OWNER).json()["file_id"]
    status, output = smoke(server)
    assert status == 0, output
    assert "Redirect: not applicable" in output
    assert "n/a   direct upload of 6 MB" in output
    # The existing file is still there, and all others are gone.
    assert list(httpx.get(f"{server}/file/metadata", headers=OWNER).json()) == [kept]


def test_a_wrong_token_is_named(server: str) -> None:
    status, output = smoke(server, TOKEN="wrong")
    assert status == 1
    assert "TOKEN is missing or wrong" in output


@pytest.fixture
def altering(server: str) -> Iterator[str]:
    """A proxy that replaces what is not UTF-8 with U+FFFD, as some do."""

    class Altering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=WITHIN)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.headers.get("Content-Type", "") == "text/plain":
                body = body.decode(errors="replace").encode()
            fields = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            connection.request(self.command, self.path, body or None, fields)
            response = connection.getresponse()
            answer = response.read()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() != "transfer-encoding":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            connection.close()

        do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Altering) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()


def test_what_differs_is_said_with_what_it_means(altering: str, server: str) -> None:
    status, output = smoke(altering)
    assert status == 1
    assert "DIFFERS  Latin-1 text: bytes sent as text/plain" in output
    assert "Altered text is stored without an error" in output
    assert output.count("DIFFERS") == 1, output
    assert httpx.get(f"{server}/file/metadata", headers=OWNER).json() == {}


def test_an_address_that_nothing_answers_at_is_a_difference() -> None:
    status, output = smoke("http://127.0.0.1:9")
    assert status == 1
    assert "There was no answer" in output


@pytest.mark.parametrize("url", ["", "files.example.org"])
def test_without_an_address_nothing_is_tried(url: str) -> None:
    assert smoke(url) == (2, "error: URL must be the address of a deployment, for example: make smoke URL=https://…\n")


def test_make_puts_the_token_on_no_command_line() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(
        ["make", "--dry-run", "smoke", "URL=https://x", f"TOKEN={TOKEN}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "local.smoke 'https://x'" in result.stdout
    assert TOKEN not in result.stdout
