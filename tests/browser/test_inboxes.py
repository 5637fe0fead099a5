"""Inboxes in a real browser: files on the whole way from sender to owner, and what each of the two can see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Download, Page, Route, expect

from tests.browser.conftest import WITHIN
from tests.browser.upload_page import choose, drop, file, note_questions, questions, require_pauses, wait_for_answers
from tests.wire.server import Server, until

TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server on which senders have no token."""
    with Server(tmp_path_factory.mktemp("guarded") / "data", SHARE_API_TOKEN=TOKEN) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def owner(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def sender(chromium: Browser) -> Any:
    """A page in another browser than the owner's."""
    context = chromium.new_context()
    context.set_default_timeout(WITHIN)
    yield context.new_page()
    context.close()


def make(owner: Page, guarded: str, title: str, **numbers: int) -> str:
    """Create an inbox as its owner does. Returns the link for senders."""
    owner.goto(f"{guarded}/inbox")
    if owner.get_by_label("Access token").is_visible():
        owner.get_by_label("Access token").fill(TOKEN)
        owner.keyboard.press("Enter")
    owner.get_by_label("Title").fill(title)
    if "files" in numbers:
        owner.get_by_label("Number of files").fill(str(numbers["files"]))
    owner.get_by_role("button", name="Create inbox").click()
    expect(owner.get_by_role("heading", name=title)).to_be_visible()
    return owner.get_by_label(f"Link to {title}").input_value()


def came(owner: Page, name: str) -> Any:
    return owner.locator("#rows > li", has_text=name)


def accept(page: Page) -> None:
    """Answer the next question of the page with yes."""
    page.once("dialog", lambda dialog: dialog.accept())


def test_files_go_from_a_sender_to_the_owner(owner: Page, sender: Page, guarded: str) -> None:
    link = make(owner, guarded, "Photos of the trip", files=3)
    expect(owner.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()

    # Even the address that the owner's browser shows makes nobody an owner.
    sender.goto(owner.url)
    expect(sender.get_by_role("button", name="Choose files")).to_be_visible()
    assert sender.url == link
    expect(sender.locator("#room")).to_have_text("There is room for 3 more files, 10 GB in all.")
    sender.get_by_label("Your name").fill("Ada")
    drop(sender, ("beach.txt", "sand"), ("hotel.txt", "roof"))
    expect(sender.get_by_role("heading", name="2 files have arrived")).to_be_visible()
    # The receipts still exist after the page was closed, but nothing else about the files.
    sender.reload()
    expect(file(sender, "beach.txt")).to_be_visible()
    expect(sender.locator("#room")).to_have_text("There is room for 1 more file, up to 10 GB.")
    accept(sender)
    file(sender, "hotel.txt").get_by_role("button", name="Delete").click()
    expect(file(sender, "hotel.txt")).to_have_count(0)

    # The owner's page updates without a click.
    expect(owner.get_by_role("heading", name="1 file has arrived")).to_be_visible()
    expect(came(owner, "beach.txt")).to_contain_text("from \u2068Ada\u2069")
    with owner.expect_download() as download:
        came(owner, "beach.txt").get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_text() == "sand"

    came(owner, "beach.txt").get_by_role("button", name="Options").click()
    owner.get_by_role("button", name="Share with a link").click()
    shared = owner.get_by_label("Link to beach.txt").input_value()
    sender.goto(shared)
    expect(sender.get_by_role("link", name="Download")).to_be_visible()
    owner.get_by_role("dialog").get_by_role("button", name="Close").click()

    accept(owner)
    owner.get_by_role("button", name="Close this inbox").click()
    expect(owner.locator("#state")).to_have_text("This inbox is closed.")
    expect(came(owner, "beach.txt")).to_be_visible()
    sender.goto(link)
    expect(sender.get_by_role("heading", name="This inbox is closed")).to_be_visible()
    expect(sender.get_by_role("button", name="Choose files")).to_be_hidden()
    expect(sender.get_by_role("link", name="Share files")).to_have_attribute("href", "/")
    # The sender of a file can still delete it.
    accept(sender)
    file(sender, "beach.txt").get_by_role("button", name="Delete").click()
    expect(file(sender, "beach.txt")).to_have_count(0)
    owner.reload()
    expect(owner.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()


def test_an_upload_into_an_inbox_goes_on_after_a_reload(
    owner: Page, sender: Page, guarded: str, tmp_path: Path
) -> None:
    link = make(owner, guarded, "Films")
    large = tmp_path / "film.mov"
    large.write_bytes(b"".join(number.to_bytes(8, "big") * 1024 for number in range(1200)))
    sender.goto(link)
    sender.get_by_label("Your name").fill("Ada")
    # Its second part never reaches the server.
    second = "**/file/s3/multipart/*/2?**"
    aborted: list[Route] = []

    def abort(route: Route) -> None:
        aborted.append(route)
        route.abort()

    sender.route(second, abort)
    choose(sender, large)
    until(lambda: bool(sender.evaluate("true")) and len(aborted) > 0)
    sender.goto(f"{guarded}/")
    sender.unroute(second)
    # It resumes only to where it began.
    expect(sender.locator("#interrupted")).to_be_hidden()
    sender.goto(link)
    expect(sender.get_by_text("Interrupted: choose \u2068film.mov\u2069 again to continue")).to_be_visible()
    parts: list[str] = []
    sender.on("request", lambda request: parts.append(request.url) if request.method == "PUT" else None)
    sender.locator("#interrupted-rows input").set_input_files(str(large))
    expect(sender.get_by_role("heading", name="Your file has arrived")).to_be_visible()
    assert ["/2?" in part for part in parts] == [True]
    expect(owner.get_by_role("heading", name="1 file has arrived")).to_be_visible()
    expect(came(owner, "film.mov")).to_contain_text("from \u2068Ada\u2069")
    with owner.expect_download() as download:
        came(owner, "film.mov").get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == large.read_bytes()


def test_an_owner_limits_the_size_and_the_lifetime_of_each_file(owner: Page, sender: Page, guarded: str) -> None:
    link = make(owner, guarded, "Scans")
    owner.get_by_text("Change this inbox").click()
    each, keep = owner.get_by_label("Largest file"), owner.get_by_label("Delete files after")
    expect(each).to_have_value("")
    expect(keep).to_have_value("")
    each.fill("1.5")
    keep.select_option("1 day")
    owner.get_by_role("button", name="Save").click()
    expect(owner.locator("#news")).to_have_text("Changes saved.")
    owner.reload()
    owner.get_by_text("Change this inbox").click()
    expect(each).to_have_value("1.5")
    expect(keep).to_have_value("86400")
    sender.goto(link)
    expect(sender.locator("#room")).to_contain_text("Each can have up to 1.5 GB.")
    # Nothing restores the defaults.
    each.fill("")
    keep.select_option("never")
    with owner.expect_response("**/inbox/*") as changed:
        owner.get_by_role("button", name="Save").click()
    assert changed.value.request.post_data_json == {"max_file_size": None, "file_expires_in": None}
    assert changed.value.json()["file_expires_in"] is None


def test_an_access_token_opens_every_inbox(owner: Page, guarded: str) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    inbox = owner.request.post(f"{guarded}/inbox", data={"title": "Plans"}, headers=bearer).json()["inbox_id"]
    for name in ("north.txt", "south.txt"):
        assert owner.request.put(f"{guarded}/inbox/{inbox}/{name}?sender=Ada", data=name).status == 201
    owner.goto(f"{guarded}/file")
    owner.get_by_label("Access token").fill(TOKEN)
    owner.keyboard.press("Enter")
    expect(came(owner, "north.txt")).to_contain_text("from \u2068Ada\u2069")
    came(owner, "north.txt").get_by_role("link", name="Open its inbox").click()
    expect(owner.get_by_role("heading", name="Plans")).to_be_visible()
    downloads: list[Download] = []
    owner.on("download", lambda download: downloads.append(download))
    owner.get_by_role("button", name="Download all").click()
    until(lambda: bool(owner.evaluate("true")) and len(downloads) == 2)
    assert sorted(Path(download.path()).read_text() for download in downloads) == ["north.txt", "south.txt"]
    expect(owner.get_by_role("button", name="Download all")).to_be_enabled()
    expect(owner.locator("#not-downloaded")).to_be_empty()


def test_an_owners_page_asks_now_and_then_but_not_while_hidden(owner: Page, guarded: str) -> None:
    note_questions(owner, "/inbox/")
    make(owner, guarded, "Quiet")
    owner.clock.install()
    owner.reload()
    expect(owner.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()

    def has_asked() -> bool:
        owner.clock.run_for(5000)
        return len(questions(owner)) > 3

    until(has_asked)
    require_pauses(owner)
    hide = "(hidden) => Object.defineProperty(document, 'hidden', { get: () => hidden, configurable: true })"
    owner.evaluate(hide, True)
    wait_for_answers(owner)
    before = len(questions(owner))
    owner.clock.run_for(600_000)
    assert len(questions(owner)) == before
    owner.evaluate(hide, False)
    owner.evaluate("() => { document.dispatchEvent(new Event('visibilitychange')); }")
    assert len(questions(owner)) == before + 1
