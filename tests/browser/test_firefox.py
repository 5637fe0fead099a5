"""The pages in Firefox: either browser can download what the other uploaded."""

from __future__ import annotations

import os
from pathlib import Path

from tests.browser.firefox import Firefox
from tests.wire.server import Server, until

# The link, once it is ready.
LINK = "return document.querySelector('#ready input')?.value"


def test_a_file_goes_up_and_comes_back(firefox: Firefox, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "report.bin"
    file.write_bytes(os.urandom(100_000))
    firefox.command("WebDriver:Navigate", url=f"http://127.0.0.1:{server.port}/")
    firefox.command("WebDriver:ElementSendKeys", id=firefox.element("#chosen"), text=str(file))
    until(lambda: firefox.run("content", LINK) is not None)
    firefox.command("WebDriver:Navigate", url=firefox.run("content", LINK))
    firefox.command("WebDriver:ElementClick", id=firefox.element("#download"))
    copy = firefox.downloads / file.name
    until(lambda: copy.exists() and copy.stat().st_size == file.stat().st_size)
    assert copy.read_bytes() == file.read_bytes()
