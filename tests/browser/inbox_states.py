"""States of the page of an inbox, for its senders, and of the page for owners of inboxes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

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
    expect(page.get_by_text("2 files have arrived")).to_have_count(1)


def inbox_refused(page: Page) -> None:
    open_inbox(page, max_files=1)
    drop(page, PHOTO, PLAN)
    expect(page.get_by_role("heading", name="1 file could not be sent")).to_be_visible()
    expect(row(page, "has no room")).to_be_visible()


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


def own_inbox(page: Page, *files: tuple[str, str, str], **options: Any) -> Any:
    """Open the owner's page of an inbox with these files: name, text and sender."""
    inbox = new_inbox(page, **options)
    for name, text, sender in files:
        query = f"?sender={quote(sender)}" if sender else ""
        assert page.request.put(f"/inbox/{inbox['inbox_id']}/{quote(name)}{query}", data=text).status == 201
    page.goto(f"/inbox/{inbox['inbox_id']}#owner={inbox['owner_token']}")
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible()
    return inbox


THREE = ((*PHOTO, "Ada Lovelace"), (*PLAN, ""), ("a long name, " * 18 + ".docx", "text", "דנה " * 20))


def inboxes_new(page: Page) -> None:
    page.goto("/inbox")
    expect(page.get_by_role("button", name="Create inbox")).to_be_visible()


def inboxes_sign_in(page: Page) -> None:
    inboxes_new(page)
    page.evaluate("() => { document.getElementById('token-form').hidden = false; }")


def inboxes_mine(page: Page) -> None:
    own_inbox(page)
    page.get_by_role("link", name="Your inboxes").click()
    expect(page.get_by_role("link", name=TITLE)).to_be_visible()


def owner_waiting(page: Page) -> None:
    own_inbox(page)
    expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()


def owner_arrived(page: Page) -> None:
    own_inbox(page, *THREE)
    expect(page.get_by_role("heading", name="3 files have arrived")).to_be_visible()


def owner_private(page: Page) -> None:
    own_inbox(page, (*PHOTO, "Ada Lovelace"))
    page.get_by_role("button", name="Options").click()
    expect(page.get_by_role("button", name="Share with a link")).to_be_visible()


def owner_shared(page: Page) -> None:
    owner_private(page)
    page.get_by_role("button", name="Share with a link").click()
    expect(page.get_by_role("button", name="Stop sharing")).to_be_visible()


def owner_changing(page: Page) -> None:
    own_inbox(page)
    page.get_by_text("Change this inbox").click()
    page.get_by_text("Owner link").first.click()
    expect(page.get_by_label("Size of all files")).to_have_value("10.74")


def owner_closed(page: Page) -> None:
    own_inbox(page, *THREE)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Close this inbox").click()
    expect(page.locator("#state")).to_have_text("This inbox is closed.")


def owner_unknown(page: Page) -> None:
    page.goto(f"/inbox#{new_inbox(page)['inbox_id']}&owner=wrong")
    expect(page.get_by_role("heading", name="Can't show this inbox")).to_be_visible()


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
    inboxes_new,
    inboxes_sign_in,
    inboxes_mine,
    owner_waiting,
    owner_arrived,
    owner_private,
    owner_shared,
    owner_changing,
    owner_closed,
    owner_unknown,
)
