"""The API reference in a real browser: accessible, on any screen, with commands that can be copied."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.axe import no_violations
from tests.browser.conftest import WITHIN
from tests.wire.server import Server


# All checks share one page, because it takes long to load so many elements.
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_it_is_accessible_and_fits(chromium: Browser, server: Server, width: int, scheme: str) -> None:
    context = chromium.new_context(
        base_url=f"http://127.0.0.1:{server.port}",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/docs")
    expect(page.get_by_role("button", name="Copy the command for GET /health")).to_be_visible()
    no_violations(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # The pages' policy blocked nothing.
    assert errors == []
    context.close()


def test_a_command_can_be_reached_and_copied_by_keyboard(context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto("/docs")
    page.get_by_role("link", name="GET /health", exact=True).press("Enter")
    section = page.locator("#get_health")
    expect(section).to_be_in_viewport()
    # The link moved the start of the tab order to the section.
    page.keyboard.press("Tab")
    expect(section.get_by_role("button", name="Copy the command for GET /health")).to_be_focused()
    page.keyboard.press("Enter")
    # The button also says so, but only briefly.
    expect(page.locator("#news")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == section.locator("pre").inner_text()
    assert copied.startswith("curl http://127.0.0.1:")


def test_without_javascript_it_is_complete(chromium: Browser, server: Server) -> None:
    context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}", java_script_enabled=False)
    page = context.new_page()
    page.goto("/docs")
    expect(page.locator("#get_health pre")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    context.close()
