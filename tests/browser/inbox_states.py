"""States of the page of an inbox, as its senders see it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.upload_page import drop, drop_together, row, without_scripts

TITLE = "Site visit, north façade"
NOTE = "Please send photos and plans.\nLarge files are welcome."
PHOTO = ("North façade, morning.jpg", "x" * 812_000)
PLAN = ("Floor plans.dwg", "x" * 2_000_000)


def new_inbox(page: Page, **options: Any) -> Any:
    answer = page.request.post("/inbox", data={"title": TITLE, "note": NOTE, **options})
    assert answer.status == 201
    return answer.json()


def open_inbox(page: Page, **options: Any) -> Any:
    inbox = new_inbox(page, **options)
    page.goto(f"/inbox/{inbox['inbox_id']}")
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible()
    return inbox


def inbox(page: Page) -> None:
    open_inbox(page, max_files=2, max_bytes=50_000_000, max_file_size=20_000_000)


def inbox_packing(page: Page) -> None:
    open_inbox(page)
    page.get_by_label("Your name").fill("Ada Lovelace")
    drop_together(page, PHOTO, PLAN)
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def inbox_sent(page: Page) -> None:
    open_inbox(page)
    drop(page, PHOTO)
    expect(page.get_by_role("heading", name="Your file has arrived")).to_be_visible()


def inbox_sent_several(page: Page) -> None:
    open_inbox(page)
    drop(page, PHOTO, PLAN)
    expect(page.get_by_role("heading", name="2 files have arrived")).to_be_visible()


def inbox_refused(page: Page) -> None:
    open_inbox(page, max_files=1)
    drop(page, PHOTO, PLAN)
    expect(page.get_by_role("heading", name="1 file could not be sent")).to_be_visible()
    expect(row(page, "has no place")).to_be_visible()


def inbox_full(page: Page) -> None:
    open_inbox(page, max_files=1)
    drop(page, PHOTO)
    expect(page.get_by_role("heading", name="Your file has arrived")).to_be_visible()
    page.reload()
    expect(page.get_by_text("This inbox is full")).to_be_visible()
    expect(page.locator("#file-rows > li")).to_have_count(1)


def inbox_closed(page: Page) -> None:
    inbox = open_inbox(page)
    drop(page, PHOTO)
    expect(page.get_by_role("heading", name="Your file has arrived")).to_be_visible()
    owner = {"X-Owner-Token": inbox["owner_token"]}
    assert page.request.delete(f"/inbox/{inbox['inbox_id']}", headers=owner).status == 204
    page.reload()
    expect(page.get_by_role("heading", name="This inbox is closed")).to_be_visible()
    expect(page.locator("#file-rows > li")).to_have_count(1)


def inbox_unknown(page: Page) -> None:
    page.goto("/inbox/00000000-0000-4000-8000-000000000000")
    expect(page.get_by_role("heading", name="This inbox isn't here")).to_be_visible()


def inbox_plain(page: Page) -> None:
    without_scripts(page, f"/inbox/{new_inbox(page)['inbox_id']}")


def inbox_received(page: Page) -> None:
    inbox_plain(page)
    plan = {"name": "Site plan.pdf", "mimeType": "application/pdf", "buffer": b"x" * 41_000}
    page.locator("#plain-file").set_input_files(plan)  # type: ignore[arg-type]
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Site plan.pdf")).to_be_visible()


def inbox_private(page: Page) -> None:
    answer = page.request.put(f"/inbox/{new_inbox(page)['inbox_id']}/Site%20plan.pdf", data="x")
    assert answer.status == 201
    page.goto(f"/download/{answer.json()['file_id']}")
    expect(page.locator("#password")).to_be_visible()


INBOX_STATES = (
    inbox,
    inbox_packing,
    inbox_sent,
    inbox_sent_several,
    inbox_refused,
    inbox_full,
    inbox_closed,
    inbox_unknown,
    inbox_plain,
    inbox_received,
    inbox_private,
)
