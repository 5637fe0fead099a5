"""States of the landing page, of errors, of the list of all files, and of the pages without JavaScript."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.archives import packed
from tests.browser.inbox_states import INBOX_STATES
from tests.browser.upload_page import without_scripts
from tests.wire.server import until

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _put(page: Page, query: str = "", **headers: str) -> Any:
    answer = page.request.put(f"/file/upload?filename=Site%20visit.pdf{query}", data="x" * 41_000, headers=headers)
    assert answer.status == 201
    return answer.json()


def _land(page: Page, answer: Any) -> None:
    page.goto(f"/download/{answer['file_id']}")
    expect(page.get_by_role("heading").first).to_be_visible()


def landing(page: Page) -> None:
    _land(page, _put(page))


def landing_details(page: Page) -> None:
    landing(page)
    page.get_by_text("Details").click()
    expect(page.get_by_text("41,000 bytes")).to_be_visible()


def landing_archive(page: Page) -> None:
    files = {"Site plan.pdf": b"x" * 41_000, "Photos/North façade.jpg": b"x" * 812_000, "\u202egpj.exe": b"x"}
    files |= {f"Photos/{'a long name ' * 9}{number}.jpg": b"x" * 5000 for number in range(3)}
    params: dict[str, str | float | bool] = {"filename": "Photos from the site visit.zip", "max_downloads": 20}
    _land(page, page.request.put("/file/upload", params=params, data=packed(files)).json())
    page.get_by_text("Files in this archive").click()
    page.locator("#entries").get_by_text("Photos/").click()
    expect(page.get_by_role("link", name="North façade.jpg")).to_be_visible()


def landing_started(page: Page) -> None:
    _land(page, _put(page, "&max_downloads=3"))
    with page.expect_download():
        page.get_by_role("link", name="Download").click()
    expect(page.get_by_text("2 downloads left")).to_be_visible()


def landing_offline(page: Page) -> None:
    landing(page)
    page.route("**/file/download/**", lambda route: route.abort())
    page.get_by_role("link", name="Download").click()
    expect(page.get_by_text("Can't reach the server")).to_be_visible()


def landing_busy(page: Page) -> None:
    landing(page)
    page.route("**/file/download/**", lambda route: route.fulfill(status=503, headers={"Retry-After": "2"}))
    page.get_by_role("link", name="Download").click()
    expect(page.get_by_text("The file can't be downloaded right now.")).to_be_visible()


def landing_password(page: Page) -> None:
    _land(page, _put(page, **{"X-Password": "swordfish"}))


def landing_wrong_password(page: Page) -> None:
    landing_password(page)
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Wrong password")).to_be_visible()


def landing_once(page: Page) -> None:
    _land(page, _put(page, "&max_downloads=1"))


def landing_once_started(page: Page) -> None:
    landing_once(page)
    with page.expect_download():
        page.get_by_role("link", name="Download").click()
    expect(page.get_by_text("has now reached its download limit")).to_be_visible()


def landing_spent(page: Page) -> None:
    answer = _put(page, "&max_downloads=1")
    assert page.request.get(f"/file/download/{answer['file_id']}").ok
    _land(page, answer)


def landing_expired(page: Page) -> None:
    answer = _put(page, "&expires_in=1")
    until(lambda: page.request.head(f"/file/metadata/{answer['file_id']}").status == 410)
    _land(page, answer)


def landing_unknown(page: Page) -> None:
    _land(page, {"file_id": UNKNOWN})


def delete_link(page: Page) -> None:
    answer = _put(page)
    page.goto(f"/download/{answer['file_id']}#delete={answer['delete_token']}")
    expect(page.get_by_role("button", name="Delete")).to_be_visible()


def delete_link_wrong(page: Page) -> None:
    page.goto(f"/download/{_put(page)['file_id']}#delete=wrong")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="This delete link doesn't work")).to_be_visible()


def deleted(page: Page) -> None:
    delete_link(page)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="The file was deleted")).to_be_visible()


def plain_form(page: Page) -> None:
    without_scripts(page, "/")
    expect(page.get_by_role("button", name="Upload")).to_be_visible()


def plain_uploaded(page: Page) -> None:
    plain_form(page)
    report = {"name": "Annual report 2026.pdf", "mimeType": "application/pdf", "buffer": b"x" * 41_000}
    page.get_by_label("File", exact=True).set_input_files(report)  # type: ignore[arg-type]
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("link", name="Open the link")).to_be_visible()


LINK_STATES = (
    landing,
    landing_details,
    landing_archive,
    landing_started,
    landing_offline,
    landing_busy,
    landing_password,
    landing_wrong_password,
    landing_once,
    landing_once_started,
    landing_spent,
    landing_expired,
    landing_unknown,
    delete_link,
    delete_link_wrong,
    deleted,
    plain_form,
    plain_uploaded,
    *INBOX_STATES,
)
