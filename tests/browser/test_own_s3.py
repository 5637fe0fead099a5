"""The page where large files go past the API, to an S3 server that checks signatures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import WITHIN
from tests.test_recipes import on_own_s3

pytestmark = pytest.mark.xdist_group("browser")

SIZE = 12 * 1024 * 1024 + 1


def test_a_large_file_goes_straight_to_s3_and_comes_back(chromium: Browser, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(SIZE))
    with on_own_s3(tmp_path) as server:
        context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}")
        page = context.new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
        page.goto("/")
        page.set_input_files("#files", str(large))
        shared = page.locator("#shared > li")
        expect(shared).to_be_visible(timeout=WITHIN)
        assert len(sent) == 2
        assert not [url for url in sent if f":{server.port}/" in url]
        page.goto(shared.locator("input").input_value())
        with page.expect_download(timeout=WITHIN) as started:
            page.get_by_role("link", name="Download").click()
        started.value.save_as(tmp_path / "fetched")
        context.close()
    assert (tmp_path / "fetched").read_bytes() == large.read_bytes()
    assert faults == []
