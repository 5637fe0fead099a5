"""Browsers resume a one-time download whose connection broke: a reset (RST), or an end before the last byte (FIN)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from playwright.sync_api import BrowserType

from tests.browser.conftest import FLAGS, WITHIN
from tests.client.proxy import Cut, FirstBytes, Proxy, Reset
from tests.servers import ask
from tests.wire.server import Server, until

pytestmark = pytest.mark.xdist_group("browser")

NAME = "one-time.bin"
DATA = os.urandom(4_000_000)
BREAKS_AFTER = 1_000_000  # bytes

both_ways = pytest.mark.parametrize("cut", [Cut, Reset], ids=["ended", "reset"])


class OneTimeFile:
    """A file that can be downloaded once, behind a proxy that breaks the first download."""

    def __init__(self, proxy: Proxy, cut: type[Cut]) -> None:
        answer = ask("PUT", f"{proxy.address}/file/upload/{NAME}?max_downloads=1", content=DATA)
        assert answer.status_code == HTTPStatus.CREATED
        self._file_id = answer.json()["file_id"]
        self._proxy = proxy
        self._first = proxy.through = FirstBytes(BREAKS_AFTER, hold=True, cut=cut)
        self.page = f"{proxy.address}/download/{self._file_id}"

    def break_download(self) -> None:
        assert self._first.reached.is_set()
        self._first.release()

    def assert_resumed(self, condition: str) -> None:
        """Exactly one request came after the first, for what was missing, and it did not count."""
        first, rest = (seen for seen in self._proxy.seen if seen.is_download)
        assert (first.status, rest.status) == (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
        assert rest.headers["range"] == f"bytes={BREAKS_AFTER}-"
        # A resume ticket, without which this range would be a second download.
        assert rest.headers[condition].startswith(f'"{self._file_id}.')
        metadata = ask("GET", f"{self._proxy.address}/file/metadata/{self._file_id}").json()
        assert metadata["download_count"] == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@both_ways
def test_chromium_resumes_with_if_range(
    browser_type: BrowserType, proxy: Proxy, tmp_path: Path, cut: type[Cut]
) -> None:
    file = OneTimeFile(proxy, cut)
    downloads = tmp_path / "downloads"
    # Only in a profile that lasts does chrome://downloads list downloads. Its language is that of the system.
    context = browser_type.launch_persistent_context(
        tmp_path / "profile",
        executable_path=shutil.which("chromium"),
        args=FLAGS,
        env={**os.environ, "LANGUAGE": "en"},
    )
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    # As without Playwright, which would give the file another name.
    save = {"behavior": "allow", "downloadPath": str(downloads)}
    context.new_cdp_session(page).send("Browser.setDownloadBehavior", save)
    page.goto(file.page)
    page.locator("#download").click()
    until(lambda: size(downloads / f"{NAME}.crdownload") == BREAKS_AFTER)
    file.break_download()
    if cut is Reset:
        # After an end it resumes by itself.
        page.goto("chrome://downloads")
        page.locator("#more-actions").click()
        page.get_by_role("menuitem", name="Resume").click()
    until((downloads / NAME).exists)
    context.close()
    assert (downloads / NAME).read_bytes() == DATA
    file.assert_resumed("if-range")
