"""Private links from the upload page: what is encrypted, what is sent, and how an upload is resumed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect
from share.private.metadata import Metadata

from tests.browser.archive_page import write
from tests.browser.axe import no_violations
from tests.browser.private_files import decrypted, go_private
from tests.browser.upload_page import (
    UPLOADS,
    all_links,
    choose,
    delete,
    drop,
    drop_together,
    hold,
    open_options,
    row,
    share_more,
)
from tests.client.proxy import HeldUp, Proxy
from tests.wire.server import Server, until

PART = 5 * 2**20
SIZE = PART + 100_000  # of a file in two parts
NAME = "Geheimplan 2026.txt"
TEXT = "nobody but the recipient may read this. "


def requests_of(page: Page) -> list[Request]:
    """The requests that a page makes from now on. The list grows."""
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    return requests


def link_of(page: Page) -> str:
    """The private link, once the upload is done."""
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_visible()
    return page.locator("#ready .field input").input_value()


def test_a_file_is_encrypted_before_it_is_sent(page: Page) -> None:
    go_private(page)
    expect(page.locator("#settings .chip[data-of=private]")).to_have_text("Private link")
    drop(page, (NAME, TEXT))
    link = link_of(page)
    metadata, text = decrypted(link)
    assert text.decode() == TEXT
    assert metadata == Metadata(NAME, "text/plain", len(TEXT))
    expect(page.locator("#ready-detail")).to_contain_text(f"{NAME}\u2069 · 40 bytes")
    # The server would have to know the key to draw it.
    expect(page.get_by_role("button", name="QR code")).to_be_hidden()
    no_violations(page)
    # Changes of the settings keep the link and the name.
    page.locator("#settings .chip[data-of=limit]").click()
    page.locator("#settings [name=limit]").fill("5")
    page.keyboard.press("Enter")
    expect(page.locator("#settings-state")).to_have_text("Settings saved.")
    page.reload()
    own = page.evaluate("JSON.parse(localStorage.files)[0]")
    assert (own["original_name"], own["file_size"]) == (NAME, 40)
    expect(page.locator("#file-rows .state")).to_contain_text("40 bytes · 1 of 5 downloads · private")
    # The choice is not remembered.
    expect(page.locator("#settings .chip[data-of=private]")).to_have_text("Not encrypted")


@pytest.mark.parametrize(("private", "words"), [(True, "Private link"), (False, "Not encrypted")])
def test_encryption_is_chosen_before_the_upload_begins(page: Page, private: bool, words: str) -> None:
    """Otherwise, the page would say of a file that it is private although it is not, or the reverse."""
    chip, panel = (page.locator(f"#settings {kind}[data-of=private]") for kind in (".chip", "form"))
    if private:
        go_private(page)
    chip.click()
    expect(panel).to_be_visible()
    held = hold(page, "**/file/s3/multipart" if private else UPLOADS)
    drop(page, ("plan.txt", "data"))
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    expect(chip).to_be_hidden()
    expect(panel).to_be_hidden()
    # Keyboard users do not lose their place.
    expect(page.locator("#work-title")).to_be_focused()
    held[0].continue_()
    assert ("#k=" in link_of(page)) is private
    detail = "plan.txt\u2069 · 4\u00a0bytes" + "\u00a0· private" * private
    expect(page.locator("#ready-detail")).to_have_text(f"\u2068{detail}")
    expect(chip).to_be_hidden()
    share_more(page)
    expect(chip).to_have_text(words)
    expect(chip).to_be_visible()


def test_an_archive_is_encrypted_too(page: Page, tmp_path: Path) -> None:
    go_private(page)
    drop_together(page, ("one.txt", "first"), ("two.txt", "second"))
    page.locator("#pack-upload").click()
    metadata, data = decrypted(link_of(page))
    assert metadata.name == "2 files.zip"
    assert metadata.entries is not None
    assert [(entry.name, entry.size) for entry in metadata.entries] == [("one.txt", 5), ("two.txt", 6)]
    (tmp_path / "archive.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"one.txt": b"first", "two.txt": b"second"}


def test_every_upload_has_its_own_key(page: Page) -> None:
    go_private(page)
    drop(page, ("a.txt", "same"), ("a.txt", "same"))
    expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
    assert len({link.partition("#")[2] for link in all_links(page)}) == 2


def test_the_browser_forgets_a_link_with_its_page(page: Page) -> None:
    """Who uses this browser later cannot decrypt the file, but its sender can still change and delete it."""
    go_private(page)
    drop(page, (NAME, TEXT))
    link = link_of(page)
    share_more(page)
    copy_button = page.get_by_role("button", name=f"Copy link: {NAME}")
    expect(copy_button).to_be_visible()
    open_options(page, NAME)
    expect(page.get_by_role("dialog").locator("input[readonly]")).to_have_value(link)
    assert link.partition("#k=")[2] not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    page.reload()
    expect(copy_button).to_be_hidden()
    open_options(page, NAME)
    expect(page.get_by_text("This browser has not kept the key of this link.")).to_be_visible()
    expect(page.get_by_role("dialog").locator("input[readonly]")).to_have_count(0)
    expect(page.get_by_role("dialog").locator(".chip[data-of=limit]")).to_be_visible()
    no_violations(page)
    page.get_by_role("button", name="Close").click()
    delete(page, NAME)


def test_no_key_is_stored_with_files_that_are_uploaded_later(page: Page) -> None:
    go_private(page)
    drop(page, ("a.txt", "first"), ("b.txt", "second"))
    expect(page.get_by_role("heading", name="2 links are ready")).to_be_visible()
    keys = [link.partition("#k=")[2] for link in all_links(page)]
    share_more(page)
    drop(page, ("c.txt", "third"))
    keys.append(link_of(page).partition("#k=")[2])
    stored = page.evaluate("JSON.stringify(localStorage)")
    assert "c.txt" in stored
    assert [key for key in keys if key in stored] == []


def test_the_browser_keeps_a_link_if_the_user_wants(page: Page) -> None:
    go_private(page)
    drop(page, (NAME, TEXT))
    link = link_of(page)
    page.get_by_label("Keep this link in this browser").check()
    page.reload()
    open_options(page, NAME)
    expect(page.get_by_role("dialog").locator("input[readonly]")).to_have_value(link)
    page.get_by_label("Keep this link in this browser").uncheck()
    page.reload()
    expect(page.get_by_role("button", name=f"Copy link: {NAME}")).to_be_hidden()


def test_a_link_that_was_kept_is_forgotten_with_its_file(page: Page) -> None:
    go_private(page)
    drop(page, (NAME, TEXT))
    link_of(page)
    page.get_by_label("Keep this link in this browser").check()
    share_more(page)
    delete(page, NAME)
    assert page.evaluate("Object.keys(localStorage)") == ["files"]


def test_pages_that_cannot_encrypt_say_so(context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.goto("/")
    page.locator("#settings .chip[data-of=private]").click()
    expect(page.get_by_label("Private", exact=True)).to_be_disabled()
    expect(page.get_by_text("Browsers encrypt only on secure pages.")).to_be_visible()
    no_violations(page)


@pytest.fixture
def interrupt(context: BrowserContext, proxy: Proxy) -> Iterator[Callable[[Path], Any]]:
    """Uploads the first part of a file and begins with the second one, then closes the page.

    Returns what the browser remembers.
    """
    hold = HeldUp(passing=1)

    def interrupt(file: Path) -> Any:
        proxy.before = hold
        page = context.new_page()
        page.goto(proxy.address)
        go_private(page)
        choose(page, file)
        hold.wait(proxy, held=1)
        begun = page.evaluate(
            "JSON.parse(Object.entries(localStorage).find(([key]) => key.startsWith('upload:'))[1]).begun"
        )
        page.close()
        proxy.reset()
        # What may have left the computer is known.
        assert set(begun["checksums"]) == {"1", "2"}
        return begun

    yield interrupt
    # Not before: Chromium sends a request again if its connection ends.
    hold.release()


def parts_in(proxy: Proxy) -> list[str]:
    return [seen.target.partition("?")[0].rpartition("/")[2] for seen in proxy.seen if seen.is_part]


def methods_about(begun: dict[str, Any], proxy: Proxy) -> set[str]:
    """The methods of the requests for an interrupted upload."""
    return {seen.method for seen in proxy.seen if begun["uploadId"] in seen.target}


def test_an_interrupted_upload_is_resumed_with_its_key(
    context: BrowserContext, proxy: Proxy, interrupt: Callable[[Path], Any], tmp_path: Path
) -> None:
    content = (bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]
    write(tmp_path, {"plan.bin": content})
    begun = interrupt(tmp_path / "plan.bin")
    page = context.new_page()
    page.goto(proxy.address)
    expect(page.get_by_text("Interrupted: choose \u2068plan.bin\u2069 again to continue")).to_be_visible()
    # The upload stays private, although the page would now send files as they are.
    choose(page, tmp_path / "plan.bin")
    link = link_of(page)
    assert link.endswith(f"#k={begun['secret']['key']}")
    expect(page.locator("#ready-detail")).to_contain_text("· private")
    assert parts_in(proxy) == ["2"]
    assert decrypted(link)[1] == content
    # The key is now only in the link.
    assert page.evaluate("Object.keys(localStorage)") == ["files"]


@pytest.mark.parametrize("position", [5, PART + 5 * 1024], ids=["was sent", "may have been sent"])
def test_a_file_that_changed_is_sent_again_with_another_key(
    context: BrowserContext, proxy: Proxy, interrupt: Callable[[Path], Any], tmp_path: Path, position: int
) -> None:
    """Same name, size and time, but another byte in a part that was sent or may have been."""
    content = bytearray(SIZE)
    write(tmp_path, {"plan.bin": bytes(content)})
    begun = interrupt(tmp_path / "plan.bin")
    content[position] ^= 1
    write(tmp_path, {"plan.bin": bytes(content)})
    page = context.new_page()
    page.goto(proxy.address)
    page.locator("#interrupted-rows input").set_input_files(str(tmp_path / "plan.bin"))
    link = link_of(page)
    assert begun["secret"]["key"] not in link
    assert decrypted(link)[1] == content
    # Nothing of the other text was added to the first upload, which is taken back.
    until(lambda: "DELETE" in methods_about(begun, proxy))
    assert methods_about(begun, proxy) == {"GET", "DELETE"}
    assert page.evaluate("Object.keys(localStorage)") == ["files"]


def test_a_longer_or_shorter_file_is_another_upload(
    context: BrowserContext, proxy: Proxy, interrupt: Callable[[Path], Any], tmp_path: Path
) -> None:
    content = bytes(SIZE)
    write(tmp_path, {"plan.bin": content})
    begun = interrupt(tmp_path / "plan.bin")
    for other in (content[1:], content + b"!"):
        write(tmp_path, {"plan.bin": other})
        page = context.new_page()
        page.goto(proxy.address)
        go_private(page)
        choose(page, tmp_path / "plan.bin")
        link = link_of(page)
        assert begun["secret"]["key"] not in link
        assert decrypted(link)[1] == other
        page.close()


def test_a_file_that_changes_while_it_is_uploaded_is_not_sent_in_two_versions(
    page: Page, proxy: Proxy, tmp_path: Path
) -> None:
    write(tmp_path, {"plan.bin": bytes(SIZE)})
    problem = json.dumps({"title": "Storage full", "status": 507, "detail": "Not enough space."}).encode()
    proxy.before = lambda seen: (507, {"Content-Type": "application/problem+json"}, problem) if seen.is_part else None
    page.goto(proxy.address)
    go_private(page)
    choose(page, tmp_path / "plan.bin")
    expect(row(page, "plan.bin").locator(".detail")).to_have_text("Not enough space.")
    assert parts_in(proxy) == ["1"]
    write(tmp_path, {"plan.bin": b"!" + bytes(SIZE - 1)})
    proxy.reset()
    row(page, "plan.bin").locator(".retry").click()
    # The first part was in a request. The file gets a new key.
    _, text = decrypted(link_of(page))
    assert text == b"!" + bytes(SIZE - 1)


def test_nothing_of_the_file_leaves_the_browser(page: Page, server: Server, tmp_path: Path) -> None:
    requests = requests_of(page)
    go_private(page)
    drop(page, (NAME, TEXT * 1000))
    link = link_of(page)
    key = link.partition("#k=")[2]
    secrets = [key.encode(), NAME.encode(), NAME[:8].encode(), TEXT.encode(), TEXT[:20].encode()]
    assert any(request.method == "PUT" for request in requests)
    for request in requests:
        seen = [request.url.encode(), repr(request.all_headers()).encode(), request.post_data_buffer or b""]
        for secret in secrets:
            assert not any(secret in each for each in seen), request.url
        assert "/qr." not in request.url
    # Neither do addresses that the browser remembers, nor states that go with them.
    history = page.evaluate("navigation.entries().map((entry) => [entry.url, entry.getState()])")
    assert not any(secret.decode() in repr([history, page.evaluate("history.state")]) for secret in secrets)
    stored = [path for path in server.data.rglob("*") if path.is_file()]
    assert len(stored) > 1
    for path in [*stored, server.data.with_suffix(".log")]:
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path
