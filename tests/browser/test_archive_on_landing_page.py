"""The landing page of a zip archive: its list of files, and downloads of single files."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, FilePayload, Locator, Page, expect

from tests.archives import packed
from tests.browser.axe import no_violations
from tests.wire.server import Server

PHOTOS = {"read me.txt": b"hello", "photos/a.jpg": b"a" * 1000, "photos/north/b & c.jpg": b"b" * 2000, "empty/": b""}


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that shows nothing yet, because these tests do not use the upload page."""
    return context.new_page()


def share(page: Page, archive: bytes, name: str = "trip.zip", **options: Any) -> dict[str, Any]:
    params = {"filename": name, **options}
    answer: dict[str, Any] = page.request.put("/file/upload", params=params, data=archive).json()
    page.goto(answer["download_page"])
    return answer


def list_of(page: Page) -> Locator:
    page.get_by_text("Files in this archive").click()
    expect(page.locator("#entries > ul")).to_be_visible()
    return page.locator("#entries")


def test_folders_are_folded_and_one_file_is_downloaded(page: Page, server: Server) -> None:
    sent = share(page, packed(PHOTOS))
    entries = list_of(page)
    expect(entries.locator("> ul > li")).to_have_text(["photos/ · 2 files, 3 kB", "read me.txt · 5 bytes"])
    entries.get_by_text("photos/").click()
    entries.get_by_text("north/").click()
    no_violations(page)
    with page.expect_download() as started:
        entries.get_by_role("link", name="b & c.jpg").click()
    assert started.value.suggested_filename == "b & c.jpg"
    assert started.value.path().read_bytes() == b"b" * 2000
    assert server.metadata(sent["file_id"])["download_count"] == 1


def test_with_a_limit_it_says_what_a_file_costs_and_what_is_left(page: Page) -> None:
    share(page, packed(PHOTOS), max_downloads=2)
    entries = list_of(page)
    expect(entries).to_contain_text("Each file that you download from the archive counts as one download.")
    entries.get_by_text("photos/").click()
    for name, left in (("read me.txt", "1 download left"), ("a.jpg", "has now reached its download limit")):
        with page.expect_download():
            entries.get_by_role("link", name=name).click()
        expect(page.get_by_text(left)).to_be_visible()
    expect(entries).to_have_count(0)


def test_a_protected_archive_is_listed_once_the_password_is_entered(page: Page) -> None:
    secret = "s\u00e9same \U0001f511"
    file: FilePayload = {"name": "a.zip", "mimeType": "application/zip", "buffer": packed(PHOTOS)}
    form: dict[str, Any] = {"password": secret, "max_downloads": "2", "file": file}
    sent = page.request.post("/file/upload", multipart=form).json()
    page.goto(sent["download_page"])
    entries, password = page.locator("#entries"), page.get_by_label("Password")
    for wrong in ("", "sesame"):
        password.fill(wrong)
        page.get_by_text("Files in this archive").click()
        expect(password).to_be_focused()
        expect(entries.locator("ul")).to_have_count(0)
    expect(page.locator("#news")).to_have_text("Wrong password. Try again.")
    expect(entries).not_to_have_attribute("open", "")
    no_violations(page)
    password.fill(secret)
    list_of(page)
    expect(entries).to_contain_text("Each file that you download from the archive counts as one download.")
    expect(page.locator("#news")).to_be_empty()
    no_violations(page)
    assert page.request.get(f"/file/metadata/{sent['file_id']}").json()["download_count"] == 0
    entries.get_by_text("photos/").click()
    with page.expect_download() as started:
        entries.get_by_role("link", name="a.jpg").click()
    assert started.value.path().read_bytes() == PHOTOS["photos/a.jpg"]
    expect(page.get_by_text("1 download left")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download").click()
    assert started.value.path().read_bytes() == packed(PHOTOS)
    expect(page.get_by_text("has now reached its download limit")).to_be_visible()


def test_names_do_nothing_to_the_page(page: Page) -> None:
    names = ["<img src=x onerror=alert(1)>.txt", "\u202excod.exe", "/etc/passwd", "../up.txt", "a//b.txt", "__proto__"]
    share(page, packed(dict.fromkeys(names, b"x")))
    entries = list_of(page)
    expect(entries.locator("img")).to_have_count(0)
    expect(entries.get_by_role("link", name="\ufffdxcod.exe")).to_be_visible()
    with page.expect_download() as started:
        entries.get_by_role("link", name="__proto__").click()
    assert started.value.path().read_bytes() == b"x"
    entries.get_by_text("../", exact=True).click()
    with page.expect_download() as started:
        entries.get_by_role("link", name="up.txt").click()
    assert started.value.path().read_bytes() == b"x"


def test_what_is_no_archive_says_so(page: Page) -> None:
    share(page, b"no archive")
    page.get_by_text("Files in this archive").click()
    expect(page.locator("#entries")).to_contain_text("can't be listed")
    expect(page.get_by_role("link", name="Download")).to_be_visible()


def test_a_large_list_is_shown_in_pages(page: Page) -> None:
    share(page, packed((f"{number:05}.txt", b"") for number in range(70_000)))
    entries = list_of(page)
    expect(entries.locator("li")).to_have_count(101)
    entries.get_by_role("button", name="Show more").click()
    expect(entries.locator("li")).to_have_count(201)
    expect(entries.get_by_role("link", name="00100.txt")).to_be_focused()


def test_a_folder_in_a_folder_a_thousand_times_is_opened_one_by_one(page: Page) -> None:
    share(page, packed({"/".join(itertools.repeat("a", 1000)): b"x"}))
    entries = list_of(page)
    expect(entries.locator("summary")).to_have_count(2)
    entries.locator("summary").last.click()
    expect(entries.locator("summary")).to_have_count(3)


def test_without_javascript_the_archive_is_downloaded_whole(chromium: Browser, page: Page) -> None:
    sent = share(page, packed(PHOTOS))
    context = chromium.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(sent["download_page"])
    expect(plain.locator("#entries")).to_be_hidden()
    with plain.expect_download() as started:
        plain.get_by_role("link", name="Download").click()
    assert started.value.path().read_bytes() == packed(PHOTOS)
    context.close()
