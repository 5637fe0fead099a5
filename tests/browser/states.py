"""Every state of the pages, each set up on a new page, for pictures and for axe."""

from __future__ import annotations

import json
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from tests.browser.error_states import ERROR_STATES
from tests.browser.link_states import LINK_STATES
from tests.browser.private_states import PRIVATE_STATES
from tests.browser.upload_page import UPLOADS, drop, drop_together, hold, open_options, row, share_more
from tests.wire.server import until

# The configuration of the server for pictures.
SETTINGS = {
    "SHARE_TITLE": "files.example.org",
    "SHARE_PUBLIC_URL": "https://files.example.org",
    "SHARE_DEFAULT_EXPIRES_IN": "604800",
    "SHARE_MAX_FILE_SIZE": "10000000000",
}
REPORT = ("Annual report 2026.pdf", "x" * 4_100_000)
FILM = ("Site visit, north façade.mov", "x" * 3_200_000)
LONG = "a very long name that somebody gave to a file, " * 5 + "last.docx"
RIGHT_TO_LEFT = "דו״ח שנתי 2026.pdf"

# Stop uploads of these files at this share, as on a connection that stalls.
SHARES = {"mov": 0.31, "dwg": 0.7, "zip": 0.12}
SLOW_LINE = """(shares) => {
    const { send } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.send = function (body) {
        const share = shares[/filename=[^&]*[.](\\w+)&/.exec(this.address)?.[1]];
        if (share === undefined) return send.call(this, body);
        const advance = (part) => this.upload.onprogress({ loaded: (body.size ?? body.byteLength) * share * part });
        advance(0.5);
        setTimeout(() => advance(1), 500);
    };
    const { open } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.open = function (method, address) {
        this.address = address;
        return open.call(this, method, address);
    };
}"""


def start(page: Page) -> None:
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


def _chip(page: Page, name: str) -> None:
    page.locator(f"#settings .chip[data-of={name}]").click()
    expect(page.locator(f"#settings form[data-of={name}]")).to_be_visible()


def setting_expiry(page: Page) -> None:
    _chip(page, "expiry")


def setting_limit(page: Page) -> None:
    _chip(page, "limit")


def setting_password(page: Page) -> None:
    _chip(page, "password")
    page.locator("#settings [name=password]").fill("cobalt-lantern-62")
    page.locator("#settings .show").click()


def sign_in(page: Page) -> None:
    page.evaluate("() => { document.getElementById('token-form').hidden = false; }")


def uploading(page: Page) -> None:
    page.evaluate(SLOW_LINE, SHARES)
    drop(page, REPORT, FILM, ("Floor plans.dwg", "x" * 2_000_000))
    drop(page, ("Photos.zip", "x" * 4_000_000), ("Notes.txt", "x" * 9000))
    expect(row(page, REPORT[0])).to_have_attribute("data-state", "done")
    expect(row(page, "Floor plans").locator(".share")).to_have_text("70%")
    expect(row(page, "Photos").locator(".share")).to_have_text("12%")
    expect(page.locator("#work-detail")).to_contain_text("left")


def packing(page: Page) -> None:
    drop_together(page, REPORT, FILM, (LONG, "data"), (RIGHT_TO_LEFT, "data"))
    expect(page.get_by_label("One link for all")).to_be_checked()


def uploading_as_one(page: Page) -> None:
    page.evaluate(SLOW_LINE, SHARES)
    drop_together(page, ("Report.pdf", "x" * 2_100_000), ("Notes.txt", "x" * 9000), ("Plans.dwg", "x" * 40_000))
    page.get_by_label("Title").fill("Site visit")
    page.locator("#pack-upload").click()
    expect(row(page, "Site visit.zip").locator(".share")).to_have_text("12%")


def ready_as_one(page: Page) -> None:
    drop_together(page, REPORT, FILM, ("Notes.txt", "x" * 9000))
    page.get_by_label("Title").fill("Site visit")
    page.locator("#pack-upload").click()
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_visible()


def reconnecting(page: Page) -> None:
    page.route("**/health", lambda route: route.abort())
    page.evaluate(SLOW_LINE, SHARES)
    drop(page, FILM, ("Notes.txt", "x" * 9000))
    expect(row(page, "Site visit").locator(".share")).to_have_text("31%")
    page.evaluate("dispatchEvent(new Event('offline'))")
    expect(page.get_by_role("heading", name="Reconnecting…")).to_be_visible()


