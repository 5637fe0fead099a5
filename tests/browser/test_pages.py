"""The landing page in a real browser, with the server that `make run` starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Browser, BrowserContext, Page, Response, Route, expect

from tests.browser.axe import no_violations
from tests.wire.server import Server, until

# All these tests share one server and one browser.


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that shows nothing yet, because these tests do not use the upload page."""
    return context.new_page()


@pytest.mark.parametrize("path", ["/", "/inbox", "/file", "/docs"])
def test_each_page_leads_to_the_others(page: Page, path: str) -> None:
    page.goto(path)
    links = page.locator("header nav a:visible").evaluate_all(
        "(links) => links.map((link) => link.getAttribute('href'))"
    )
    others = ["/openapi.json"] if path == "/docs" else []
    assert links == [other for other in ("/", "/inbox", "/file") if other != path] + others
    no_violations(page)


@pytest.mark.parametrize("right", [True, False])
def test_the_address_with_the_delete_token_offers_to_delete(page: Page, server: Server, *, right: bool) -> None:
    sent = server.upload([b"data"], 4)
    token = sent["delete_token"] if right else "wrong"
    page.goto(f"{sent['download_page']}#delete={token}")
    assert page.url == sent["download_page"]
    no_violations(page)
    page.get_by_role("button", name="Delete").click()
    if right:
        expect(page.get_by_role("heading", name="The file was deleted")).to_be_visible()
        assert server.get(f"/file/metadata/{sent['file_id']}")[0] == 404
    else:
        expect(page.get_by_role("heading", name="This delete link doesn't work")).to_be_visible()
        assert server.get(f"/file/metadata/{sent['file_id']}")[0] == 200
    no_violations(page)


def test_nobody_else_is_offered_to_delete(page: Page, server: Server) -> None:
    sent = server.upload([b"data"], 4)
    page.goto(sent["download_page"])
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)


def test_a_password_is_asked_for(context: BrowserContext, server: Server, tmp_path: Path) -> None:
    sent = server.upload([b"hidden"], 6)
    owner = {"X-Delete-Token": sent["delete_token"]}
    assert context.request.patch(f"/file/{sent['file_id']}", headers=owner, data={"password": "größe & co"}).ok
    visitor = context.new_page()
    visitor.goto(sent["download_page"])
    visitor.fill("#password", "wrong")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("alert")).to_have_text("Wrong password. Try again.")
    no_violations(visitor)
    visitor.fill("#password", "größe & co")
    with visitor.expect_download() as started:
        visitor.get_by_role("button", name="Download").click()
    started.value.save_as(tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"hidden"
    # Scripts cannot read the cookie, and no other path receives it.
    assert visitor.evaluate("document.cookie") == ""
    assert "gr" not in visitor.url.partition("/download/")[2]


def test_a_link_that_is_used_up_says_so(page: Page, context: BrowserContext) -> None:
    sent = page.request.put("/file/upload/once.txt?max_downloads=1", data="data").json()
    visitor = context.new_page()
    visitor.goto(sent["download_page"])
    with visitor.expect_download() as started:
        visitor.get_by_role("link", name="Download").click()
    started.value.path()
    response = visitor.reload()
    assert response is not None
    assert response.status == 410
    expect(visitor.get_by_role("heading")).to_have_text("This link has reached its download limit")
    no_violations(visitor)


@pytest.mark.parametrize(
    ("downloads", "password", "words"),
    [(1, None, "now reached its download limit"), (3, None, "2 downloads left"), (1, "größe", "now reached its")],
)
def test_what_is_left_is_shown_once_a_download_has_begun(
    page: Page, downloads: int, password: str | None, words: str
) -> None:
    sent = page.request.put(f"/file/upload?filename=a.txt&max_downloads={downloads}", data="data").json()
    if password is not None:
        headers = {"X-Delete-Token": sent["delete_token"]}
        assert page.request.patch(f"/file/{sent['file_id']}", headers=headers, data={"password": password}).ok
    page.goto(sent["download_page"])
    if password is not None:
        page.get_by_label("Password").fill(password)
    with page.expect_download():
        page.get_by_text("Download", exact=True).click()
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.get_by_text("Download", exact=True)).to_have_count(int(downloads > 1))
    expect(page.get_by_text("This link works once.")).to_have_count(0)
    no_violations(page)


def test_a_protected_download_asks_on_the_page_of_the_file(page: Page) -> None:
    sent = page.request.put("/file/upload?filename=a.txt", data="data").json()
    headers = {"X-Delete-Token": sent["delete_token"]}
    assert page.request.patch(f"/file/{sent['file_id']}", headers=headers, data={"password": "secret"}).ok
    page.goto(sent["download_link"])
    assert page.url == sent["download_page"]
    page.get_by_label("Password").fill("secret")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download").click()
    assert started.value.path().read_bytes() == b"data"


