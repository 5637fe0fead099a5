"""Checks the accessibility of pages with axe, which takes longer to load than to run."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python  # type: ignore[import-untyped]
from playwright.sync_api import Page

from tests.browser.firefox import Firefox

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
CHECK = """
    const { violations, passes } = await axe.run({ resultTypes: ["violations"], ...OPTIONS });
    return [violations.map(({ help, nodes }) => [help, nodes.map((node) => node.html)]), passes.length];
"""
ALL_RULES = CHECK.replace("OPTIONS", "{}")
COLOR_RULES = CHECK.replace("OPTIONS", '{ runOnly: ["color-contrast", "link-in-text-block"] }')


def no_violations(page: Page) -> None:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    violations, passes = page.evaluate(f"async () => {{ {ALL_RULES} }}")
    assert violations == []
    assert passes > 10


def load(firefox: Firefox) -> None:
    """Load axe into the current page, for all later checks."""
    firefox.run("content", AXE)


def no_violations_in_firefox(firefox: Firefox) -> None:
    violations, passes = firefox.run("content", ALL_RULES)
    assert violations == []
    assert passes > 10


def no_bad_colors_in_firefox(firefox: Firefox) -> None:
    """Check a page again after only its colors have changed."""
    violations, passes = firefox.run("content", COLOR_RULES)
    assert violations == []
    assert passes > 0
