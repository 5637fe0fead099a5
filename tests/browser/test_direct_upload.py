"""The page with direct uploads: to an S3 server that checks signatures, and as deployed on AWS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import WITHIN
from tests.emulated.deployment import ARTIFACT
from tests.emulated.emulator import emulating
from tests.own_s3 import on_own_s3
from tests.servers import moto_server

SIZE = 10 * 1024 * 1024 + 1


@pytest.fixture(scope="module", params=["own S3", "emulated"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("storage")
    if request.param == "emulated":
        with moto_server() as services, emulating(folder, ARTIFACT, "--open", services=services) as emulator:
            yield emulator.url
    else:
        with on_own_s3(folder) as server:
            yield f"http://127.0.0.1:{server.port}"


def test_a_large_file_goes_straight_to_s3_and_comes_back(chromium: Browser, address: str, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(SIZE))
    context = chromium.new_context(base_url=address)
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    page.goto("/")
    page.set_input_files("#chosen", str(large))
    link = page.get_by_label("Link to large.bin")
    expect(link).to_be_visible(timeout=WITHIN)
    assert len(sent) == 2
    assert not [url for url in sent if url.startswith(address)]
    page.goto(link.input_value())
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").click()
    started.value.save_as(tmp_path / "fetched")
    expect(page.locator("#news")).to_contain_text("Download started.")
    assert (tmp_path / "fetched").read_bytes() == large.read_bytes()
    page.goto("/")
    expect(page.locator("#file-rows .state")).to_have_text("10.5 MB · 1 download", timeout=WITHIN)
    context.close()
    assert faults == []


def test_parts_for_an_inbox_have_the_sizes_that_their_links_allow(
    chromium: Browser, address: str, tmp_path: Path
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(SIZE))
    context = chromium.new_context(base_url=address)
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    inbox = context.request.post("/inbox", data={"max_bytes": SIZE}).json()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    page.goto(inbox["inbox_page"])
    page.set_input_files("#chosen", str(large))
    expect(page.get_by_role("heading", name="Your file has arrived")).to_be_visible(timeout=WITHIN)
    assert len(sent) == 3
    assert not [url for url in sent if url.startswith(address) or "content-length" not in url]
    owned = context.request.get(f"/inbox/{inbox['inbox_id']}", headers={"X-Owner-Token": inbox["owner_token"]}).json()
    assert [(file["original_name"], file["file_size"]) for file in owned["files"]] == [("large.bin", SIZE)]
    context.close()
