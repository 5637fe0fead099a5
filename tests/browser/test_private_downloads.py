"""Private files on their page: what it shows, how it saves, and that nothing broken looks whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect
from share.answers import ArchiveEntry
from share.private.chunks import decrypt_all, encrypted_size, offset_of
from share.private.keys import Key
from share.private.metadata import FILE_CONTEXT

from local import aws
from local.template import Template
from local.template import read as read_template
from tests.browser.archive_page import write
from tests.browser.axe import no_violations
from tests.browser.private_files import DIGEST, IN_MEMORY, NO_PICKER, PICKER, SAVED, go_private, press, put
from tests.browser.upload_page import all_links, choose, upload_each
from tests.client.private_vectors import text_of
from tests.servers import ask, moto_server
from tests.wire.server import ROOT, Server

MIB = 2**20
BUCKET = "shares"
TEXT = b"nobody but the recipient may read this. " * 5000
NAME = "Geheimplan 2026.txt"


# Lists what the page writes into the history.
HISTORY = """window.written = [];
for (const name of ["pushState", "replaceState"]) {
    History.prototype[name] = (...all) => written.push([name, ...all].join(" "));
}"""


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that shows nothing yet, because these tests do not use the upload page."""
    return context.new_page()


def id_of(link: str) -> str:
    return link.partition("#")[0].rpartition("/")[2]


def count_of(page: Page, link: str) -> int:
    count: int = page.request.get(f"/file/metadata/{id_of(link)}").json()["download_count"]
    return count


def read(page: Page, way: str) -> bytes:
    """Download the file of this page in one of the ways to save."""
    if way == PICKER:
        press(page)
        expect(page.get_by_text("The file was decrypted and saved.")).to_be_visible()
        files: dict[str, str] = page.evaluate(SAVED)
        assert list(files) == [NAME]
        return files[NAME].encode()
    with page.expect_download() as download:
        press(page)
    assert download.value.suggested_filename == NAME
    content = Path(download.value.path()).read_bytes()
    expect(page.get_by_text("The file was decrypted and saved.")).to_be_visible()
    return content


@pytest.mark.parametrize("way", [PICKER, NO_PICKER, IN_MEMORY], ids=["picker", "service worker", "memory"])
def test_the_page_shows_and_saves_a_private_file(context: BrowserContext, server: Server, way: str) -> None:
    requests: list[Request] = []
    context.on("request", lambda request: requests.append(request))
    page = context.new_page()
    page.add_init_script(way)
    page.add_init_script(HISTORY)
    for text in (TEXT, b""):
        link = put(server.address, text, NAME)
        page.goto(link)
        expect(page.get_by_role("heading", name=NAME)).to_be_visible()
        expect(page.locator("#about")).to_have_text("200 kB" if text else "0 bytes")
        assert count_of(page, link) == 0
        assert read(page, way) == text
        assert count_of(page, link) == 1
        # The key goes nowhere, and neither does what it decrypts.
        key = link.partition("#k=")[2].encode()
        assert requests != []
        for request in requests:
            seen = [request.url.encode(), repr(request.all_headers()).encode(), request.post_data_buffer or b""]
            address, headers, body = seen
            assert key not in address.partition(b"#")[0] + headers + body, request.url
            assert not any(word in each for word in (NAME.encode(), b"Geheimplan", b"recipient") for each in seen)
            assert "/qr." not in request.url
        # The address that the user opened is all that the browser remembers.
        assert page.evaluate("written") == []
        assert page.evaluate("navigation.currentEntry.url").endswith(link)
        assert key not in server.data.with_suffix(".log").read_bytes()
        requests.clear()
    no_violations(page)


