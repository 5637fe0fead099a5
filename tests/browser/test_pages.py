"""The web pages in a real browser, against the server as `make run` starts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import (
    APIResponse,
    Browser,
    BrowserContext,
    Dialog,
    FilePayload,
    Locator,
    Page,
    Route,
    expect,
)

from tests.browser.conftest import WITHIN
from tests.wire.server import Server, until

BLOCKED = """
    for (const area of ["localStorage", "sessionStorage"]) {
        const get = () => { throw new DOMException("Access is denied for this document.", "SecurityError"); };
        Object.defineProperty(window, area, { get });
    }
"""
TOKEN = "a-token-of-thirty-two-characters"

# One server and one browser serve all of them.
pytestmark = pytest.mark.xdist_group("browser")


def drop(page: Page, *files: tuple[str, str]) -> None:
    """Drop files of these names and texts on the page."""
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, text] of files) transfer.items.add(new File([text], name, { type: "text/plain" }));
            return transfer;
        }""",
        [list(file) for file in files],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def choose(page: Page, *files: Path) -> None:
    page.set_input_files("#files", [str(file) for file in files])


def item(page: Page, name: str) -> Locator:
    return page.locator("#shared > li", has_text=name)


def link(page: Page, name: str) -> str:
    return item(page, name).locator("input").input_value()


def hold(page: Page, address: str) -> list[Route]:
    """Keep requests to such an address waiting, and say which."""
    held: list[Route] = []
    page.route(address, lambda route: held.append(route))
    return held


def no_violations(page: Page) -> None:
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_two_files_are_dropped_and_fetched_by_somebody_else(
    page: Page, context: BrowserContext, chromium: Browser, tmp_path: Path
) -> None:
    drop(page, ("one.txt", "first"), ("two <b>.txt", "second"))
    expect(page.locator("#shared > li")).to_have_count(2)
    expect(item(page, "two <b>.txt").locator(".state")).to_have_text("6 bytes · 0 downloads")
    other = chromium.new_context()
    visitor = other.new_page()
    visitor.goto(link(page, "two <b>.txt"))
    expect(visitor.get_by_role("heading")).to_have_text("two <b>.txt")
    with visitor.expect_download() as started:
        visitor.get_by_role("link", name="Download").click()
    started.value.save_as(tmp_path / "fetched")
    other.close()
    assert started.value.suggested_filename.startswith("two ")
    assert (tmp_path / "fetched").read_bytes() == b"second"
    # The first page sees it without being asked.
    expect(item(page, "two <b>.txt").locator(".state")).to_have_text("6 bytes · 1 download", timeout=WITHIN)
    expect(item(page, "one.txt").locator(".state")).to_have_text("5 bytes · 0 downloads")


def test_progress_is_shown_and_an_upload_can_be_cancelled(page: Page, server: Server) -> None:
    before = server.stored()
    held = hold(page, "**/file/upload?**")
    with page.expect_request("**/file/upload?**"):
        drop(page, ("slow.txt", "x" * 1000))
    upload = page.locator("#uploads > li")
    expect(upload.locator("progress")).to_have_attribute("aria-label", "Upload of slow.txt")
    expect(upload.locator(".state")).to_contain_text("of 1 kB")
    upload.get_by_role("button", name="Cancel").click()
    expect(upload).to_have_count(0)
    assert len(held) == 1
    assert server.stored() == before


def test_a_failed_upload_says_why_and_can_be_tried_again(page: Page) -> None:
    refuse_uploads(page)
    drop(page, ("again.txt", "data"))
    upload = page.locator("#uploads > li")
    expect(upload.locator(".failure")).to_have_text("No room.")
    expect(page.get_by_role("button", name="Retry all")).to_be_hidden()
    no_violations(page)
    page.unroute("**/file/upload?**")
    page.locator("#downloads").fill("3")
    upload.get_by_role("button", name="Retry").click()
    # As the options are now, not as they were.
    expect(item(page, "again.txt").locator(".state")).to_contain_text("0 of 3 downloads")


def refuse_uploads(page: Page) -> None:
    problem = {"title": "Storage full", "status": 507, "detail": "No room."}
    page.route(
        "**/file/upload?**",
        lambda route: route.fulfill(status=413, content_type="application/problem+json", body=json.dumps(problem)),
    )


