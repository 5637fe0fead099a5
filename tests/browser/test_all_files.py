"""The page of all files in a real browser: who can see it, how it shows many files, and what it requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect

from tests.browser.axe import no_violations
from tests.browser.upload_page import note_questions, questions, require_pauses
from tests.wire.server import Server, until

TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token and four files."""
    with Server(tmp_path_factory.mktemp("guarded") / "data", SHARE_API_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture
def page(context: BrowserContext, guarded: Server) -> Page:
    """The page of all files, before signing in."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{guarded.port}/file")
    return page


def upload(page: Page, name: str, data: str = "data", **options: int) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain"}
    params: dict[str, str | float | bool] = {"filename": name, **options}
    origin = page.url.partition("/file")[0]
    answer: dict[str, Any] = page.request.put(f"{origin}/file/upload", params=params, headers=headers, data=data).json()
    return answer


def sign_in(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Access token").fill(token)
    page.keyboard.press("Enter")


def names(page: Page) -> list[str]:
    return page.locator("#rows .name").all_inner_texts()


def row(page: Page, name: str) -> Locator:
    return page.locator("#rows > li", has_text=name)


def test_all_files_are_shown_to_people_with_the_token(page: Page) -> None:
    upload(page, "secret.txt")
    expect(page.locator("#list")).to_be_hidden()
    no_violations(page)
    sign_in(page, "wrong")
    expect(page.get_by_role("alert").filter(has_text="Wrong access token.")).to_be_visible()
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    sign_in(page)
    expect(row(page, "secret.txt")).to_be_visible()
    expect(page.get_by_role("heading", name="All files")).to_be_focused()
    no_violations(page)
    # In this tab until it is closed, and in no URL.
    assert TOKEN not in page.url
    assert not [request.url for request in requests if TOKEN in request.url]
    assert page.evaluate("JSON.stringify(localStorage)").find(TOKEN) == -1
    page.reload()
    expect(row(page, "secret.txt")).to_be_visible()


def test_a_file_is_found_and_files_are_sorted(page: Page) -> None:
    sent = [
        upload(page, "sorted 10.txt", "x" * 10, expires_in=7200),
        upload(page, "sorted 9.txt", "x" * 30),
        upload(page, "sorted 100.txt", "x" * 20, expires_in=3600),
    ]
    assert page.request.get(sent[1]["download_link"]).ok
    sign_in(page)
    page.get_by_label("Filter by name").fill("SORTED")
    orders = {
        "Newest first": ["100", "9", "10"],
        "Name": ["9", "10", "100"],
        "Largest first": ["9", "100", "10"],
        "Most downloads first": ["9"],
        "Expiring soonest": ["100", "10", "9"],
    }
    for order, numbers in orders.items():
        page.get_by_label("Sort by").select_option(order)
        assert names(page)[: len(numbers)] == [f"sorted {number}.txt" for number in numbers]
    expect(row(page, "sorted 9.txt").locator(".state")).to_contain_text("30 bytes · ")
    expect(row(page, "sorted 9.txt").locator(".state")).to_contain_text(" · 1 download")
    page.get_by_label("Filter by name").fill("no such name")
    expect(page.get_by_text("No matching files.")).to_be_visible()
    assert names(page) == []


def test_an_expiry_within_a_day_is_shown_with_its_time(page: Page) -> None:
    upload(page, "soon.txt", expires_in=3600)
    upload(page, "later.txt", expires_in=864_000)
    sign_in(page)
    expect(row(page, "soon.txt").locator(".state")).to_have_text(re.compile(r"expires\s.*\d:\d\d\s[AP]M$"))
    expect(row(page, "later.txt").locator(".state")).to_have_text(re.compile(r"expires\s[^:]*$"))


def test_a_file_is_changed_and_deleted(page: Page, guarded: Server) -> None:
    sent = upload(page, "changed.txt")
    sign_in(page)
    row(page, "changed.txt").get_by_role("button", name="Options").click()
    dialog = page.get_by_role("dialog")
    no_violations(page)
    dialog.get_by_role("button", name="No download limit").click()
    dialog.locator("[name=limit]").fill("3")
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("Settings saved.")).to_be_visible()
    assert guarded.metadata(sent["file_id"])["max_downloads"] == 3
    page.on("dialog", lambda question: question.accept())
    dialog.get_by_role("button", name="Delete").click()
    expect(row(page, "changed.txt")).to_have_count(0)
    assert guarded.get(f"/file/metadata/{sent['file_id']}")[0] == 404
    expect(page.get_by_role("heading", name="All files")).to_be_focused()


def test_all_pages_of_the_list_are_read(page: Page) -> None:
    for number in range(7):
        upload(page, f"paged {number}.txt")
    # As on Lambda, where pages of the list are short.
    page.route("**/file/metadata*", lambda route: route.continue_(url=short(route.request.url)))
    sign_in(page)
    page.get_by_label("Filter by name").fill("paged")
    expect(page.locator("#rows > li")).to_have_count(7)
    expect(page.locator("#summary")).to_contain_text("7 matches")


def short(address: str) -> str:
    return address + ("&" if "?" in address else "?") + "limit=2"


def test_a_list_that_cannot_be_read_can_be_read_again(page: Page) -> None:
    upload(page, "again.txt")
    problem = '{"type": "about:blank", "title": "x", "status": 400, "detail": "No luck."}'
    page.route("**/file/metadata", lambda route: route.fulfill(status=400, body=problem))
    page.evaluate("(token) => sessionStorage.setItem('token', JSON.stringify(token))", TOKEN)
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="Could not load the files. No luck.")).to_be_visible()
    no_violations(page)
    page.unroute("**/file/metadata")
    page.get_by_role("button", name="Try again").click()
    expect(row(page, "again.txt")).to_be_visible()
    expect(page.locator("#failure")).to_be_hidden()


def test_there_is_one_question_in_five_seconds_whatever_the_number_of_files(page: Page) -> None:
    for number in range(3):
        upload(page, f"idle {number}.txt")
    note_questions(page)
    page.clock.install()
    page.reload()
    sign_in(page)
    expect(row(page, "idle 0.txt")).to_be_visible()

    def has_asked() -> bool:
        page.clock.run_for(5000)
        return len(questions(page)) > 5

    until(has_asked)
    require_pauses(page)


def test_without_a_token_only_own_files_can_be_changed(context: BrowserContext, server: Server) -> None:
    mine, other = server.upload([b"mine"], 4), server.upload([b"other"], 5)
    page = context.new_page()
    page.goto("/")
    page.evaluate("(file) => localStorage.setItem('files', JSON.stringify([file]))", mine)
    page.get_by_role("link", name="All files").click()
    for sent, mutable in ((mine, True), (other, False)):
        page.locator(f"[data-id='{sent['file_id']}']").get_by_role("button", name="Options").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("input[readonly]")).to_have_value(sent["download_page"])
        expect(dialog.get_by_role("button", name="Delete")).to_have_count(int(mutable))
        expect(dialog.locator(".chips")).to_have_count(int(mutable))
        page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_fits_and_tells_apart_long_names(chromium: Browser, server: Server, width: int) -> None:
    context = chromium.new_context(
        base_url=f"http://127.0.0.1:{server.port}", viewport={"width": width, "height": 800}, color_scheme="dark"
    )
    page = context.new_page()
    page.goto("/file")
    for name in ("a-name-" * 30 + ".txt", "מסמך.pdf"):
        assert page.request.put("/file/upload", params={"filename": name}, data="data").ok
    page.reload()
    expect(page.locator("#rows bdi", has_text="מסמך.pdf").first).to_be_visible()
    no_violations(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