def test_a_link_without_its_key_asks_for_it(page: Page, server: Server) -> None:
    link = put(server.address, TEXT, NAME)
    page.add_init_script(PICKER)
    page.goto(link.partition("#")[0])
    expect(page.get_by_text("This link has no key")).to_be_visible()
    expect(page.get_by_role("button", name="Download")).to_be_hidden()
    no_violations(page)
    for wrong, words in (("k=short", "incomplete"), ("#k=AAAAAAAAAAAAAAAAAAAAAA", "This key is wrong")):
        page.get_by_label("Private link or key").fill(wrong)
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#key-error")).to_contain_text(words)
        expect(page.locator("#key-reason")).to_have_text("")
    no_violations(page)
    page.get_by_label("Private link or key").fill(f"https://files.example.org{link}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=NAME)).to_be_visible()
    # The address, which the browser remembers, stays without the key.
    assert "#" not in page.url
    assert read(page, PICKER) == TEXT


def test_a_password_is_asked_for_too_and_the_last_download_is_said(page: Page, server: Server) -> None:
    page.add_init_script(PICKER)
    link = put(server.address, TEXT, NAME, password="swordfish", max_downloads="1")
    page.goto(link)
    expect(page.get_by_text("This link works once.")).to_be_visible()
    page.get_by_label("Password").fill("wrong")
    press(page)
    expect(page.get_by_text("Wrong password. Try again.")).to_be_visible()
    assert page.evaluate(SAVED) == {}
    page.get_by_label("Password").fill("swordfish")
    press(page)
    expect(page.get_by_text("The link has now reached its download limit")).to_be_visible()
    assert page.evaluate(SAVED) == {NAME: TEXT.decode()}


def test_the_entries_of_an_archive_are_shown_without_a_download(page: Page, server: Server) -> None:
    entries = [ArchiveEntry("photos/", 0, None), ArchiveEntry("photos/1.jpg", 41_000, None)]
    link = put(server.address, b"PK", "photos.zip", entries=entries, max_downloads="1")
    page.goto(link)
    page.get_by_text("Files in this archive").click()
    expect(page.locator("#entries li")).to_have_text(["photos/1.jpg · 41 kB"])
    assert count_of(page, link) == 0


def test_names_that_mislead_are_shown_and_saved_as_they_are(page: Page, server: Server) -> None:
    """A reversed direction makes "cod.exe" look like "exe.doc"."""
    name, safe = "plan\u202exslx\x07.exe", "plan\ufffdxslx\ufffd.exe"
    entries = [ArchiveEntry("photos/\u2066gpj.exe", 41_000, None)]
    link = put(server.address, TEXT, name, entries=entries)
    page.add_init_script(NO_PICKER)
    page.goto(link)
    expect(page.get_by_role("heading", name=safe)).to_be_visible()
    assert page.title() == safe
    page.get_by_text("Files in this archive").click()
    expect(page.locator("#entries bdi")).to_have_text("photos/\ufffdgpj.exe")
    with page.expect_download() as download:
        press(page)
    assert download.value.suggested_filename == safe.replace("\ufffd", "-")
    assert Path(download.value.path()).read_bytes() == TEXT


def flipped(data: bytes) -> bytes:
    """With another bit in the fourth chunk."""
    place = offset_of(3) + 7
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("way", [PICKER, NO_PICKER, IN_MEMORY], ids=["picker", "service worker", "memory"])
def test_a_damaged_file_is_not_saved(page: Page, server: Server, way: str) -> None:
    page.add_init_script(way)
    page.goto(put(server.address, TEXT, NAME, change=flipped))
    if way == NO_PICKER:
        with page.expect_download() as download:
            press(page)
        assert download.value.failure() is not None
    else:
        press(page)
    expect(page.get_by_text("This file was damaged or replaced")).to_be_visible()
    no_violations(page)
    assert page.evaluate(SAVED) == {}


@pytest.mark.parametrize(
    ("change", "size"),
    [
        (lambda data: data[: offset_of(2)], None),
        (lambda data: data[: offset_of(2) + 20], None),
        (lambda data: data + b"!", None),
        (lambda data: data, 7),
    ],
    ids=["after a chunk", "in a chunk", "longer", "another size"],
)
def test_a_file_that_was_cut_is_not_even_offered(
    page: Page, server: Server, change: Callable[[bytes], bytes], size: int | None
) -> None:
    page.goto(put(server.address, TEXT, NAME, change=change, size=size))
    expect(page.get_by_text("This file was cut off")).to_be_visible()
    expect(page.get_by_role("button", name="Download")).to_be_hidden()


def test_storage_serves_private_files_after_a_redirect(page: Page, tmp_path: Path) -> None:
    page.add_init_script(PICKER)
    # Two pieces, both too large for the server itself.
    text = text_of(10 * MIB)
    with moto_server() as s3:
        # The bucket is configured as on AWS, including its CORS rules.
        (rules,) = read_template(ROOT / "template.yaml").cors.values()
        aws.provide(Template({}, (), (BUCKET,), (), cors={BUCKET: rules}), "", s3.environment())
        variables = {**s3.environment(), "SHARE_STORAGE": f"s3://{BUCKET}", "SHARE_INLINE_LIMIT": str(MIB)}
        with Server(tmp_path / "data", **variables) as server:
            moved: list[Request] = []
            page.on("request", lambda request: moved.append(request) if request.url.startswith(s3.endpoint) else None)
            size = encrypted_size(len(text))
            pieces = [f"bytes=0-{8 * MIB - 1}", f"bytes={8 * MIB}-{size - 1}"]
            unlimited = put(server.address, text, NAME)
            limited = put(server.address, text, NAME, max_downloads="2")
            # With a download limit, every redirect counts, so there is one.
            for link, ranges in ((unlimited, pieces), (limited, [None])):
                page.goto(f"{server.address}{link}")
                press(page)
                expect(page.get_by_text("The file was decrypted and saved.")).to_be_visible()
                assert [request.all_headers().get("range") for request in moved] == ranges
                assert server.metadata(id_of(link))["download_count"] == 1
                assert page.evaluate(DIGEST, NAME) == hashlib.sha256(text).hexdigest()
                moved.clear()
            page.close()


SIZES = [0, 1, 16_383, 16_384, 16_385, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1]


def test_page_and_client_read_what_the_other_encrypts(page: Page, server: Server, tmp_path: Path) -> None:
    texts = {f"{size}.bin": text_of(size) for size in SIZES}
    write(tmp_path, texts)
    page.goto("/")
    go_private(page)
    choose(page, *(tmp_path / name for name in texts))
    upload_each(page)
    expect(page.get_by_role("heading", name=f"{len(SIZES)} links are ready")).to_be_visible()
    links = dict(zip(texts, all_links(page), strict=True))
    page.add_init_script(PICKER)
    for name, text in texts.items():
        encrypted = ask("GET", f"{server.address}/file/download/{id_of(links[name])}").content
        key = Key.of_link(links[name])
        assert key is not None
        assert decrypt_all(key, FILE_CONTEXT, encrypted) == text
        page.goto(put(server.address, text, name))
        press(page)
        expect(page.get_by_text("The file was decrypted and saved.")).to_be_visible()
        assert page.evaluate(DIGEST, name) == hashlib.sha256(text).hexdigest()
