"""Several files and folders as one link: what the user decides, and what the archive contains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.archive_page import TIME, answer, archive, contents, drop_paths, upload, write
from tests.browser.axe import no_violations
from tests.browser.upload_page import UPLOADS, choose, drop_together, hold, row, share_more
from tests.wire.server import Server, until

NAMES = ["報告書 年次.txt", "e\u0301te\u0301.txt", "😀.bin", "empty.txt", "Ünï/deep/er/a.tar.gz"]


def test_several_files_are_one_link(page: Page) -> None:
    drop_together(page, ("one.txt", "first"), ("two.txt", "second"), ("one.txt", "another"))
    expect(page.get_by_role("heading", name="3 files · 18 bytes")).to_be_focused()
    expect(page.get_by_label("One link for all")).to_be_checked()
    expect(page.get_by_label("Title")).to_have_value("3 files")
    no_violations(page)
    page.get_by_label("Title").fill("Letters / 2026")
    page.keyboard.press("Enter")
    assert contents(archive(page)) == {"one.txt": b"first", "one (2).txt": b"another", "two.txt": b"second"}
    expect(page.locator("#ready-detail")).to_contain_text("Letters - 2026.zip\u2069 · 3 files · ")
    described = answer(page)
    assert described["original_name"] == "Letters - 2026.zip"
    assert described["content_type"] == "application/zip"
    no_violations(page)


def test_a_single_file_stays_as_it_is(page: Page) -> None:
    drop_together(page, ("one.txt", "data"))
    assert answer(page)["original_name"] == "one.txt"
    expect(page.locator("#pack")).to_be_hidden()


def test_a_folder_keeps_its_structure_names_times_and_empty_folders(page: Page, tmp_path: Path) -> None:
    files = {f"Site visit/{name}": name.encode() * (name != "empty.txt") for name in NAMES}
    write(tmp_path, files)
    (tmp_path / "Site visit" / "none" / "at all").mkdir(parents=True)
    drop_paths(page, tmp_path / "Site visit")
    expect(page.get_by_label("Title")).to_have_value("Site visit")
    expect(page.locator("#pack-rows .detail")).to_have_text(re.compile(r"5 files · \d+ bytes"))
    upload(page)
    opened = archive(page)
    assert contents(opened) == {**files, "Site visit/none/at all/": b""}
    assert {entry.date_time for entry in opened.infolist()} == {(2026, 11, 28, 10, 0, 0)}
    assert all(b"UT\x05\x00\x01" + TIME.to_bytes(4, "little") == entry.extra for entry in opened.infolist())
    assert answer(page)["original_name"] == "Site visit.zip"


def test_files_and_folders_of_several_drops_are_one_link(page: Page, tmp_path: Path) -> None:
    write(tmp_path, {"Photos/a.jpg": b"a", "Photos/b.jpg": b"b", "notes.txt": b"notes", "late.txt": b"late"})
    (tmp_path / "Empty").mkdir()
    drop_paths(page, tmp_path / "Photos", tmp_path / "notes.txt", tmp_path / "Empty")
    expect(page.get_by_role("heading", name="3 files")).to_be_visible()
    choose(page, tmp_path / "late.txt")
    expect(page.get_by_role("heading", name="4 files")).to_be_visible()
    page.get_by_role("button", name="Remove: notes.txt").click()
    expect(page.locator("#pack-rows bdi")).to_have_text(["Photos", "Empty", "late.txt"])
    upload(page)
    expected = {"Photos/a.jpg": b"a", "Photos/b.jpg": b"b", "late.txt": b"late", "Empty/": b""}
    assert contents(archive(page)) == expected
    assert answer(page)["original_name"] == "3 files.zip"


def test_each_file_gets_its_own_link_if_the_user_wants(page: Page, tmp_path: Path) -> None:
    write(tmp_path, {"Photos/a.jpg": b"a", "notes.txt": b"notes"})
    (tmp_path / "Photos" / "none").mkdir()
    drop_paths(page, tmp_path / "Photos", tmp_path / "notes.txt")
    page.get_by_label("A link for each file").check()
    expect(page.get_by_label("Title")).to_be_disabled()
    no_violations(page)
    upload(page)
    expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
    # The next files start with the default again.
    share_more(page)
    drop_together(page, ("one.txt", "data"), ("two.txt", "data"))
    expect(page.get_by_label("One link for all")).to_be_checked()


def test_the_choice_can_be_cancelled(page: Page) -> None:
    drop_together(page, ("one.txt", "data"), ("two.txt", "data"))
    page.locator("#pack-cancel").click()
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    expect(page.locator("#pack")).to_be_hidden()


def test_a_folder_without_files_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    (tmp_path / "Empty").mkdir()
    drop_paths(page, tmp_path / "Empty")
    expect(page.get_by_role("alert").filter(has_text="There are no files in this folder.")).to_be_visible()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


def test_several_files_are_pasted(page: Page) -> None:
    page.evaluate("""() => {
        const clipboardData = new DataTransfer();
        for (const name of ["a.txt", "b.txt"]) clipboardData.items.add(new File([name], name));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }""")
    upload(page)
    assert contents(archive(page)) == {"a.txt": b"a.txt", "b.txt": b"b.txt"}


def test_files_that_are_too_large_together_get_a_link_each(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Server(tmp_path_factory.mktemp("small") / "data", SHARE_MAX_FILE_SIZE="2000000") as small:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{small.port}/")
        drop_together(page, ("one.txt", "x" * 1_500_000), ("two.txt", "x" * 1_500_000))
        expect(page.get_by_label("One link for all")).to_be_disabled()
        expect(page.get_by_text("Too large for one link: this server accepts files up to 2 MB.")).to_be_visible()
        no_violations(page)
        upload(page)
        expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
        page.close()


def test_more_files_while_an_archive_is_sent_are_another_link(page: Page) -> None:
    held = hold(page, UPLOADS)
    drop_together(page, ("one.txt", "1"), ("two.txt", "2"))
    upload(page)
    expect(page.get_by_role("heading", name="Uploading 2 files as one link")).to_be_focused()
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    drop_together(page, ("three.txt", "3"), ("four.txt", "4"))
    page.get_by_label("Title").fill("More")
    upload(page)
    expect(page.locator("#rows > li")).to_have_count(2)
    until(lambda: bool(page.evaluate("true")) and len(held) == 2)
    for route in held:
        route.continue_()
    expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
    expect(row(page, "More.zip").locator(".detail")).to_contain_text("2 files · ")
