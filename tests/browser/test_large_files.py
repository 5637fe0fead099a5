"""Large files in a real browser: sent in parts, and resumed after the page was closed."""

from __future__ import annotations

import filecmp
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, BrowserContext, Page, Request, Response, Route, expect

from local import aws
from local.template import Template, read
from tests.browser.axe import no_violations
from tests.browser.upload_page import UPLOADS, choose, drop, hold, row, setting
from tests.servers import S3Server, moto_server, seaweedfs
from tests.wire.server import ROOT, Server, until

MIB = 1024 * 1024
PART = 8 * MIB
SIZE = 2 * PART + MIB  # of a file in three parts
BUCKET = "shares"


def write(path: Path, size: int) -> Path:
    """Write a file in which no two parts are alike."""
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(number.to_bytes(8, "big") * (MIB // 8))
        file.write(b"!" * (size % MIB))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return write(tmp_path / "large.bin", SIZE)


# Records the progress that an upload shows, because it disappears at the end.
WATCH = """
    addEventListener("DOMContentLoaded", () => {
        window.seen = [];
        new MutationObserver(() => {
            const bar = document.querySelector("#rows progress");
            if (bar) seen.push(bar.value);
        }).observe(document.body, { attributes: true, childList: true, subtree: true });
    });
"""


def begin(page: Page, file: Path, address: str = "") -> None:
    page.goto(f"{address}/")
    setting(page, "limit", "5")
    choose(page, file)


def test_an_upload_goes_on_after_the_page_was_closed(context: BrowserContext, large: Path, tmp_path: Path) -> None:
    sent: list[int] = []
    held: list[Route] = []
    last = 1

    def pass_on(route: Route) -> None:
        number = re.search(r"/([0-9]+)\?", route.request.url)
        if route.request.method != "PUT" or number is None:
            route.continue_()
            return
        sent.append(int(number[1]))
        # A part that is held stays unanswered, as on a dead connection.
        if int(number[1]) <= last:
            route.continue_()
        else:
            held.append(route)

    context.route("**/file/s3/multipart/**", pass_on)
    first = context.new_page()
    # The progress that the page shows includes bytes that are sent but not yet stored.
    stored: list[Response] = []
    first.on("response", lambda response: stored.append(response) if response.request.method == "PUT" else None)
    begin(first, large)
    expect(first.locator("#work-detail")).to_contain_text("MB of")
    until(lambda: bool(first.evaluate("true")) and len(stored) == last and len(held) > 0)
    # A browser can release held requests when their page is closed. The page itself retries only after a while.
    for route in held:
        route.abort()
    first.close()

    sent.clear()
    held.clear()
    second = context.new_page()
    second.add_init_script(WATCH)
    second.goto("/")
    expect(second.get_by_text("Interrupted: choose \u2068large.bin\u2069 again to continue (47%).")).to_be_visible()
    no_violations(second)
    # A different file does not resume the interrupted upload.
    field = second.locator("#interrupted-rows input")
    field.set_input_files(str(write(tmp_path / "other.bin", 1)))
    expect(second.get_by_text("That is a different file.")).to_be_visible()
    field.set_input_files(str(large))
    # It begins with what is already stored.
    for share in ("47%", "94%"):
        expect(row(second, large.name).locator(".share")).to_have_text(share)
        until(lambda: bool(second.evaluate("true")) and len(held) > 0)
        held.pop().continue_()
    expect(second.locator("#ready .field input")).to_be_visible()
    assert sorted(sent) == [2, 3]
    values = [value for value in second.evaluate("seen") if value > 0]
    assert values == sorted(values)
    assert second.evaluate("Object.keys(localStorage)") == ["files"]
    file_id = second.locator("#ready .field input").input_value().rpartition("/")[2]
    # The current settings apply, not those of the time when the upload began.
    assert second.request.get(f"/file/metadata/{file_id}").json()["max_downloads"] is None
    assert filecmp.cmp(large, fetched(second, tmp_path), shallow=False)


def test_speed_and_time_left_are_shown(context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script("""
        const { send } = XMLHttpRequest.prototype;
        XMLHttpRequest.prototype.send = function (body) {
            window.request = this;
            send.call(this, body);
        };
    """)
    page.clock.install(time=0)
    page.goto("/")
    page.clock.pause_at(1000)
    held = hold(page, UPLOADS)
    drop(page, ("film.txt", "x" * 100_000))
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    for loaded in (20_000, 40_000):
        page.evaluate("(loaded) => request.upload.onprogress({ loaded })", loaded)
        page.clock.run_for(1000)
    expect(page.locator("#work-detail")).to_have_text("40 kB of 100 kB · 20 kB/s · 3 seconds left")


def test_an_upload_whose_completion_was_not_confirmed_is_not_sent_again(
    context: BrowserContext, tmp_path: Path
) -> None:
    file = write(tmp_path / "large.bin", PART + 1)
    completed: list[APIResponse] = []
    # The upload is complete, but its answer is lost with the page.
    context.route("**/complete?*", lambda route: completed.append(route.fetch()))
    first = context.new_page()
    with first.expect_request("**/complete?*"):
        begin(first, file)
    until(lambda: bool(first.evaluate("true")) and len(completed) == 1)
    first.close()
    context.unroute("**/complete?*")

    second = context.new_page()
    sent: list[Request] = []
    second.on("request", lambda request: sent.append(request) if request.method == "PUT" else None)
    begin(second, file)
    expect(second.locator("#ready .field input")).to_be_visible()
    assert sent == []
    assert second.locator("#ready .field input").input_value() == completed[0].json()["download_page"]
    assert second.evaluate("Object.keys(localStorage)") == ["files"]


def test_one_part_goes_alone_until_the_speed_of_the_line_is_known(context: BrowserContext, tmp_path: Path) -> None:
    """If a slow connection breaks, it should lose one part and not three."""
    held: list[Route] = []
    context.route(
        "**/file/s3/multipart/**",
        lambda route: held.append(route) if route.request.method == "PUT" else route.continue_(),
    )
    page = context.new_page()
    begin(page, write(tmp_path / "large.bin", PART + 1))
    # Parallel parts are sent in the same turn of the event loop.
    until(lambda: bool(page.evaluate("true")) and len(held) > 0)
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    assert len(held) == 1
    for count in (1, 2):
        until(lambda count=count: bool(page.evaluate("true")) and len(held) >= count)  # type: ignore[misc]
        held[count - 1].continue_()
    expect(page.locator("#ready .field input")).to_be_visible()


def fetched(page: Page, folder: Path) -> Path:
    """The file that the page has just shared, downloaded by its link."""
    page.goto(page.locator("#ready .field input").input_value())
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").click()
    started.value.save_as(folder / "fetched")
    return folder / "fetched"


def test_a_cancelled_upload_is_taken_back(context: BrowserContext, large: Path) -> None:
    context.route("**/file/s3/multipart/**", lambda route: None if route.request.method == "PUT" else route.continue_())
    page = context.new_page()
    with page.expect_request(lambda request: request.method == "PUT"):
        begin(page, large)
    with page.expect_response(lambda response: response.request.method == "DELETE") as taken_back:
        row(page, large.name).locator(".remove").click()
    assert taken_back.value.status == 200
    expect(page.locator("#rows > li")).to_have_count(0)
    assert page.evaluate("Object.keys(localStorage)") == []


@pytest.mark.parametrize("storage", [moto_server, seaweedfs])
def test_the_bytes_go_to_a_bucket_and_come_from_there(
    context: BrowserContext, tmp_path: Path, storage: Callable[[], AbstractContextManager[S3Server]]
) -> None:
    file = write(tmp_path / "large.bin", PART + 1)
    with storage() as s3:
        # The bucket is configured as on AWS, including its CORS rules.
        (rules,) = read(ROOT / "template.yaml").cors.values()
        aws.provide(Template({}, (), (BUCKET,), (), cors={BUCKET: rules}), "", s3.environment())
        variables = {**s3.environment(), "SHARE_STORAGE": f"s3://{BUCKET}", "SHARE_INLINE_LIMIT": str(MIB)}
        with Server(tmp_path / "data", **variables) as server:
            page = context.new_page()
            moved: list[Request] = []
            page.on("request", lambda request: moved.append(request) if request.url.startswith(s3.endpoint) else None)
            begin(page, file, f"http://127.0.0.1:{server.port}")
            expect(page.locator("#ready .field input")).to_be_visible()
            assert [request.method for request in moved] == ["PUT"] * 2
            assert not [request for request in moved if "authorization" in request.headers]
            moved.clear()
            assert filecmp.cmp(file, fetched(page, tmp_path), shallow=False)
            assert [request.method for request in moved] == ["GET"]
            page.close()
