"""Browsers resume a one-time download after its connection broke: by a reset (RST), or by an early end (FIN)."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserType, expect

from tests.browser.chromium import FLAGS
from tests.browser.conftest import WITHIN
from tests.browser.firefox import Firefox
from tests.client.proxy import Cut, Proxy, Reset, Seen
from tests.programs import require
from tests.servers import ask
from tests.wire.server import until

NAME = "one-time.bin"
DATA = os.urandom(4_000_000)
# The first download would take 80 s at this speed, longer than any timeout here.
PIECE = 1000  # bytes
PAUSE = 0.02  # seconds

both_ways = pytest.mark.parametrize("cut", [Cut, Reset], ids=["ended", "reset"])


class SlowStart:
    """Slows the first download down until the test breaks its connection.

    Bytes must keep arriving: Firefox considers a download resumable only if bytes arrive after it has chosen a path.
    """

    def __init__(self, cut: type[Cut]) -> None:
        self._cut = cut
        self._is_first = True
        self._interrupted = threading.Event()

    def __call__(self, seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if not (seen.is_download and self._is_first):
            yield from chunks
            return
        self._is_first = False
        for chunk in chunks:
            for start in range(0, len(chunk), PIECE):
                yield chunk[start : start + PIECE]
                if self._interrupted.wait(PAUSE):
                    raise self._cut

    def interrupt(self) -> None:
        self._interrupted.set()


class OneTimeFile:
    """A file with a limit of one download, behind a proxy that breaks the first download."""

    def __init__(self, proxy: Proxy, cut: type[Cut]) -> None:
        answer = ask("PUT", f"{proxy.address}/file/upload/{NAME}?max_downloads=1", content=DATA)
        assert answer.status_code == HTTPStatus.CREATED
        self._file_id = answer.json()["file_id"]
        self._proxy = proxy
        self._slow = proxy.through = SlowStart(cut)
        self.page = f"{proxy.address}/download/{self._file_id}"

    def interrupt(self) -> None:
        self._slow.interrupt()

    def assert_resumed(self, condition: str) -> None:
        """Exactly one request followed the first: for the missing bytes, and not counted."""
        first, rest = (seen for seen in self._proxy.seen if seen.is_download)
        assert (first.status, rest.status) == (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
        start = re.fullmatch(r"bytes=(\d+)-", rest.headers["range"])
        assert start is not None
        assert 0 < int(start[1]) < len(DATA)
        # Without the resume ticket, this range would be a second download.
        assert rest.headers[condition].startswith(f'"{self._file_id}.')
        metadata = ask("GET", f"{self._proxy.address}/file/metadata/{self._file_id}").json()
        assert metadata["download_count"] == 1


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@both_ways
def test_chromium_resumes_with_if_range(
    browser_type: BrowserType, proxy: Proxy, tmp_path: Path, cut: type[Cut]
) -> None:
    # Only the whole Chromium has chrome://downloads.
    require("REQUIRE_CHROMIUM", "chromium")
    file = OneTimeFile(proxy, cut)
    downloads = tmp_path / "downloads"
    # It lists downloads only in a persistent profile. Its language is that of the system.
    context = browser_type.launch_persistent_context(
        tmp_path / "profile",
        executable_path=shutil.which("chromium"),
        args=FLAGS,
        env={**os.environ, "LANGUAGE": "en"},
    )
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    # Without this setting, Playwright would rename the file.
    save = {"behavior": "allow", "downloadPath": str(downloads)}
    context.new_cdp_session(page).send("Browser.setDownloadBehavior", save)
    page.goto(file.page)
    page.locator("#download").click()
    until(lambda: size(downloads / f"{NAME}.crdownload") > 0)
    file.interrupt()
    page.goto("chrome://downloads")
    if cut is Reset:
        # After an early end, it resumes automatically.
        page.locator("#more-actions").click()
        page.get_by_role("menuitem", name="Resume").click()
    # The file has its name a little earlier, and Chromium would delete it if it were closed then.
    expect(page.locator("#fileLink")).to_be_visible()
    context.close()
    assert (downloads / NAME).read_bytes() == DATA
    file.assert_resumed("if-range")


# The function that chrome://downloads calls when you click Retry.
DOWNLOAD = """
const { Downloads } = ChromeUtils.importESModule("resource://gre/modules/Downloads.sys.mjs");
const list = await Downloads.getList(Downloads.ALL);
const [download] = await list.getAll();
"""

# Without the tag of the answer and bytes on disk, Firefox would begin again, and use the file up.
CAN_RESUME = """Boolean(
    download?.hasPartialData && download.saver.entityID &&
    (await IOUtils.exists(download.target.partFilePath)) && (await IOUtils.stat(download.target.partFilePath)).size
)"""


@both_ways
def test_firefox_resumes_with_if_match(firefox: Firefox, proxy: Proxy, cut: type[Cut]) -> None:
    def download(expression: str) -> Any:
        return firefox.run("chrome", f"{DOWNLOAD} return {expression}")

    file = OneTimeFile(proxy, cut)
    firefox.command("WebDriver:Navigate", url=file.page)
    firefox.command("WebDriver:ElementClick", id=firefox.element("#download"))
    until(lambda: download(CAN_RESUME))
    file.interrupt()
    until(lambda: download("download.stopped"))
    assert download("download.hasPartialData")
    download("download.start()")
    assert download("download.succeeded")
    assert (firefox.downloads / NAME).read_bytes() == DATA
    file.assert_resumed("if-match")
