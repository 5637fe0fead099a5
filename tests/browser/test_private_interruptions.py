"""Private downloads that are interrupted or canceled: they resume, or fail visibly and leave nothing whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route, expect
from share.private.chunks import encrypted_size

from tests.browser.private_files import DIGEST, NO_PICKER, PICKER, SAVED, press, put
from tests.browser.upload_page import hold
from tests.client.private_vectors import text_of
from tests.wire.server import Server, until

MIB = 2**20
TEXT = b"nobody but the recipient may read this. " * 5000
NAME = "Geheimplan 2026.txt"


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that shows nothing yet, because these tests do not use the upload page."""
    return context.new_page()


def test_an_interrupted_download_goes_on_where_it_stopped(page: Page, server: Server) -> None:
    page.add_init_script(PICKER)
    link = put(server.address, TEXT, NAME, max_downloads="1")
    page.goto(link)
    ranges: list[str | None] = []

    def cut_once(route: Route) -> None:
        ranges.append(route.request.headers.get("range"))
        if len(ranges) > 1:
            route.continue_()
            return
        answer = route.fetch()
        route.fulfill(status=200, headers={"ETag": answer.headers["etag"]}, body=answer.body()[:50_000])

    page.route("**/file/download/**", cut_once)
    press(page)
    expect(page.get_by_text("The link has now reached its download limit")).to_be_visible()
    assert ranges == [f"bytes={start}-{encrypted_size(len(TEXT)) - 1}" for start in (0, 50_000)]
    assert page.evaluate(SAVED) == {NAME: TEXT.decode()}


def test_pieces_of_a_file_are_one_download_however_long_it_takes(page: Page, server: Server) -> None:
    """Firefox receives the whole answer to a request into memory, so the page asks for one piece after the other."""
    page.add_init_script(PICKER)
    text = text_of(8 * MIB + 100_000)
    link = put(server.address, text, NAME, password="swordfish", max_downloads="1")
    page.goto(link)
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    held = hold(page, "**/file/download/**")
    page.get_by_label("Password").fill("swordfish")
    press(page)
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    # The cookie that stands for the password is valid for a minute.
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 60_000; }")
    held[0].continue_()
    until(lambda: bool(page.evaluate("true")) and len(held) == 2)
    held[1].continue_()
    expect(page.get_by_text("The link has now reached its download limit")).to_be_visible()
    size = encrypted_size(len(text))
    ranges = [request.headers["range"] for request in requests if "range" in request.headers]
    assert ranges == [f"bytes=0-{8 * MIB - 1}", f"bytes={8 * MIB}-{size - 1}"]
    assert [request.method for request in requests].count("POST") == 2
    assert page.evaluate(DIGEST, NAME) == hashlib.sha256(text).hexdigest()


def test_a_download_that_cannot_go_on_leaves_nothing(page: Page, server: Server) -> None:
    page.add_init_script(PICKER)
    page.goto(put(server.address, TEXT, NAME, max_downloads="1"))
    # Without the tag of the first answer, the rest would be another download.
    page.route("**/file/download/**", lambda route: route.fulfill(status=200, body=route.fetch().body()[:50_000]))
    press(page)
    expect(page.get_by_text("The download was interrupted.")).to_be_visible()
    assert page.evaluate(SAVED) == {}


def test_a_download_is_broken_visibly_when_the_browser_ends_the_service_worker(page: Page, server: Server) -> None:
    page.add_init_script(NO_PICKER)
    page.goto(put(server.address, TEXT, NAME))
    held: list[Route] = []

    def hold_the_rest(route: Route) -> None:
        if not route.request.headers["range"].startswith("bytes=0-"):
            held.append(route)
        else:
            route.fulfill(status=200, body=route.fetch().body()[:50_000])

    page.route("**/file/download/**", hold_the_rest)
    page.clock.install()
    with page.expect_download() as download:
        press(page)

    def run_until(holds: Callable[[], bool]) -> None:
        """Let the page's clock run until it holds."""

        def holds_later() -> bool:
            page.clock.run_for(1000)
            return holds()

        until(holds_later)

    run_until(lambda: held != [])
    session = page.context.new_cdp_session(page)
    session.send("ServiceWorker.enable")
    session.send("ServiceWorker.stopAllWorkers")
    held[0].continue_()
    # A ping finds out.
    run_until(page.get_by_text("The file could not be saved.").is_visible)
    assert download.value.failure() is not None


def test_a_cancelled_download_leaves_nothing(page: Page, server: Server) -> None:
    page.add_init_script(PICKER)
    page.goto(put(server.address, TEXT, NAME))
    held = hold(page, "**/file/download/**")
    press(page)
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Download canceled.")).to_be_visible()
    expect(page.get_by_role("button", name="Download")).to_be_visible()
    assert page.evaluate(SAVED) == {}
    held[0].abort()


def test_a_download_that_the_user_cancels_in_the_browser_is_canceled_on_the_page(page: Page, server: Server) -> None:
    page.add_init_script(NO_PICKER)
    page.goto(put(server.address, text_of(9 * MIB), NAME))
    held: list[Route] = []
    # The first piece is whole, so the browser's download has begun.
    page.route(
        "**/file/download/**",
        lambda route: (
            route.continue_() if route.request.headers["range"].startswith("bytes=0-") else held.append(route)
        ),
    )
    with page.expect_download() as download:
        press(page)
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    download.value.cancel()
    held[0].continue_()
    expect(page.get_by_text("Download canceled.")).to_be_visible()
    expect(page.get_by_role("button", name="Download")).to_be_visible()