def test_the_details_have_the_checksum_to_copy(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    sent = page.request.put("/file/upload?filename=a.txt", data="x" * 1234567).json()
    page.goto(sent["download_page"])
    expect(page.get_by_text("1,234,567 bytes")).to_be_hidden()
    page.get_by_text("Details").click()
    expect(page.get_by_text("1,234,567 bytes")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == sent["sha256"]
    no_violations(page)


def test_the_landing_page_and_errors_are_accessible_and_fit(page: Page) -> None:
    sent = page.request.put("/file/upload", params={"filename": "a-name-" * 34 + ".txt"}, data="data").json()
    for address in (sent["download_page"], "/no/such/page", "/download/cut-off", "/file/upload"):
        page.goto(address)
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            until(lambda width=width: bool(page.evaluate("innerWidth") == width))  # type: ignore[misc]
            page.emulate_media(color_scheme="light")
            no_violations(page)
            page.emulate_media(color_scheme="dark")
            no_violations(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            # A long name is cut after three lines.
            lines = "(h1) => h1.clientHeight / parseFloat(getComputedStyle(h1).lineHeight)"
            assert page.locator("h1").evaluate(lines) < 3.5


@pytest.mark.parametrize("place", ["download_page", "/no/such/page"])
def test_a_first_visit_loads_little_even_without_compression(chromium: Browser, server: Server, place: str) -> None:
    sent = server.upload([b"data"], 4)
    context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}")
    page = context.new_page()
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    page.goto(sent.get(place, place))
    page.wait_for_load_state("networkidle")
    assert 2_000 < sum(len(response.body()) for response in responses) < 60_000
    context.close()


def used_up(page: Page, sent: dict[str, Any]) -> APIResponse:
    return page.request.get(sent["download_link"])


def deleted(page: Page, sent: dict[str, Any]) -> APIResponse:
    return page.request.delete(f"/file/{sent['file_id']}", headers={"X-Delete-Token": sent["delete_token"]})


def locked(page: Page, sent: dict[str, Any]) -> APIResponse:
    headers = {"X-Delete-Token": sent["delete_token"]}
    return page.request.patch(f"/file/{sent['file_id']}", headers=headers, data={"password": "x"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (used_up, "This link has reached its download limit"),
        (deleted, "This file isn't here"),
        (locked, "The sender protected this file with a password."),
    ],
)
def test_a_file_that_changed_after_its_page_was_opened_is_explained(
    page: Page, change: Callable[[Page, dict[str, Any]], APIResponse], words: str
) -> None:
    sent = page.request.put("/file/upload/once.txt?max_downloads=1", data="data").json()
    page.goto(sent["download_page"])
    downloads: list[object] = []
    page.on("download", lambda download: downloads.append(download))
    assert change(page, sent).ok
    page.get_by_role("link", name="Download").click()
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.get_by_text("started")).to_have_count(0)
    assert downloads == []


@pytest.mark.parametrize(
    ("status", "words"), [(503, "can't be downloaded right now"), (None, "Can't reach the server.")]
)
def test_a_download_that_would_fail_does_not_begin(page: Page, server: Server, status: int | None, words: str) -> None:
    sent = server.upload([b"data"], 4)
    page.goto(sent["download_page"])
    address = "**/file/download/**"
    page.route(address, lambda route: route.abort() if status is None else route.fulfill(status=status))
    page.get_by_role("link", name="Download").click()
    expect(page.locator("#news")).to_contain_text(words)
    no_violations(page)
    page.unroute(address)
    with page.expect_download():
        page.get_by_role("link", name="Download").click()
    expect(page.locator("#news")).to_contain_text("Download started.")


@pytest.mark.parametrize("answer", [{"status": 401}, {"status": 302, "headers": {"Location": "/sign-in"}}])
def test_what_a_gate_in_front_answers_stops_no_download(page: Page, server: Server, answer: dict[str, Any]) -> None:
    sent = server.upload([b"data"], 4)
    page.goto(sent["download_page"])

    def let_downloads_through(route: Route) -> None:
        if route.request.method == "HEAD":
            route.fulfill(**answer)
        else:
            route.continue_()

    page.route("**/file/download/**", let_downloads_through)
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").click()
    assert started.value.path().read_bytes() == b"data"


def test_a_double_click_is_one_download(page: Page, server: Server) -> None:
    sent = server.upload([b"data"], 4)
    page.goto(sent["download_page"])
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").dblclick()
    started.value.path()
    assert server.metadata(sent["file_id"])["download_count"] == 1


def test_the_download_needs_no_javascript(chromium: Browser, server: Server) -> None:
    sent = server.upload([b"data"], 4)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(sent["download_page"])
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").click()
    assert started.value.path().read_bytes() == b"data"
    context.close()
