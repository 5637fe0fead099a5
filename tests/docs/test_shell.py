"""Commands of single pages, and uploads without the client: the shell function, and ShareX."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.pages import block
from tests.proxies import replaced
from tests.wire.server import ROOT, WITHIN, Server


@pytest.mark.parametrize("token", ["a-long-random-token", ""])
def test_the_shell_function_prints_a_link_for_each_file(tmp_path: Path, token: str) -> None:
    names = ["report.pdf", "a b ü%41.txt"]
    for name in names:
        (tmp_path / name).write_text(name)
    with Server(tmp_path / "data", SHARE_API_TOKEN=token) as server:
        function = block("sh", "send() {")
        address = {"SHARE_SERVER": f"http://127.0.0.1:{server.port}"}
        run = subprocess.run(
            ["bash", "-eu", "-c", f'{function}\nsend "$@"', "bash", *names],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "LC_ALL": "C.UTF-8",
                "SHARE_TOKEN": token,
                **address,
            },
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=True,
        )
        links = run.stdout.splitlines()
        assert [httpx.get(link).text for link in links] == names
        described = [server.metadata(link.split("/")[-2])["original_name"] for link in links]
        assert described == names


def filled_in(template: str, answer: dict[str, Any]) -> str:
    """The template with `{json:path}` replaced, as in ShareX's custom uploaders.

    https://getsharex.com/docs/custom-uploader
    """
    return re.sub(r"\{json:(\w+)\}", lambda match: str(answer[match[1]]), template)


def test_sharex_uploads_and_gets_a_link_and_one_to_delete_with(tmp_path: Path) -> None:
    uploader = json.loads((ROOT / "docs" / "sharex.sxcu").read_text())
    token = uploader["Headers"]["Authorization"].removeprefix("Bearer ")
    with Server(tmp_path / "data", SHARE_API_TOKEN=token, SHARE_PUBLIC_URL="https://files.example.org") as server:
        base = f"http://127.0.0.1:{server.port}"
        at = uploader["RequestURL"].replace("https://files.example.org", base)
        assert uploader["Body"] == "MultipartFormData"
        image = b"\x89PNG\r\n\x1a\n"

        def request(headers: dict[str, str]) -> httpx.Response:
            files = {uploader["FileFormName"]: ("screenshot.png", image, "image/png")}
            return httpx.request(uploader["RequestMethod"], at, headers=headers, files=files)

        refused = request({})
        assert refused.status_code == 401
        assert filled_in(uploader["ErrorMessage"], refused.json()) == refused.json()["detail"]

        response = request(uploader["Headers"])
        assert response.status_code == 201, response.text
        answer = response.json()
        page = filled_in(uploader["URL"], answer)
        assert httpx.get(page.replace("https://files.example.org", base)).status_code == 200
        assert httpx.get(answer["download_link"].replace("https://files.example.org", base)).content == image

        # Browser tests cover what the page does once it is open.
        address, _, fragment = filled_in(uploader["DeletionURL"], answer).partition("#")
        assert (address, fragment) == (page, f"delete={answer['delete_token']}")


# --- a token ---


def test_only_the_token_lets_curl_upload(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("Hello!\n")
    command = block("sh", "Bearer a-long-random-token")
    with Server(tmp_path / "data", SHARE_API_TOKEN="a-long-random-token") as server:
        url = f"http://127.0.0.1:{server.port}"
        assert httpx.put(f"{url}/hello.txt", content=b"x").status_code == 401
        run = subprocess.run(
            ["bash", "-euc", command],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "URL": url},
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=True,
        )
        assert httpx.get(json.loads(run.stdout)["download_link"]).text == "Hello!\n"


# --- large files ---


def test_a_direct_upload_begins_with_the_json_of_the_page(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        body = json.loads(block("json", "filename"))
        begun = httpx.post(f"http://127.0.0.1:{server.port}/file/s3/multipart", json=body)
        assert (begun.status_code, {"key", "uploadId"} <= begun.json().keys()) == (200, True)
        record = json.loads(next((tmp_path / "data" / "metadata").rglob("*.json")).read_bytes())
        assert (record["original_name"], record["announced_size"], record["max_downloads"]) == ("big.bin", 6000000, 1)


# --- memory, and housekeeping ---


def test_the_memory_of_a_server_is_measured_as_the_page_says(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        script = replaced(
            block("sh", "VmHWM"),
            **{
                "pid=$(pgrep -f local.serve)": f"pid={server.process.pid}",
                "http://127.0.0.1:8080": f"http://127.0.0.1:{server.port}",
                "head -c 3G": "head -c 32M",
            },
        )
        run = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=2 * WITHIN, check=True
        )
    before, *identical, after = run.stdout.splitlines()
    assert identical == ["identical"] * 2
    assert before.startswith("VmHWM:")
    assert after.startswith("VmHWM:")


def test_sweep_and_scrub_are_commands(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        server.upload([b"whole"], 5)
    script = block("sh", "functions.sweep").replace(".venv/bin/python", sys.executable)
    environment = {"PATH": os.environ["PATH"], "SHARE_STORAGE": str(tmp_path / "data")}
    run = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WITHIN, check=True
    )
    swept, scrubbed = run.stdout.splitlines()
    assert json.loads(swept)["failed"] == 0
    assert scrubbed == "1 intact, 0 damaged"
