"""Takes pictures of the pages: `PYTHONPATH=client python -m tests.browser.screenshots [FOLDER] [STATE…]`.

Without states, it draws all of them, and also the pictures in docs/ and the image of the preview card.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import FLAGS, program
from tests.browser.states import SETTINGS, STATES, show
from tests.wire.server import ROOT, Server

FOLDER = ROOT / "build" / "screenshots"
STATIC = ROOT / "functions" / "pages" / "static"
# The visitor's devices, by the picture's name.
VISITORS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 900, "height": 760}},
    "dark": {"viewport": {"width": 900, "height": 760}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True},
    "small": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark", "has_touch": True, "is_mobile": True},
    "forced": {"viewport": {"width": 900, "height": 760}, "forced_colors": "active"},
}
# The pictures in docs/: their state and window.
DOCS = {
    "upload": ("uploading", {"viewport": {"width": 760, "height": 664}}),
    "success": ("ready", {"viewport": {"width": 760, "height": 620}}),
    "landing-phone": ("landing-once", {"viewport": {"width": 390, "height": 780}}),
}


def picture(browser: Browser, server: Server, state: str, path: Path, **visitor: Any) -> None:
    address = f"http://127.0.0.1:{server.port}"
    context = browser.new_context(base_url=address, device_scale_factor=1.5, **visitor)
    context.add_init_script("navigator.share ??= async () => {}")
    page: Page = context.new_page()
    show(page, state)
    page.wait_for_load_state("networkidle") if state.startswith("landing") else None
    page.screenshot(path=path, animations="disabled", caret="hide")
    # Requests that a state holds back would otherwise be reported when their context closes.
    page.unroute_all(behavior="ignoreErrors")
    context.close()


def card(browser: Browser, path: Path) -> None:
    """Draw the preview card for chats: our icon on our background."""
    tokens, icon = ((STATIC / name).read_text() for name in ("tokens.css", "icon.svg"))
    style = "body { display: grid; place-items: center; height: 100vh; margin: 0; background: var(--tint) }"
    page = browser.new_page(viewport={"width": 1200, "height": 630})
    page.set_content(f"<style>{tokens} {style} svg {{ width: 260px }}</style>{icon}")
    page.screenshot(path=path)
    page.close()


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        Server(Path(data) / "data", **SETTINGS) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program(), args=FLAGS)
        for state in names or STATES:
            for visitor, options in VISITORS.items():
                picture(browser, server, state, folder / f"{state}-{visitor}.png", **options)
        if not names:
            card(browser, STATIC / "card.png")
            for name, (state, options) in DOCS.items():
                picture(browser, server, state, ROOT / "docs" / f"{name}.png", **options)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER, sys.argv[2:])
