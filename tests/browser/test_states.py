"""Every state of the pages: accessible, within the window, and without layout shifts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.browser import axe
from tests.browser.conftest import WITHIN
from tests.browser.firefox import Firefox
from tests.browser.states import SETTINGS, STATES, show
from tests.browser.upload_page import UPLOADS, drop, hold, upload_of
from tests.wire.server import Server, until

MOST_BYTES = 60_000
# The rows of a list are alike, and axe would take minutes for a thousand.
SHORTEN = "() => { for (const row of document.querySelectorAll('#rows > li:nth-child(n + 21)')) row.remove(); }"
# A layout shift is the share of the window that moved, times the distance, both from 0 to 1.
WATCH = """
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const { value, sources } of list.getEntries()) {
            shifts.push(`${value}: ${sources.map(({ node }) => node?.id || node?.className || node?.nodeName)}`);
        }
    }).observe({ type: "layout-shift", buffered: true });
    // The page's clock, which the test stops, replaces it.
    const frame = window.requestAnimationFrame.bind(window);
    window.painted = () => new Promise((resolve) => frame(() => frame(resolve)));
    window.uploads = {};
    const { open } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.open = function (method, url) {
        if (method === "PUT") uploads[new URL(url, location).searchParams.get("filename")] = this;
        open.call(this, method, url);
    };
