"""Large files in a real browser: sent in parts, and gone on with where the page was closed."""

from __future__ import annotations

import filecmp
import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.wire.server import until

pytest.importorskip("functions.direct_upload", reason="there is no direct upload", exc_type=ModuleNotFoundError)

pytestmark = pytest.mark.xdist_group("browser")

MIB = 1024 * 1024
SIZE = 200 * MIB + 1
PART = 8 * MIB
COUNT = 26
WITHIN = 60_000  # milliseconds


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file no two of whose pieces are alike."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for number in range(SIZE // MIB):
            file.write(number.to_bytes(8, "big") * (MIB // 8))
        file.write(b"!")
    return path


def begin(page: Page, file: Path) -> None:
    page.goto("/")
    page.fill("#downloads", "5")
    page.set_input_files("#files", str(file))


def test_an_upload_goes_on_after_the_page_was_closed(context: BrowserContext, large: Path, tmp_path: Path) -> None:
    sent: list[int] = []
    last = 4

    def pass_on(route: Route) -> None:
        number = re.search(r"/([0-9]+)\?", route.request.url)
        if route.request.method != "PUT" or number is None:
            route.continue_()
        # A part that is held stays unanswered, as on a line that went dead.
        elif int(number[1]) <= last:
            sent.append(int(number[1]))
            route.continue_()

    context.route("**/file/s3/multipart/**", pass_on)
    first = context.new_page()
    begin(first, large)
    # Three go at a time, so the fifth to seventh wait once four are through.
    expect(first.locator("#uploads .state")).to_contain_text("MB of", timeout=WITHIN)
    until(lambda: first.evaluate("document.querySelector('progress').value") >= last * PART / SIZE)
    first.close()
    assert sorted(sent) == [1, 2, 3, 4]

    sent.clear()
    last = COUNT
    second = context.new_page()
    begin(second, large)
    shared = second.locator("#shared > li")
    expect(shared).to_be_visible(timeout=WITHIN)
    assert sorted(sent) == list(range(5, COUNT + 1))
    assert second.evaluate("Object.keys(localStorage)") == ["files"]

    second.goto(shared.locator("input").input_value())
    with second.expect_download(timeout=WITHIN) as started:
        second.get_by_role("link", name="Download").click()
    started.value.save_as(tmp_path / "fetched")
    assert filecmp.cmp(large, tmp_path / "fetched", shallow=False)


def test_a_cancelled_upload_is_taken_back(context: BrowserContext, large: Path) -> None:
    context.route("**/file/s3/multipart/**", lambda route: None if route.request.method == "PUT" else route.continue_())
    page = context.new_page()
    with page.expect_request(lambda request: request.method == "PUT"):
        begin(page, large)
    with page.expect_response(lambda response: response.request.method == "DELETE") as taken_back:
        page.locator("#uploads").get_by_role("button", name="Cancel").click()
    assert taken_back.value.status == 200
    expect(page.locator("#uploads > li")).to_have_count(0)
    assert page.evaluate("Object.keys(localStorage)") == []
