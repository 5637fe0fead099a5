"""Uploads from the page: one list, one total, and a network that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.axe import no_violations
from tests.browser.conftest import WITHIN
from tests.browser.upload_page import (
    UPLOADS,
    choose,
    drop,
    file,
    hold,
    link,
    row,
    setting,
    share_more,
    upload_each,
    upload_of,
)
from tests.wire.server import Server, until


def refuse(page: Page, status: int = 507) -> None:
    problem = {"title": "Storage full", "status": status, "detail": "No room."}
    answer = {"status": status, "content_type": "application/problem+json", "body": json.dumps(problem)}
    page.route(UPLOADS, lambda route: route.fulfill(**answer))


def test_two_files_are_dropped_and_fetched_by_somebody_else(page: Page, chromium: Browser, tmp_path: Path) -> None:
    drop(page, ("one.txt", "first"), ("two <b>.txt", "second"))
    expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
    expect(row(page, "two <b>.txt").locator(".detail")).to_have_text("6 bytes · uploaded")
    other = chromium.new_context()
    visitor = other.new_page()
    visitor.goto(link(page, "two <b>.txt"))
    expect(visitor.get_by_role("heading")).to_have_text("two <b>.txt")
    with visitor.expect_download() as started:
        visitor.get_by_role("link", name="Download").click()
    started.value.save_as(tmp_path / "fetched")
    other.close()
    assert started.value.suggested_filename.startswith("two ")
    assert (tmp_path / "fetched").read_bytes() == b"second"
    # The first page updates without a click.
    share_more(page)
    expect(file(page, "two <b>.txt").locator(".state")).to_have_text("6 bytes · 1 download", timeout=WITHIN)
    expect(file(page, "one.txt").locator(".state")).to_have_text("5 bytes · 0 downloads")


def test_a_link_disappears_at_once_when_more_files_are_to_be_shared(page: Page) -> None:
    """Later, it would be taken for the link of those."""
    drop(page, ("one.txt", "data"))
    link(page, "one.txt")
    ready = "document.getElementById('ready').checkVisibility()"
    until(lambda: bool(page.evaluate(ready)))
    assert page.evaluate(f"() => {{ document.getElementById('more').click(); return {ready}; }}") is False


def test_a_file_keeps_its_place_from_waiting_to_sent(page: Page) -> None:
    held = hold(page, UPLOADS)
    drop(page, *((f"{number}.txt", "x" * 1000) for number in range(5)))
    expect(page.locator("#rows > li")).to_have_count(5)
    states = page.locator("#rows > li").evaluate_all
    expect(page.locator("#rows > li[data-state=sending]")).to_have_count(3)
    assert states("(rows) => rows.map((row) => row.dataset.state)") == ["sending"] * 3 + ["waiting"] * 2
    until(lambda: bool(page.evaluate("true")) and len(held) == 3)
    # The second file arrives first.
    upload_of(page, held, "1.txt").continue_()
    expect(page.locator("#rows > li").nth(1)).to_have_attribute("data-state", "done")
    names = page.locator("#rows bdi").all_inner_texts()
    assert names == [f"{number}.txt" for number in range(5)]
    expect(page.get_by_role("heading", name="Uploading 5 files")).to_be_visible()
    expect(page.locator("#work-detail")).to_contain_text("of 5 kB")
    no_violations(page)


def test_progress_is_shown_and_an_upload_can_be_cancelled(page: Page, server: Server) -> None:
    before = server.stored()
    held = hold(page, UPLOADS)
    with page.expect_request(UPLOADS):
        drop(page, ("slow.txt", "x" * 1000))
    expect(row(page, "slow.txt").locator("progress")).to_have_attribute("aria-label", "Upload of slow.txt")
    expect(page.locator("#work-detail")).to_contain_text("of 1 kB")
    expect(page).to_have_title("0% · Share files")
    row(page, "slow.txt").get_by_role("button", name="Cancel: slow.txt").click()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    expect(page).to_have_title("Share files")
    assert len(held) == 1
    assert server.stored() == before


def test_all_that_is_not_uploaded_is_cancelled_at_once(page: Page) -> None:
    held: list[Route] = []

    def pass_the_first(route: Route) -> None:
        if "0.txt" in route.request.url:
            route.continue_()
        else:
            held.append(route)

    page.route(UPLOADS, pass_the_first)
    drop(page, *((f"{number}.txt", "data") for number in range(6)))
    expect(row(page, "0.txt")).to_have_attribute("data-state", "done")
    page.locator("#cancel-all").click()
    # One link is left, and it is ready.
    expect(page.locator("#ready .field input")).to_have_value(link(page, "0.txt"))


def test_a_failed_upload_says_why_and_can_be_tried_again(page: Page) -> None:
    refuse(page)
    drop(page, ("again.txt", "data"))
    expect(row(page, "again.txt").locator(".detail")).to_have_text("No room.")
    expect(page.get_by_role("heading", name="1 file could not be uploaded")).to_be_visible()
    expect(page.get_by_role("button", name="Retry all")).to_be_hidden()
    expect(page).to_have_title("Failed · Share files")
    no_violations(page)
    page.unroute(UPLOADS)
    setting(page, "limit", "3")
    row(page, "again.txt").get_by_role("button", name="Retry: again.txt").click()
    # With the current settings, not with the old ones.
    address = link(page, "again.txt")
    metadata = page.request.get(f"/file/metadata/{address.rpartition('/')[2]}").json()
    assert metadata["max_downloads"] == 3


def test_all_that_failed_is_tried_again_by_one_button(page: Page) -> None:
    refuse(page)
    names = [f"{number}.txt" for number in range(4)]
    drop(page, *((name, "data") for name in names))
    expect(page.locator("#rows .error", has_text="No room.")).to_have_count(4)
    no_violations(page)
    page.unroute(UPLOADS)
    page.get_by_role("button", name="Retry all").click()
    expect(page.get_by_role("heading", name="4 links are ready")).to_be_visible()
    expect(page.get_by_role("button", name="Retry all")).to_be_hidden()


def test_files_wait_for_the_network_and_go_on_by_themselves(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    drop(page, *((f"{number}.txt", "data") for number in range(10)))
    expect(page.get_by_role("heading", name="Reconnecting…")).to_be_visible()
    expect(page.get_by_text("What you sent is saved")).to_be_visible()
    # Three files are in transit, and the others wait: nothing has failed.
    expect(page.locator("#rows > li[data-state=sending]")).to_have_count(3)
    expect(page.locator("#rows > li[data-state=waiting]")).to_have_count(7)
    no_violations(page)
    context.set_offline(False)
    expect(page.get_by_role("heading", name="10 links are ready")).to_be_visible()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_whose_server_is_away_is_no_failure(page: Page, status: int) -> None:
    page.route("**/health", lambda route: route.fulfill(status=status))
    page.route(UPLOADS, lambda route: route.fulfill(status=status))
    drop(page, ("one.txt", "data"))
    expect(page.get_by_role("heading", name="Reconnecting…")).to_be_visible()
    page.unroute(UPLOADS)
    page.unroute("**/health")
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_visible()


def test_files_that_were_not_sent_are_named_after_a_reload(page: Page, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.txt" for number in range(5)]
    for path in files:
        path.write_text(path.name)
    setting(page, "password", "swordfish")
    held = hold(page, UPLOADS)
    choose(page, *files)
    upload_each(page)
    upload_of(page, held, "0.txt").continue_()
    expect(page.locator("#rows > li[data-state=done]")).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.get_by_text("Interrupted: choose the 4 files again to continue.")).to_be_visible()
    # Not before: that sends what is held.
    page.unroute(UPLOADS)
    no_violations(page)
    field = page.locator("#interrupted-rows input")
    field.set_input_files(str(files[0]))
    expect(page.get_by_text("Those are different files.")).to_be_visible()
    # Nobody knows the password any more, and without one, the files would be open to everyone.
    field.set_input_files([str(path) for path in files])
    expect(page.get_by_text("These files had a password.")).to_be_visible()
    setting(page, "password", "swordfish")
    field.set_input_files([str(path) for path in files])
    expect(page.get_by_role("heading", name="4 links are ready")).to_be_visible()
    names = page.evaluate("JSON.parse(localStorage.files).map((file) => file.original_name)")
    assert sorted(names) == [path.name for path in files]
    assert page.evaluate("Object.keys(localStorage)") == ["files"]


def test_what_is_too_large_is_refused_before_it_is_sent(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Server(tmp_path_factory.mktemp("small") / "data", SHARE_MAX_FILE_SIZE="2000000") as small:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{small.port}/")
        expect(page.get_by_text("Up to 2 MB per file.")).to_be_visible()
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if request.method in ("PUT", "POST") else None)
        drop(page, ("large.txt", "x" * 2_000_001), ("small.txt", "data"))
        expect(row(page, "large.txt").locator(".detail")).to_have_text(
            "Too large: this server accepts files up to 2 MB."
        )
        # Trying again would not help.
        expect(row(page, "large.txt").get_by_role("button")).to_have_count(1)
        expect(page.get_by_role("button", name="Retry all")).to_be_hidden()
        no_violations(page)
        row(page, "large.txt").get_by_role("button", name="Remove: large.txt").click()
        expect(page.get_by_role("heading", name="Your link is ready")).to_be_visible()
        assert [url for url in sent if "large" in url] == []
        page.close()


def test_a_file_that_changed_is_named(page: Page, tmp_path: Path) -> None:
    (tmp_path / "moving.txt").write_text("before")
    held = hold(page, UPLOADS)
    with page.expect_request(UPLOADS):
        choose(page, tmp_path / "moving.txt")
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    (tmp_path / "moving.txt").unlink()
    held[0].abort()
    expect(row(page, "moving.txt").locator(".detail")).to_have_text(
        "moving.txt changed or disappeared after you chose it. Choose it again."
    )


def test_the_files_of_a_folder_are_shared(page: Page, tmp_path: Path) -> None:
    (tmp_path / "Photos" / "2026").mkdir(parents=True)
    (tmp_path / "Photos" / "one.txt").write_text("1")
    (tmp_path / "Photos" / "2026" / "two.txt").write_text("2")
    page.set_input_files("#chosen-folder", str(tmp_path / "Photos"))
    upload_each(page)
    expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
    assert sorted(page.locator("#rows bdi").all_inner_texts()) == ["Photos/2026/two.txt", "Photos/one.txt"]


def test_a_screenshot_is_pasted(page: Page) -> None:
    page.evaluate("""() => {
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File(["png"], "image.png", { type: "image/png" }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }""")
    expect(page.locator("#ready-detail")).to_contain_text("Pasted ")
    address = link(page, "Pasted ")
    metadata = page.request.get(f"/file/metadata/{address.rpartition('/')[2]}").json()
    assert metadata["content_type"] == "image/png"
    assert metadata["original_name"].endswith(".png")


def test_the_focus_stays_with_a_file_as_its_upload_ends(page: Page) -> None:
    held = hold(page, UPLOADS)
    drop(page, ("focused.txt", "data"), ("other.txt", "data"))
    row(page, "focused.txt").locator(".remove").focus()
    until(lambda: bool(page.evaluate("true")) and len(held) == 2)
    upload_of(page, held, "focused.txt").fulfill(
        status=507, content_type="application/problem+json", body='{"detail": "No room."}'
    )
    row(page, "focused.txt").get_by_role("button", name="Retry: focused.txt").focus()
    page.keyboard.press("Enter")
    expect(row(page, "focused.txt").locator(".remove")).to_be_focused()
    until(lambda: bool(page.evaluate("true")) and len(held) == 3)
    upload_of(page, held, "focused.txt").continue_()
    expect(row(page, "focused.txt").locator(".copy")).to_be_focused()


def test_the_focus_goes_on_to_the_list_when_the_drop_zone_disappears(page: Page) -> None:
    hold(page, UPLOADS)
    page.get_by_role("button", name="Choose files").focus()
    drop(page, ("one.txt", "data"), ("two.txt", "data"))
    expect(page.locator("#work-title")).to_be_focused()


def test_an_upload_that_ends_takes_no_focus_from_elsewhere(page: Page) -> None:
    held = hold(page, UPLOADS)
    drop(page, ("one.txt", "data"), ("two.txt", "data"))
    page.locator("#settings .chip").first.focus()
    until(lambda: bool(page.evaluate("true")) and len(held) == 2)
    for route in held:
        route.continue_()
    expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
    expect(page.locator("#settings .chip").first).to_be_focused()


def test_a_plain_form_uploads_without_javascript(chromium: Browser, server: Server, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("plain")
    context = chromium.new_context(java_script_enabled=False, base_url=f"http://127.0.0.1:{server.port}")
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_role("button", name="Choose files")).to_be_hidden()
    page.get_by_label("File", exact=True).set_input_files(str(tmp_path / "plain.txt"))
    with page.expect_response("**/file/upload") as answered:
        page.get_by_role("button", name="Upload").click()
    assert answered.value.status == 201
    context.close()
