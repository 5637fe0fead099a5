"""Links on the page: after an upload, and the list of files that this browser has shared."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Dialog, FilePayload, Page, expect

from tests.browser.axe import no_violations
from tests.browser.upload_page import (
    UPLOADS,
    delete,
    drop,
    file,
    hold,
    link,
    note_questions,
    open_options,
    questions,
    require_pauses,
    row,
    share_more,
    stop_timers,
)
from tests.wire.server import Server, until


def share(page: Page, *names: str) -> None:
    drop(page, *((name, "data") for name in names))
    share_more(page)


def test_the_link_is_the_end_of_an_upload(page: Page) -> None:
    drop(page, ("ready.txt", "data"))
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_focused()
    expect(page.get_by_label("Link to ready.txt")).to_have_value(link(page, "ready.txt"))
    expect(page).to_have_title("Done · Share files")
    expect(page.get_by_text("Only this computer can open this link.")).to_be_visible()
    code = page.get_by_role("img", name="QR code of the link to ready.txt")
    expect(code).to_have_count(0)
    page.get_by_role("button", name="QR code").click()
    expect(code).to_be_visible()
    until(lambda: bool(code.evaluate("(image) => image.naturalWidth > 0")))
    no_violations(page)
    page.keyboard.press("Escape")
    expect(code).to_have_count(0)
    share_more(page)
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    expect(page).to_have_title("Share files")


def test_a_link_is_handed_to_the_share_sheet(page: Page, context: BrowserContext) -> None:
    context.add_init_script("navigator.share = async (data) => { window.handed = data; }")
    page.goto("/")
    drop(page, ("shared.txt", "data"))
    page.get_by_role("button", name="Share…").click()
    assert page.evaluate("handed") == {"title": "shared.txt", "url": link(page, "shared.txt")}


def test_a_server_that_others_can_reach_says_nothing_of_this_computer(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    public = {"SHARE_PUBLIC_URL": "https://files.example.org"}
    with Server(tmp_path_factory.mktemp("public") / "data", **public) as server:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        drop(page, ("ready.txt", "data"))
        expect(page.get_by_label("Link to ready.txt")).to_have_value(link(page, "ready.txt"))
        expect(page.get_by_text("Only this computer can open this link.")).to_be_hidden()
        page.close()


@pytest.mark.parametrize("tls", [True, False])
def test_a_link_is_copied(page: Page, context: BrowserContext, *, tls: bool) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    drop(page, ("copied.txt", "data"))
    if not tls:
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
    button = page.locator("#ready .copy")
    expect(button).to_be_visible()
    stop_timers(page)
    button.click()
    expect(button).to_have_text("Copied")
    expect(button).to_be_focused()
    assert page.evaluate("navigator.clipboard.readText()") == link(page, "copied.txt")


def test_all_links_are_copied(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    drop(page, ("one.txt", "data"), ("two.txt", "data"))
    page.get_by_role("button", name="Copy all").click()
    links = f"{link(page, 'one.txt')}\n{link(page, 'two.txt')}"
    assert page.evaluate("navigator.clipboard.readText()") == links
    row(page, "two.txt").get_by_role("button", name="Copy link: two.txt").click()
    assert page.evaluate("navigator.clipboard.readText()") == link(page, "two.txt")


def test_a_link_that_cannot_be_copied_is_not_said_to_be(page: Page) -> None:
    drop(page, ("uncopied.txt", "data"))
    page.evaluate("""() => {
        navigator.clipboard.writeText = () => Promise.reject(new Error("denied"));
        document.execCommand = () => false;
    }""")
    page.locator("#ready .copy").click()
    words = "Could not copy. Select the link and copy it."
    expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()
    expect(page.locator("#ready .copy")).to_have_text("Copy link")
    expect(page.locator("#ready .field input")).to_be_focused()


def test_files_are_remembered_until_they_are_deleted(page: Page) -> None:
    drop(page, ("kept.txt", "data"))
    address = link(page, "kept.txt")
    page.reload()
    open_options(page, "kept.txt")
    expect(page.get_by_label("Link to kept.txt")).to_have_value(address)
    page.keyboard.press("Escape")
    delete(page, "kept.txt")
    expect(page.locator("#file-rows > li")).to_have_count(0)
    expect(page.get_by_role("heading", name="Your files")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    assert page.request.get(address).status == 404


def test_what_is_gone_says_so_and_leaves_the_list(page: Page) -> None:
    drop(page, ("gone.txt", "data"))
    file_id = link(page, "gone.txt").rpartition("/")[2]
    token = page.evaluate("JSON.parse(localStorage.files)[0].delete_token")
    assert page.request.delete(f"/file/{file_id}", headers={"X-Delete-Token": token}).ok
    page.reload()
    expect(file(page, "gone.txt").locator(".state")).to_have_text("4 bytes · deleted")
    no_violations(page)
    file(page, "gone.txt").get_by_role("button", name="Remove from list: gone.txt").click()
    expect(page.locator("#file-rows > li")).to_have_count(0)


def test_both_pages_tell_the_same_size(page: Page) -> None:
    sizes = {999: "999 bytes", 1000: "1 kB", 99_940: "99.9 kB", 481_500: "482 kB", 999_600: "1 MB"}
    drop(page, *((f"{count}.txt", "x" * count) for count in sizes))
    for count, size in sizes.items():
        expect(row(page, f"{count}.txt").locator(".detail")).to_have_text(f"{size} · uploaded")
        assert size in page.request.get(link(page, f"{count}.txt")).text()


def test_many_files_are_filtered_and_shown_in_pages(page: Page) -> None:
    share(page, *(f"{number:02}.txt" for number in range(14)))
    expect(page.locator("#file-rows > li")).to_have_count(10)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#file-rows > li")).to_have_count(14)
    page.get_by_label("Filter by name").fill("13.")
    expect(page.locator("#file-rows bdi")).to_have_text(["13.txt"])
    page.get_by_label("Filter by name").fill("none")
    expect(page.get_by_text("No matching files.")).to_be_visible()
    no_violations(page)


def test_an_idle_page_asks_once_in_five_seconds_and_then_less(page: Page, server: Server) -> None:
    answers = [server.upload([b"data"], 4) for _ in range(50)]
    files = [{**answer, "original_name": f"{number}.bin"} for number, answer in enumerate(answers)]
    page.evaluate("(files) => { localStorage.files = JSON.stringify(files); }", files)
    note_questions(page)
    page.clock.install()
    page.reload()
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#file-rows > li")).to_have_count(50)
    for _ in range(120):
        page.clock.run_for(5000)
    require_pauses(page)
    # Files outside the window are not requested.
    assert 0 < len({address for _, address in questions(page)}) < 30


def test_all_can_be_done_from_the_keyboard(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        # Skip the links to the page itself, to inboxes and to all files.
        for _ in range(4):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    chooser.value.set_files(FilePayload(name="typed.txt", mimeType="text/plain", buffer=b"data"))
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("img", name="QR code of the link to typed.txt")).to_be_visible()


def test_a_name_written_from_right_to_left_stays_by_itself(page: Page) -> None:
    name = "מסמך.pdf"
    held = hold(page, UPLOADS)
    drop(page, (f"\u202e{name}", "data"))
    expect(page.locator("#rows bdi")).to_have_text(f"\u202e{name}")
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    held[0].continue_()
    share_more(page)
    expect(page.locator("#file-rows bdi")).to_have_text(name)
    assert page.locator("#file-rows bdi").evaluate("(name) => getComputedStyle(name).unicodeBidi") == "isolate"
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    open_options(page, name)
    page.get_by_role("button", name="Delete").click()
    assert asked == [f"Delete \u2068{name}\u2069? Its link will stop working."]


def test_each_tab_shows_what_another_shares_and_deletes(page: Page, context: BrowserContext) -> None:
    other = context.new_page()
    other.goto("/")
    share(page, "one.txt")
    expect(file(other, "one.txt")).to_be_visible()
    share(other, "two.txt")
    expect(page.locator("#file-rows bdi")).to_have_text(["two.txt", "one.txt"])
    delete(other, "one.txt")
    expect(page.locator("#file-rows bdi")).to_have_text(["two.txt"])


def test_files_shared_in_another_tab_are_kept_before_this_tab_learns_of_them(context: BrowserContext) -> None:
    context.add_init_script("addEventListener('storage', (event) => event.stopImmediatePropagation())")
    one, two = (context.new_page() for _ in range(2))
    for page in (one, two):
        page.goto("/")
    share(one, "one.txt")
    until(lambda: "one.txt" in two.evaluate("localStorage.files ?? ''"))
    share(two, "two.txt")
    until(lambda: "two.txt" in one.evaluate("localStorage.files"))
    delete(one, "one.txt")
    one.reload()
    expect(one.locator("#file-rows bdi")).to_have_text(["two.txt"])
    # Its delete token was saved with it.
    delete(one, "two.txt")
    expect(one.locator("#file-rows > li")).to_have_count(0)


def test_what_does_not_fit_into_storage_is_shown_while_the_page_is_open(page: Page, context: BrowserContext) -> None:
    other = context.new_page()
    other.goto("/")
    page.evaluate("""() => {
        window.setItem = Storage.prototype.setItem;
        Storage.prototype.setItem = () => { throw new DOMException("It is full.", "QuotaExceededError"); };
    }""")
    share(page, "one.txt")
    share(page, "two.txt")
    delete(page, "two.txt")
    expect(page.locator("#file-rows bdi")).to_have_text(["one.txt"])
    share(other, "three.txt")
    expect(page.locator("#file-rows bdi")).to_have_text(["one.txt", "three.txt"])
    page.evaluate("() => { Storage.prototype.setItem = window.setItem; }")
    share(page, "four.txt")
    page.reload()
    expect(page.locator("#file-rows bdi")).to_have_text(["four.txt", "one.txt", "three.txt"])