def _refuse(route: Route) -> None:
    if "Notes" in route.request.url or "Plans" in route.request.url:
        problem = {"title": "Storage full", "status": 507, "detail": "Not enough space for this file."}
        route.fulfill(status=507, content_type="application/problem+json", body=json.dumps(problem))
    else:
        route.continue_()


def failed(page: Page) -> None:
    page.route(UPLOADS, _refuse)
    drop(page, REPORT, ("Notes.txt", "x" * 9000), ("Plans.txt", "x" * 7000))
    expect(page.get_by_role("heading", name="2 files could not be uploaded")).to_be_visible()


def ready(page: Page) -> None:
    drop(page, REPORT)
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_visible()


def ready_code(page: Page) -> None:
    ready(page)
    page.get_by_role("button", name="QR code").click()
    code = page.locator("#ready [popover] img")
    until(lambda: bool(code.evaluate("(image) => image.naturalWidth > 0")))


def ready_with_settings(page: Page) -> None:
    ready(page)
    _chip(page, "expiry")


def only_here(page: Page) -> None:
    def answer_locally(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("https://files.example.org", "http://127.0.0.1:8080"))

    page.route(UPLOADS, answer_locally)
    ready(page)


def ten_ready(page: Page) -> None:
    drop(page, *((f"Photo {number}.jpg", "x" * 1000 * number) for number in range(1, 11)))
    expect(page.get_by_role("heading", name="10 links are ready")).to_be_visible()


def _many(page: Page, count: int) -> None:
    hold(page, UPLOADS)
    drop(page, *((f"Photo {number:04}.jpg", "x" * number) for number in range(count)))
    expect(page.locator("#rows > li")).to_have_count(count)


def fifty(page: Page) -> None:
    _many(page, 50)


def thousand(page: Page) -> None:
    _many(page, 1000)


def odd_names(page: Page) -> None:
    drop(page, (LONG, "data"), (RIGHT_TO_LEFT, "data"), ("\u202eexe.tac", "data"), ("README", "data"))
    expect(page.get_by_role("heading", name="4 links are ready")).to_be_visible()


def your_files(page: Page) -> None:
    drop(page, (LONG, "data"), (RIGHT_TO_LEFT, "data"), REPORT, FILM)
    share_more(page)
    expect(page.get_by_role("heading", name="Your files")).to_be_visible()


def options(page: Page) -> None:
    drop(page, REPORT, FILM)
    share_more(page)
    open_options(page, REPORT[0])


def long_options(page: Page) -> None:
    drop(page, (LONG, "data"))
    share_more(page)
    open_options(page, "very long")


def interrupted(page: Page) -> None:
    entry = {"begun": {"key": "k", "uploadId": "u", "partSize": 8388608, "share": 0.41}, "options": {}}
    page.evaluate(
        """(entry) => {
            localStorage['upload:["holiday.mov",1300000000,1]'] = JSON.stringify({ ...entry, since: Date.now() });
            const files = [["Notes.txt", 9000, 1], ["Plans.txt", 7000, 1]];
            localStorage["unsent:1"] = JSON.stringify({ files, since: Date.now() });
        }""",
        entry,
    )
    page.reload()
    expect(page.get_by_text("Interrupted: choose")).to_have_count(2)


STATES: dict[str, Callable[[Page], None]] = {
    state.__name__.replace("_", "-"): state
    for state in (
        start,
        setting_expiry,
        setting_limit,
        setting_password,
        sign_in,
        packing,
        uploading,
        uploading_as_one,
        reconnecting,
        failed,
        ready,
        ready_as_one,
        ready_code,
        ready_with_settings,
        only_here,
        ten_ready,
        fifty,
        thousand,
        odd_names,
        your_files,
        options,
        long_options,
        interrupted,
        *LINK_STATES,
        *PRIVATE_STATES,
        *ERROR_STATES,
    )
}


def show(page: Page, state: str) -> None:
    """Bring a new page into this state."""
    # The states of links begin with other pages.
    if STATES[state] not in LINK_STATES:
        page.goto("/")
    STATES[state](page)
