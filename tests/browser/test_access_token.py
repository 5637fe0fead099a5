"""The upload page of a server that requires an access token, even if the browser cannot store anything."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.axe import no_violations
from tests.browser.upload_page import delete, drop, link, share_more
from tests.wire.server import Server

BLOCKED = """
    for (const area of ["localStorage", "sessionStorage"]) {
        const get = () => { throw new DOMException("Access is denied for this document.", "SecurityError"); };
        Object.defineProperty(window, area, { get });
    }
"""
TOKEN = "a-token-of-thirty-two-characters"


def test_the_token_is_required_where_the_server_has_one(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Server(tmp_path_factory.mktemp("guarded") / "data", SHARE_API_TOKEN=TOKEN) as guarded:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{guarded.port}/")
        # Before the user chooses anything.
        expect(page.get_by_role("heading", name="Sign in to upload")).to_be_visible()
        expect(page.get_by_role("button", name="Choose files")).to_be_hidden()
        no_violations(page)
        page.get_by_label("Access token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").filter(has_text="Wrong access token. Try again.")).to_be_visible()
        page.get_by_label("Access token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Choose files")).to_be_focused()
        drop(page, ("first.txt", "data"))
        link(page, "first.txt")
        assert page.evaluate("JSON.stringify(localStorage)").find(TOKEN) == -1
        page.reload()
        drop(page, ("second.txt", "data"))
        link(page, "second.txt")
        # The server's token can change while the page is open.
        page.evaluate("sessionStorage.token = JSON.stringify('an-older-token')")
        page.reload()
        drop(page, ("third.txt", "data"))
        page.get_by_label("Access token").fill(TOKEN)
        page.keyboard.press("Enter")
        link(page, "third.txt")
        page.close()


def test_files_are_shared_where_site_data_is_blocked(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    context.add_init_script(BLOCKED)
    with Server(tmp_path_factory.mktemp("guarded") / "data", SHARE_API_TOKEN=TOKEN) as guarded:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{guarded.port}/")
        page.get_by_label("Access token").fill(TOKEN)
        page.keyboard.press("Enter")
        # In parts, and without asking for the token again.
        drop(page, ("small.txt", "data"), ("large.txt", "x" * (4 * 2**20 + 1)))
        share_more(page)
        expect(page.locator("#file-rows > li")).to_have_count(2)
        delete(page, "large.txt")
        expect(page.locator("#file-rows bdi")).to_have_text(["small.txt"])
        page.close()
