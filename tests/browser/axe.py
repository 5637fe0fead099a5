"""Checks the accessibility of pages with axe, which takes longer to load than to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python  # type: ignore[import-untyped]
from playwright.sync_api import Page

from tests.browser.firefox import Firefox

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
CHECK = """
    const { violations, passes } = await axe.run({ resultTypes: ["violations"] });
    return [violations.map(({ help, nodes }) => [help, nodes.map((node) => node.html)]), passes.length];
"""


def no_violations(page: Page) -> None:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    _require_none(page.evaluate(f"async () => {{ {CHECK} }}"))


def load(firefox: Firefox) -> None:
    """Load axe into the current page, for all later checks."""
    firefox.run("content", AXE)


def no_violations_in_firefox(firefox: Firefox) -> None:
    _require_none(firefox.run("content", CHECK))


def _require_none(result: Any) -> None:
    violations, passes = result
    assert violations == []
    assert passes > 10
