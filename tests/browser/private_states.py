"""States of private files: on the upload page, and on their own page."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from share.answers import ArchiveEntry
from share.private.chunks import offset_of

from tests.browser.private_files import PICKER, go_private, press, put
from tests.browser.upload_page import drop, hold, open_options

NAME = "Photos from the site visit, north façade.zip"
TEXT = b"x" * 812_000
ENTRIES = [ArchiveEntry(f"Photos/North façade {number}.jpg", 203_000, None) for number in range(4)]


def private_chip(page: Page) -> None:
    page.locator("#settings .chip[data-of=private]").click()
    page.get_by_label("Private", exact=True).check()


def private_ready(page: Page) -> None:
    go_private(page)
    drop(page, ("Annual report 2026.pdf", "x" * 41_000))
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_visible()


def private_forgotten(page: Page) -> None:
    private_ready(page)
    page.reload()
    open_options(page, "Annual report 2026.pdf")
    expect(page.get_by_text("This browser has not kept the key of this link.")).to_be_visible()


def _open(page: Page, link: str) -> None:
    page.goto(link)
    page.evaluate(f"() => {{ {PICKER} }}")
    expect(page.get_by_role("heading", name=NAME)).to_be_visible()


def private_landing(page: Page) -> None:
    _open(page, put(page.url, TEXT, NAME, entries=ENTRIES, max_downloads="1"))


def private_landing_entries(page: Page) -> None:
    private_landing(page)
    page.get_by_text("Files in this archive").click()
    expect(page.get_by_text("North façade 3.jpg")).to_be_visible()


def private_landing_password(page: Page) -> None:
    _open(page, put(page.url, TEXT, NAME, password="swordfish"))
    page.get_by_label("Password").fill("wrong")
    press(page)
    expect(page.get_by_text("Wrong password")).to_be_visible()


def private_landing_without_key(page: Page) -> None:
    page.goto(put(page.url, TEXT, NAME).partition("#")[0])
    expect(page.get_by_text("This link has no key")).to_be_visible()


def private_landing_wrong_key(page: Page) -> None:
    private_landing_without_key(page)
    page.get_by_label("Private link or key").fill("#k=AAAAAAAAAAAAAAAAAAAAAA")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This key is wrong")).to_be_visible()


def private_landing_downloading(page: Page) -> None:
    _open(page, put(page.url, TEXT, NAME))
    hold(page, "**/file/download/**")
    press(page)
    expect(page.get_by_text("of 812 kB")).to_be_visible()


def private_landing_broken(page: Page) -> None:
    place = offset_of(20)
    _open(page, put(page.url, TEXT, NAME, change=lambda data: data[:place] + b"!" + data[place + 1 :]))
    press(page)
    expect(page.get_by_text("This file was damaged or replaced")).to_be_visible()


def private_landing_saved(page: Page) -> None:
    private_landing(page)
    press(page)
    expect(page.get_by_text("has now reached its download limit")).to_be_visible()


PRIVATE_STATES = (
    private_chip,
    private_ready,
    private_forgotten,
    private_landing,
    private_landing_entries,
    private_landing_password,
    private_landing_without_key,
    private_landing_wrong_key,
    private_landing_downloading,
    private_landing_broken,
    private_landing_saved,
)