"""

# What the site has stored in the browser.
STORED = """async () => {
    const workers = await navigator.serviceWorker.getRegistrations();
    const files = await Array.fromAsync((await navigator.storage.getDirectory()).keys());
    const databases = await indexedDB.databases();
    return [document.cookie, ...Object.keys(localStorage), ...Object.keys(sessionStorage), ...workers, ...files,
        ...databases, ...(await caches.keys())].filter(Boolean).map(String);
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("states") / "data", **SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def states_page(chromium: Browser, server: Server) -> Iterator[Page]:
    """One page for all states, because the first visit in a new profile takes twice as long."""
    context = chromium.new_context(base_url=server.address)
    context.set_default_timeout(WITHIN)
    yield context.new_page()
    context.close()


def renew(page: Page, server: Server) -> None:
    """Make the page like a new one: no routes, nothing stored, the mouse elsewhere, and the usual window and colors."""
    page.unroute_all()
    # An address of the same server without scripts, so nobody stores anything again.
    page.goto("/health")
    page.evaluate("localStorage.clear(); sessionStorage.clear()")
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": server.address, "storageTypes": "all"})
    session.detach()
    until(lambda: bool(page.evaluate(STORED) == []))
    page.mouse.move(-1, -1)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.emulate_media(color_scheme="light")


@pytest.fixture(scope="module", params=STATES)
def state(request: pytest.FixtureRequest, states_page: Page, server: Server) -> Page:
    """Each state in turn, set up once for all tests that look at it."""
    renew(states_page, server)
    show(states_page, request.param)
    return states_page


def resize(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    until(lambda: bool(page.evaluate("(width) => innerWidth === width", width)))


def test_each_state_is_accessible_and_fits(state: Page) -> None:
    for width in (1280, 390, 320):
        resize(state, width)
        assert state.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    state.evaluate(SHORTEN)
    state.emulate_media(color_scheme="dark")
    axe.no_violations(state)
    resize(state, 1280)
    state.emulate_media(color_scheme="light")
    axe.no_violations(state)


def test_a_thousand_files_are_a_list_as_high_as_one_of_ten(page: Page) -> None:
    STATES["thousand"](page)
    assert page.evaluate("document.documentElement.scrollHeight") < 1200
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_ten_files_move_nothing_on_their_way(context: BrowserContext, width: int) -> None:
    """The page's timers run only when the test says so, so the browser paints every state, as on a slow machine."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    page.add_init_script(WATCH)
    page.clock.install(time=0)
    page.goto("/")
    page.clock.pause_at(1000)
    held, probes = hold(page, UPLOADS), hold(page, "**/health")

    def paint(text: str) -> None:
        def is_shown() -> bool:
            page.clock.run_for(1000)
            return text in page.locator("#work").inner_text()

        page.evaluate("painted()")
        # An answer can reach the page's scripts a little later than the browser.
        until(is_shown)
        page.evaluate("painted()")

    drop(page, *((f"{number}.txt", "data") for number in range(10)))
    page.evaluate("painted()")
    expect(page.locator("#rows > li")).to_have_count(10)
    for number in range(10):
        name = f"{number}.txt"
        upload = upload_of(page, held, name)
        page.evaluate("(name) => uploads[name].upload.onprogress({ loaded: 2 })", name)
        paint("50%")
        page.evaluate("(name) => uploads[name].upload.onprogress({ loaded: 4 })", name)
        paint("left" if number < 9 else "Finishing")
        page.evaluate("dispatchEvent(new Event('offline'))")
        paint("Reconnecting")
        until(lambda: bool(page.evaluate("true")) and len(probes) > 0)
        with page.expect_response("**/health"):
            probes.pop().continue_()
        paint("left" if number < 9 else "Finishing")
        with page.expect_response(UPLOADS):
            upload.continue_()
        page.wait_for_function("(count) => JSON.parse(localStorage.files ?? '[]').length === count", arg=number + 1)
        paint("links are ready" if number == 9 else "Uploading 10 files")
    assert page.evaluate("shifts") == []


def test_a_first_visit_is_small(context: BrowserContext) -> None:
    page = context.new_page()
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))
    page.goto("/", wait_until="networkidle")
    assert {PurePath(urlsplit(request.url).path).suffix for request in requests} >= {"", ".css", ".js", ".svg"}
    assert sum(request.sizes()["responseBodySize"] for request in requests) < MOST_BYTES


@pytest.fixture(scope="module")
def firefox(shared_firefox: Firefox, server: Server) -> Iterator[Firefox]:
    # A page of the same server without scripts, which therefore does not change the inserted documents.
    shared_firefox.command("WebDriver:Navigate", url=f"{server.address}/no/such/page")
    axe.load(shared_firefox)
    yield shared_firefox
    shared_firefox.forget()


# Copies values into attributes, so that they are part of the serialised document.
SNAPSHOT = """() => {
    for (const field of document.querySelectorAll("input:not([type=file])")) {
        field.setAttribute("value", field.value);
        field.toggleAttribute("checked", field.checked);
    }
    for (const area of document.querySelectorAll("textarea")) area.textContent = area.value;
    for (const option of document.querySelectorAll("option")) option.toggleAttribute("selected", option.selected);
    for (const popover of document.querySelectorAll(":popover-open")) popover.dataset.open = "";
    return document.documentElement.innerHTML;
}"""
SHOW = """
    document.documentElement.innerHTML = arguments[0];
    const sheets = [...document.querySelectorAll("link[rel=stylesheet]")];
    await Promise.all(sheets.map((sheet) => sheet.sheet || new Promise((loaded) => (sheet.onload = loaded))));
    for (const dialog of document.querySelectorAll("dialog[open]")) {
        dialog.close();
        dialog.showModal();
    }
    for (const popover of document.querySelectorAll("[data-open]")) popover.showPopover();
    return [document.title, getComputedStyle(document.body).fontSize];
"""


def test_firefox_finds_nothing_either(state: Page, firefox: Firefox) -> None:
    """Firefox lays out the document that Chromium's scripts left. How it runs them is in `test_firefox.py`."""
    state.evaluate(SHORTEN)
    title, document = state.title(), state.evaluate(SNAPSHOT)
    firefox.prefer_scheme("light")
    # Sizes come from our style sheets, so they were applied.
    assert firefox.run("content", SHOW, document) == [title, "15px"]
    axe.no_violations_in_firefox(firefox)
    firefox.prefer_scheme("dark")
    axe.no_bad_colors_in_firefox(firefox)
