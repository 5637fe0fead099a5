"""A server that stops during transfers and restarts: everything arrives, without a click."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.browser.conftest import WITHIN
from tests.browser.upload_page import link, upload_each
from tests.servers import free_ports
from tests.wire.server import Server

SMALL = 30
LARGE = 24 * 1024 * 1024

# The large file would take two minutes, longer than any timeout here.
BYTES_PER_SECOND = 200_000


def slow_uploads(page: Page) -> CDPSession:
    """Limit the page's uploads to BYTES_PER_SECOND until the session is detached."""
    session = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": BYTES_PER_SECOND}
    session.send("Network.emulateNetworkConditions", conditions)
    return session


def test_uploads_outlive_a_server_that_is_killed(chromium: Browser, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    names = [f"{number:02}.txt" for number in range(SMALL)]
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(LARGE))
    for name in names:
        (tmp_path / name).write_text(name)
    context = chromium.new_context(base_url=f"http://127.0.0.1:{port}")
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    throttle = slow_uploads(page)  # the large file is certainly in transit when the server dies
    with Server(tmp_path / "data", "--port", str(port)) as server:
        page.goto("/")
        page.set_input_files("#chosen", [str(large), *(str(tmp_path / name) for name in names)])
        upload_each(page)
        expect(page.locator("#rows > li[data-state=done]").nth(3)).to_be_visible()
        server.process.kill()
        server.process.wait()
    throttle.detach()
    expect(page.get_by_role("heading", name="Reconnecting…")).to_be_visible()
    with Server(tmp_path / "data", "--port", str(port)) as server:
        expect(page.get_by_role("heading", name=f"{SMALL + 1} links are ready")).to_be_visible(timeout=2 * WITHIN)
        for name in (large.name, *names):
            file_id = link(page, name).rpartition("/")[2]
            assert server.get(f"/file/download/{file_id}") == (200, (tmp_path / name).read_bytes())
    context.close()
