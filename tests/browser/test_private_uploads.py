"""Private links from the upload page: what is encrypted, what is sent, and how an upload is resumed."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, Request, Route, expect
from share.private.chunks import decrypt_all
from share.private.keys import Key
from share.private.metadata import FILE_CONTEXT, Metadata

from tests.browser.archive_page import write
from tests.browser.axe import no_violations
from tests.browser.private_files import go_private
from tests.browser.upload_page import (
    all_links,
    choose,
    delete,
    drop,
    drop_together,
    open_options,
    row,
    share_more,
)
from tests.wire.server import Server, until

MIB = 2**20
PARTS = "**/file/s3/multipart/**"
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


def read(page: Page, link: str) -> tuple[Metadata, bytes]:
    """Decrypt a file with the client's code."""
    file_id = link.partition("#")[0].rpartition("/")[2]
    key = Key.of_link(link)
    assert key is not None
    described = page.request.get(f"/file/metadata/{file_id}").json()
    metadata = Metadata.decrypt(key, described["encryption"]["metadata"])
    data = page.request.get(f"/file/download/{file_id}").body()
    assert described["original_name"] == "encrypted"
    assert described["content_type"] == "application/octet-stream"
    assert described["file_size"] == len(data)
    return metadata, decrypt_all(key, FILE_CONTEXT, data)


def test_a_file_is_encrypted_before_it_is_sent(page: Page) -> None:
    go_private(page)
    expect(page.locator("#settings .chip[data-of=private]")).to_have_text("Private link")
    drop(page, (NAME, TEXT))
    link = link_of(page)
    metadata, text = read(page, link)
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


def test_an_archive_is_encrypted_too(page: Page, tmp_path: Path) -> None:
    go_private(page)
    drop_together(page, ("one.txt", "first"), ("two.txt", "second"))
    page.locator("#pack-upload").click()
    metadata, data = read(page, link_of(page))
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


def interrupt(context: BrowserContext, file: Path) -> dict[str, Any]:
    """Upload the first part of a file and begin with the second one, then close the page. Returns what it remembers."""
    held: list[Route] = []

    def pass_the_first(route: Route) -> None:
        number = re.search(r"/([0-9]+)\?", route.request.url)
        if route.request.method == "PUT" and number is not None and number[1] != "1":
            held.append(route)
        else:
            route.continue_()

    page = context.new_page()
    page.route(PARTS, pass_the_first)
    page.goto("/")
    go_private(page)
    choose(page, file)
    # Later parts can be encrypted before the second one.
    until(lambda: bool(page.evaluate("true")) and any("/2?" in route.request.url for route in held))
    entry = "JSON.parse(Object.entries(localStorage).find(([key]) => key.startsWith('upload:'))[1])"
    begun: dict[str, Any] = page.evaluate(f"{entry}.begun")
    for route in held:
        route.abort()
    page.close()
    # What may have left the computer is known.
    assert set(begun["checksums"]) >= {"1", "2"}
    return begun


def test_an_interrupted_upload_is_resumed_with_its_key(context: BrowserContext, tmp_path: Path) -> None:
    content = bytes(range(256)) * (15 * MIB // 256)
    write(tmp_path, {"plan.bin": content})
    begun = interrupt(context, tmp_path / "plan.bin")
    page = context.new_page()
    sent = requests_of(page)
    page.goto("/")
    expect(page.get_by_text("Interrupted: choose \u2068plan.bin\u2069 again to continue")).to_be_visible()
    # The upload stays private, although the page would now send files as they are.
    choose(page, tmp_path / "plan.bin")
    link = link_of(page)
    assert link.endswith(f"#k={begun['secret']['key']}")
    addresses = " ".join(request.url for request in sent if request.method == "PUT")
    # Parts have 5 MiB.
    assert sorted(re.findall(r"/([0-9]+)\?", addresses)) == ["2", "3", "4"]
    assert read(page, link)[1] == content
    # The key is now only in the link.
    assert page.evaluate("Object.keys(localStorage)") == ["files"]


def test_a_file_that_changed_is_sent_again_with_another_key(context: BrowserContext, tmp_path: Path) -> None:
    """Same name, size and time, but another byte: in the first part, which was sent, and in one that may have been."""
    for position in (5, 8 * MIB + 5 * 1024):
        content = bytearray(10 * MIB)
        write(tmp_path, {"plan.bin": bytes(content)})
        begun = interrupt(context, tmp_path / "plan.bin")
        content[position] ^= 1
        write(tmp_path, {"plan.bin": bytes(content)})
        page = context.new_page()
        sent = requests_of(page)
        page.goto("/")
        page.locator("#interrupted-rows input").set_input_files(str(tmp_path / "plan.bin"))
        link = link_of(page)
        assert begun["secret"]["key"] not in link
        assert read(page, link)[1] == content
        # Nothing of the other text was added to the first upload, which is taken back.
        first = [request for request in sent if begun["uploadId"] in request.url]
        assert {request.method for request in first} == {"GET", "DELETE"}
        assert page.evaluate("Object.keys(localStorage)") == ["files"]
        page.evaluate("localStorage.clear()")
        page.close()


def test_a_longer_or_shorter_file_is_another_upload(context: BrowserContext, tmp_path: Path) -> None:
    content = bytes(10 * MIB)
    write(tmp_path, {"plan.bin": content})
    begun = interrupt(context, tmp_path / "plan.bin")
    for other in (content[1:], content + b"!"):
        write(tmp_path, {"plan.bin": other})
        page = context.new_page()
        page.goto("/")
        go_private(page)
        choose(page, tmp_path / "plan.bin")
        link = link_of(page)
        assert begun["secret"]["key"] not in link
        assert read(page, link)[1] == other
        page.close()


def test_a_file_that_changes_while_it_is_uploaded_is_not_sent_in_two_versions(page: Page, tmp_path: Path) -> None:
    write(tmp_path, {"plan.bin": bytes(10 * MIB)})
    held: list[Route] = []
    page.route(PARTS, lambda route: held.append(route) if route.request.method == "PUT" else route.continue_())
    go_private(page)
    choose(page, tmp_path / "plan.bin")
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    problem = {"title": "Storage full", "status": 507, "detail": "Not enough space."}
    held.pop().fulfill(status=507, content_type="application/problem+json", body=json.dumps(problem))
    expect(row(page, "plan.bin").locator(".detail")).to_have_text("Not enough space.")
    write(tmp_path, {"plan.bin": b"!" + bytes(10 * MIB - 1)})
    page.unroute(PARTS)
    row(page, "plan.bin").locator(".retry").click()
    # The first part was in a request. The file gets a new key.
    _, text = read(page, link_of(page))
    assert text == b"!" + bytes(10 * MIB - 1)


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