def test_all_that_failed_is_tried_again_by_one_button(page: Page) -> None:
    refuse_uploads(page)
    names = [f"{number}.txt" for number in range(4)]
    drop(page, *((name, "data") for name in names))
    expect(page.locator("#uploads .failure", has_text="No room.")).to_have_count(4)
    no_violations(page)
    page.unroute("**/file/upload?**")
    page.get_by_role("button", name="Retry all").click()
    for name in names:
        expect(item(page, name)).to_be_visible()
    expect(page.get_by_role("button", name="Retry all")).to_be_hidden()


def test_files_wait_for_the_network_and_go_on_by_themselves(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    names = [f"{number}.txt" for number in range(10)]
    drop(page, *((name, "data") for name in names))
    # Two are under way, and the others wait: nothing has failed.
    expect(page.locator("#uploads .state", has_text="Reconnecting…")).to_have_count(2)
    expect(page.locator("#uploads .state", has_text="Waiting")).to_have_count(8)
    context.set_offline(False)
    for name in names:
        expect(item(page, name)).to_be_visible()
    expect(page.locator("#uploads > li")).to_have_count(0)


def test_files_are_remembered_until_they_are_deleted(page: Page, context: BrowserContext) -> None:
    drop(page, ("kept.txt", "data"))
    address = link(page, "kept.txt")
    page.reload()
    expect(item(page, "kept.txt").locator("input")).to_have_value(address)
    page.on("dialog", lambda dialog: dialog.accept())
    item(page, "kept.txt").get_by_role("button", name="Delete").click()
    expect(page.locator("#shared > li")).to_have_count(0)
    response = page.goto(address)
    assert response is not None
    assert response.status == 404
    expect(page.get_by_role("heading")).to_have_text("This file isn't here")


def test_both_pages_tell_the_same_size(page: Page) -> None:
    for count, size in (
        (999, "999 bytes"),
        (1000, "1 kB"),
        (99_940, "99.9 kB"),
        (481_500, "482 kB"),
        (999_600, "1 MB"),
    ):
        drop(page, (f"{count}.txt", "x" * count))
        expect(item(page, f"{count}.txt").locator(".state")).to_have_text(f"{size} · 0 downloads")
        address = link(page, f"{count}.txt")
        assert f">{size}" in page.request.get(address).text()


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


def test_a_password_is_asked_for(page: Page, context: BrowserContext, tmp_path: Path) -> None:
    page.fill("#file-password", "größe & co")
    drop(page, ("secret.txt", "hidden"))
    address = link(page, "secret.txt")
    visitor = context.new_page()
    visitor.goto(address)
    visitor.fill("#password", "wrong")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("alert")).to_have_text("Wrong password. Try again.")
    no_violations(visitor)
    visitor.fill("#password", "größe & co")
    with visitor.expect_download() as started:
        visitor.get_by_role("button", name="Download").click()
    started.value.save_as(tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"hidden"
    # The cookie is out of reach of scripts, and of every other address.
    assert visitor.evaluate("document.cookie") == ""
    assert "gr" not in visitor.url.partition("/download/")[2]


def test_a_link_that_is_used_up_says_so(page: Page, context: BrowserContext) -> None:
    page.fill("#downloads", "1")
    drop(page, ("once.txt", "data"))
    visitor = context.new_page()
    visitor.goto(link(page, "once.txt"))
    with visitor.expect_download() as started:
        visitor.get_by_role("link", name="Download").click()
    started.value.path()
    response = visitor.reload()
    assert response is not None
    assert response.status == 410
    expect(visitor.get_by_role("heading")).to_have_text("This link has reached its download limit")
    no_violations(visitor)
    expect(item(page, "once.txt").locator(".state")).to_have_text("4 bytes · 1 of 1 download, used up")


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
def test_a_file_that_changed_since_its_page_was_opened_is_told_of_in_words(
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


@pytest.mark.parametrize(("downloads", "password"), [("0", ""), ("1.5", ""), ("", " x")])
def test_options_that_cannot_be_are_refused_in_words(page: Page, downloads: str, password: str) -> None:
    page.fill("#downloads", downloads)
    page.fill("#file-password", password)
    drop(page, ("refused.txt", "data"))
    expect(page.locator("#option-error")).to_contain_text("must")
    expect(page.locator("#uploads > li")).to_have_count(0)


def test_all_can_be_done_from_the_keyboard(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#file-password").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    chooser.value.set_files(FilePayload(name="typed.txt", mimeType="text/plain", buffer=b"data"))
    item(page, "typed.txt").locator("input").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    code = item(page, "typed.txt").get_by_role("img")
    expect(code).to_be_visible()
    expect(code).to_have_js_property("complete", True)
    assert code.evaluate("(image) => image.naturalWidth") > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_both_pages_are_accessible_and_fit(page: Page, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    page.fill("#file-password", "x")
    drop(page, ("a-name-" * 30 + ".txt", "data"))
    item(page, "a-name").get_by_role("button", name="QR code").click()
    for address in ("", link(page, "a-name")):
        if address:
            page.goto(address)
        no_violations(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_name_written_from_right_to_left_stays_by_itself(page: Page) -> None:
    name = "מסמך.pdf"
    held = hold(page, "**/file/upload?**")
    drop(page, (f"\u202e{name}", "data"))
    expect(page.locator("#uploads bdi")).to_have_text(f"\u202e{name}")
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    held[0].continue_()
    expect(page.locator("#shared bdi")).to_have_text(name)
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    item(page, name).get_by_role("button", name="Delete").click()
    assert asked == [f"Delete \u2068{name}\u2069? Its link will stop working."]
    page.goto(link(page, name))
    expect(page.locator("h1 bdi")).to_have_text(name)
    assert page.locator("h1 bdi").evaluate("(name) => getComputedStyle(name).unicodeBidi") == "isolate"


def test_the_token_is_asked_for_where_the_server_wants_one(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Server(tmp_path_factory.mktemp("guarded") / "data", SHARE_API_TOKEN=TOKEN) as guarded:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{guarded.port}/")
        expect(page.get_by_label("API token", exact=True)).to_be_hidden()
        drop(page, ("first.txt", "data"))
        page.get_by_label("API token", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-error")).to_have_text("The server does not accept this token.")
        no_violations(page)
        page.get_by_label("API token", exact=True).fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.get_by_label("API token", exact=True)).to_be_hidden()
        expect(page.locator("#pick")).to_be_focused()
        expect(item(page, "first.txt")).to_be_visible()
        drop(page, ("second.txt", "data"))
        expect(item(page, "second.txt")).to_be_visible()
        assert page.evaluate("JSON.stringify(localStorage)").find(TOKEN) == -1
        page.reload()
        drop(page, ("third.txt", "data"))
        expect(item(page, "third.txt")).to_be_visible()
        page.close()


def test_files_are_shared_where_site_data_is_blocked(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    context.add_init_script(BLOCKED)
    with Server(tmp_path_factory.mktemp("guarded") / "data", SHARE_API_TOKEN=TOKEN) as guarded:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{guarded.port}/")
        drop(page, ("small.txt", "data"))
        page.get_by_label("API token", exact=True).fill(TOKEN)
        page.keyboard.press("Enter")
        expect(item(page, "small.txt")).to_be_visible()
        # In parts, and without a second question.
        drop(page, ("large.txt", "x" * (4 * 2**20 + 1)))
        expect(page.locator("#shared .name")).to_have_text(["large.txt", "small.txt"])
        page.on("dialog", lambda dialog: dialog.accept())
        item(page, "large.txt").get_by_role("button", name="Delete").click()
        expect(page.locator("#shared .name")).to_have_text(["small.txt"])
        page.close()


def test_each_tab_shows_what_another_shares_and_deletes(page: Page, context: BrowserContext) -> None:
    other = context.new_page()
    other.goto("/")
    drop(page, ("one.txt", "data"))
    expect(item(other, "one.txt")).to_be_visible()
    drop(other, ("two.txt", "data"))
    expect(page.locator("#shared .name")).to_have_text(["two.txt", "one.txt"])
    other.on("dialog", lambda dialog: dialog.accept())
    item(other, "one.txt").get_by_role("button", name="Delete").click()
    expect(page.locator("#shared .name")).to_have_text(["two.txt"])


def test_what_another_tab_has_shared_is_kept_before_it_is_heard_of(context: BrowserContext) -> None:
    context.add_init_script("addEventListener('storage', (event) => event.stopImmediatePropagation())")
    pages = [context.new_page() for _ in range(2)]
    for page in pages:
        page.goto("/")
    one, two = pages
    drop(one, ("one.txt", "data"))
    expect(item(one, "one.txt")).to_be_visible()
    until(lambda: "one.txt" in two.evaluate("localStorage.files ?? ''"))
    drop(two, ("two.txt", "data"))
    expect(item(two, "two.txt")).to_be_visible()
    until(lambda: "two.txt" in one.evaluate("localStorage.files"))
    one.on("dialog", lambda dialog: dialog.accept())
    item(one, "one.txt").get_by_role("button", name="Delete").click()
    expect(one.locator("#shared > li")).to_have_count(0)
    one.reload()
    expect(one.locator("#shared .name")).to_have_text(["two.txt"])
    # Its delete token was kept with it.
    item(one, "two.txt").get_by_role("button", name="Delete").click()
    expect(one.locator("#shared > li")).to_have_count(0)
    assert two.request.get(link(two, "two.txt")).status == 404


def test_what_does_not_fit_into_storage_is_shown_while_the_page_is_open(page: Page, context: BrowserContext) -> None:
    other = context.new_page()
    other.goto("/")
    page.evaluate("""() => {
        window.setItem = Storage.prototype.setItem;
        Storage.prototype.setItem = () => { throw new DOMException("It is full.", "QuotaExceededError"); };
    }""")
    drop(page, ("one.txt", "data"))
    expect(item(page, "one.txt")).to_be_visible()
    drop(page, ("two.txt", "data"))
    expect(item(page, "two.txt")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    item(page, "two.txt").get_by_role("button", name="Delete").click()
    expect(page.locator("#shared .name")).to_have_text(["one.txt"])
    drop(other, ("three.txt", "data"))
    expect(page.locator("#shared .name")).to_have_text(["three.txt", "one.txt"])
    page.evaluate("() => { Storage.prototype.setItem = window.setItem; }")
    drop(page, ("four.txt", "data"))
    expect(item(page, "four.txt")).to_be_visible()
    page.reload()
    expect(page.locator("#shared .name")).to_have_text(["four.txt", "one.txt", "three.txt"])


@pytest.mark.parametrize("tls", [True, False])
def test_a_link_is_copied(page: Page, context: BrowserContext, *, tls: bool) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    drop(page, ("copied.txt", "data"))
    if not tls:
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
    button = item(page, "copied.txt").locator(".copy")
    button.click()
    expect(button).to_have_text("Copied")
    expect(button).to_be_focused()
    assert page.evaluate("navigator.clipboard.readText()") == link(page, "copied.txt")


def test_a_link_that_cannot_be_copied_is_not_said_to_be(page: Page) -> None:
    drop(page, ("uncopied.txt", "data"))
    page.evaluate("""() => {
        navigator.clipboard.writeText = () => Promise.reject(new Error("denied"));
        document.execCommand = () => false;
    }""")
    shared = item(page, "uncopied.txt")
    shared.locator(".copy").click()
    expect(shared.get_by_role("alert")).to_have_text("Not copied. Select the link and copy it.")
    expect(shared.locator(".copy")).to_have_text("Copy link")
    expect(shared.locator("input")).to_be_focused()


def test_the_focus_stays_with_a_file_as_its_upload_ends(page: Page) -> None:
    held = hold(page, "**/file/upload?**")
    drop(page, ("focused.txt", "data"))
    page.locator("#uploads .cancel").focus()
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    held[0].fulfill(status=413, content_type="application/problem+json", body='{"detail": "No room."}')
    page.locator("#uploads").get_by_role("button", name="Retry").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#uploads .cancel")).to_be_focused()
    until(lambda: bool(page.evaluate("true")) and len(held) == 2)
    held[1].continue_()
    expect(item(page, "focused.txt").locator("input")).to_be_focused()
    page.on("dialog", lambda dialog: dialog.accept())
    item(page, "focused.txt").get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#pick")).to_be_focused()


def test_an_upload_that_ends_takes_no_focus_from_elsewhere(page: Page) -> None:
    page.locator("#downloads").focus()
    drop(page, ("unfocused.txt", "data"))
    expect(item(page, "unfocused.txt")).to_be_visible()
    expect(page.locator("#downloads")).to_be_focused()
