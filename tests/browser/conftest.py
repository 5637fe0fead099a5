"""A server, a browser, and contexts that check the pages for script errors, policy violations and foreign requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, expect, sync_playwright

from tests.browser.chromium import FLAGS, program
from tests.browser.firefox import Firefox
from tests.client.proxy import Proxy
from tests.programs import require
from tests.wire.server import Server

# Not for the whole session: Playwright's event loop runs in the main thread, so that asyncio can run no other there.
SCOPE: Final = "package"
WITHIN = 60_000  # milliseconds, long enough for a busy machine


@pytest.fixture(scope=SCOPE)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("browser") / "data") as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy before the server. It can hold large requests, which Playwright's routes copy several times."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope=SCOPE)
def browser_type() -> Iterator[BrowserType]:
    if program() is None:
        require("REQUIRE_CHROMIUM", "chromium")
    expect.set_options(timeout=WITHIN)
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope=SCOPE)
def chromium(browser_type: BrowserType) -> Iterator[Browser]:
    browser = browser_type.launch(executable_path=program(), args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope=SCOPE)
def shared_firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    require("REQUIRE_FIREFOX", "firefox-esr")
    with Firefox(tmp_path_factory.mktemp("firefox")) as firefox:
        yield firefox


@pytest.fixture
def firefox(shared_firefox: Firefox) -> Iterator[Firefox]:
    yield shared_firefox
    shared_firefox.forget()


@pytest.fixture
def context(chromium: Browser, server: Server) -> Iterator[BrowserContext]:
    """A new browser profile without site data."""
    context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}")
    context.set_default_timeout(WITHIN)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda message: faults.append(message.text) if "Security Policy" in message.text else None)
    context.on("request", lambda request: faults.append(request.url) if "://127.0.0.1:" not in request.url else None)
    yield context
    context.close()
    assert faults == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto("/")
    return page
