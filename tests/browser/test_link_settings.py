"""Link settings: which ones are offered, and that they apply before, during and after an upload."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.axe import no_violations
from tests.browser.upload_page import (
    UPLOADS,
    chips,
    drop,
    file,
    hold,
    link,
    open_options,
    row,
    setting,
    share_more,
    stop_timers,
    upload_of,
)
from tests.wire.server import Server, until


def metadata(page: Page, name: str) -> dict[str, Any]:
    file_id = link(page, name).rpartition("/")[2]
    answer: dict[str, Any] = page.request.get(f"/file/metadata/{file_id}").json()
    return answer


def lifetime(described: dict[str, Any]) -> float:
    """Seconds until a file expires."""
    expires_at = datetime.fromisoformat(described["expires_at"])
    return (expires_at - datetime.now(UTC)).total_seconds()


def choose_lifetime(page: Page, name: str) -> None:
    page.locator("#settings .chip[data-of=expiry]").click()
    page.locator("#settings").get_by_label(name, exact=True).check()
    page.locator("#settings form[data-of=expiry]").get_by_role("button", name="Done").click()


def test_settings_hold_for_what_is_uploaded_next(page: Page) -> None:
    assert chips(page) == ["Never expires", "No download limit", "No password", "Not encrypted"]
    choose_lifetime(page, "7 days")
    setting(page, "limit", "3")
    setting(page, "password", "größe & co")
    assert chips(page) == ["Expires in 7 days", "3 downloads", "Password set", "Not encrypted"]
    drop(page, ("set.txt", "data"))
    described = metadata(page, "set.txt")
    assert described["max_downloads"] == 3
    assert described["password_protected"]
    assert 604_000 < lifetime(described) <= 604_800
    expect(page.locator("#ready-detail")).to_contain_text("expires")


def test_settings_hold_for_what_is_under_way_and_what_is_uploaded(page: Page) -> None:
    held = hold(page, UPLOADS)
    drop(page, *((f"{number}.txt", "data") for number in range(4)))
    until(lambda: bool(page.evaluate("true")) and len(held) == 3)
    first = upload_of(page, held, "0.txt")
    first.continue_()
    expect(row(page, "0.txt")).to_have_attribute("data-state", "done")
    # One file is uploaded, and three are in transit with the old settings.
    setting(page, "limit", "7")
    setting(page, "password", "later")
    until(lambda: bool(page.evaluate("true")) and len(held) == 4)
    for route in held:
        if route is not first:
            route.continue_()
    expect(page.get_by_role("heading", name="4 links are ready")).to_be_visible()
    for number in range(4):
        described = metadata(page, f"{number}.txt")
        assert (described["max_downloads"], described["password_protected"]) == (7, True)
    choose_lifetime(page, "1 day")
    expect(page.locator("#settings-state")).to_have_text("Settings saved.")
    assert 86_000 < lifetime(metadata(page, "2.txt")) <= 86_400
    setting(page, "password", "")
    expect(page.locator("#settings-state")).to_have_text("Settings saved.")
    assert not metadata(page, "2.txt")["password_protected"]


def test_a_change_that_is_refused_is_said_to_be(page: Page) -> None:
    drop(page, ("fixed.txt", "data"))
    link(page, "fixed.txt")
    problem: dict[str, Any] = {"detail": "Not today."}
    page.route("**/file/*", lambda route: route.fulfill(status=422, body=json.dumps(problem)))
    setting(page, "limit", "2")
    expect(page.locator("#settings-state")).to_have_text("Could not change the link. Not today.")
    # The limits of the server have changed since the page was opened.
    problem["errors"] = [{"field": "expires_in", "reason": "must be a whole number from 1 to 1800"}]
    choose_lifetime(page, "1 hour")
    refused = "Could not change the link. Files here can be kept for up to 30 minutes."
    expect(page.locator("#settings-state")).to_have_text(refused)
    no_violations(page)


def test_more_files_are_offered_together_with_the_link(context: BrowserContext) -> None:
    """The link moves the settings. Somebody who sees that all is done must not miss what they click."""
    page = context.new_page()
    page.clock.install(time=0)
    page.goto("/")
    page.clock.pause_at(1000)
    drop(page, ("one.txt", "data"))
    page.wait_for_function("() => JSON.parse(localStorage.files ?? '[]').length === 1")
    hidden = "['ready', 'more', 'add'].map((id) => document.getElementById(id).hidden)"
    assert page.evaluate(hidden) == [True, True, False]

    def are_shown() -> bool:
        page.clock.run_for(1000)
        return bool(page.evaluate(hidden) == [False, False, True])

    until(are_shown)


def test_a_password_is_forgotten_after_its_use(page: Page) -> None:
    setting(page, "password", "secret")
    drop(page, ("one.txt", "data"))
    assert metadata(page, "one.txt")["password_protected"]
    share_more(page)
    assert chips(page)[2] == "No password"
    drop(page, ("two.txt", "data"))
    assert not metadata(page, "two.txt")["password_protected"]
    assert metadata(page, "one.txt")["password_protected"]
    assert "secret" not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")


def test_a_password_is_generated_shown_and_copied(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#settings .chip[data-of=password]").click()
    field = page.locator("#settings [name=password]")
    expect(field).to_have_attribute("type", "password")
    passwords = set()
    for _ in range(2):
        page.get_by_role("button", name="Generate").click()
        expect(field).to_have_attribute("type", "text")
        passwords.add(field.input_value())
    assert len(passwords) == 2
    assert all(len(password) == 19 for password in passwords)
    stop_timers(page)
    page.locator("#settings .copy").click()
    expect(page.locator("#settings .copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == field.input_value()
    page.get_by_role("button", name="Hide").click()
    expect(field).to_have_attribute("type", "password")
    page.get_by_role("button", name="Remove").click()
    assert chips(page)[2] == "No password"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("limit", "0", "Enter a whole number of at least 1, or leave it empty."),
        ("limit", "1.5", "Enter a whole number of at least 1, or leave it empty."),
        ("password", " x", "The password can't begin or end with a space."),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(page: Page, name: str, value: str, words: str) -> None:
    setting(page, name, value)
    expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()
    assert chips(page)[1:3] == ["No download limit", "No password"]
    no_violations(page)


def test_only_lifetimes_that_the_server_allows_are_offered(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    variables = {"SHARE_MAX_EXPIRES_IN": "172800", "SHARE_DEFAULT_EXPIRES_IN": "43200"}
    with Server(tmp_path_factory.mktemp("limited") / "data", **variables) as limited:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{limited.port}/")
        assert chips(page)[0] == "Expires in 12 hours"
        page.locator("#settings .chip[data-of=expiry]").click()
        offered = page.locator("#settings form[data-of=expiry] .choice").all_inner_texts()
        assert [text.strip() for text in offered] == ["1 hour", "12 hours", "1 day", "2 days"]
        expect(page.get_by_label("12 hours")).to_be_checked()
        no_violations(page)
        page.close()


def test_a_panel_opens_below_its_chip_and_escape_leads_back(page: Page) -> None:
    chip = page.locator("#settings .chip[data-of=limit]")
    chip.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#settings [name=limit]")).to_be_focused()
    expect(chip).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(chip).to_be_focused()
    expect(chip).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#settings [name=limit]")).to_be_hidden()


def test_the_settings_of_an_older_link_are_changed(page: Page) -> None:
    choose_lifetime(page, "7 days")
    setting(page, "password", "secret")
    drop(page, ("older.txt", "data"))
    file_id = link(page, "older.txt").rpartition("/")[2]
    share_more(page)
    open_options(page, "older.txt")
    dialog = page.get_by_role("dialog")
    expires, limit, password = dialog.locator(".chip").all_inner_texts()
    assert expires.startswith("Expires ")
    assert (limit, password) == ("No download limit", "Password set")
    dialog.locator(".chip[data-of=password]").click()
    dialog.get_by_role("button", name="Remove").click()
    expect(dialog.locator(".chip[data-of=password]")).to_have_text("No password")
    dialog.locator(".chip[data-of=expiry]").click()
    dialog.get_by_label("1 day").check()
    expect(dialog.locator(".chip[data-of=expiry]")).to_have_text("Expires in 1 day")
    dialog.locator(".chip[data-of=limit]").click()
    dialog.locator("[name=limit]").fill("1")
    page.keyboard.press("Enter")
    expect(dialog.locator(".state")).to_have_text("Settings saved.")
    no_violations(page)
    page.keyboard.press("Escape")
    expect(file(page, "older.txt").locator(".state")).to_contain_text("4 bytes · 0 of 1 download · expires ")
    expect(page.get_by_role("dialog")).to_have_count(0)
    described = page.request.get(f"/file/metadata/{file_id}").json()
    assert 86_000 < lifetime(described) <= 86_400
    assert not described["password_protected"]


def test_a_limit_holds_for_a_visitor(page: Page, chromium: Browser) -> None:
    setting(page, "limit", "1")
    drop(page, ("once.txt", "data"))
    other = chromium.new_context()
    visitor = other.new_page()
    visitor.goto(link(page, "once.txt"))
    with visitor.expect_download() as started:
        visitor.get_by_role("link", name="Download").click()
    started.value.path()
    other.close()
    share_more(page)
    state = file(page, "once.txt").locator(".state")
    expect(state).to_have_text("4 bytes · 1 download · limit reached")
