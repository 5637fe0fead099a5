"""The pages behind a proxy that passes on another Host header than the browser's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import WITHIN
from tests.proxies import Site, site_in


@pytest.fixture(scope="module")
def portless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """nginx with `$host`, as in many recipes: it passes on the site's name without its port."""
    with site_in(tmp_path_factory.mktemp("portless"), changes={"Host $http_host": "Host $host"}) as site:
        yield site


@pytest.fixture
def page(chromium: Browser, portless: Site) -> Iterator[Page]:
    context = chromium.new_context(base_url=f"https://127.0.0.1:{portless.port}", ignore_https_errors=True)
    context.set_default_timeout(WITHIN)
    yield context.new_page()
    context.close()


def test_the_page_uploads_though_the_port_is_missing_from_the_host(page: Page, tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("hello")
    page.goto("/")
    with page.expect_response(lambda answer: answer.request.method in ("POST", "PUT")) as answered:
        page.set_input_files("#chosen", str(tmp_path / "small.txt"))
    assert answered.value.status == 201
    expect(page.get_by_label("Link to small.txt")).to_be_visible()


def test_the_password_form_lets_recipients_in(page: Page, portless: Site, tmp_path: Path) -> None:
    file_id = portless.upload(b"hello", X_Password="swordfish")["file_id"]
    page.goto(f"/download/{file_id}")
    page.get_by_label("Password").fill("swordfish")
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    started.value.save_as(tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"hello"
