"""Private files that the client's code encrypts, for tests of the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

from playwright.sync_api import Page
from share.private.chunks import decrypt_all, encrypt_all
from share.private.keys import Key, new_salt
from share.private.metadata import FILE_CONTEXT, Metadata

from tests.servers import ask

NO_PICKER = "delete window.showSaveFilePicker;"
# Saves into the site's own storage, because a test cannot use the dialog.
PICKER = """window.showSaveFilePicker = async ({ suggestedName }) => {
    const folder = await navigator.storage.getDirectory();
    return folder.getFileHandle(suggestedName, { create: true });
};"""
IN_MEMORY = NO_PICKER + "Object.defineProperty(Navigator.prototype, 'serviceWorker', { value: undefined });"
SAVED = """async () => {
    const files = {};
    for await (const [name, handle] of (await navigator.storage.getDirectory()).entries()) {
        files[name] = await (await handle.getFile()).text();
    }
    return files;
}"""
# The SHA-256 of a file that was saved there.
DIGEST = """async (name) => {
    const folder = await navigator.storage.getDirectory();
    const file = await (await folder.getFileHandle(name)).getFile();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}"""


def same(data: bytes) -> bytes:
    return data


def put(
    server: str,
    text: bytes,
    name: str = "plan.txt",
    *,
    change: Callable[[bytes], bytes] = same,
    entries: list[Any] | None = None,
    size: int | None = None,
    **options: str,
) -> str:
    """Upload an encrypted text, after `change` of the encrypted bytes, to the server of this address.

    Returns the private link, without the host.
    """
    key = Key.generate()
    metadata = Metadata(name, "text/plain", len(text) if size is None else size, entries)
    answer = ask(
        "POST",
        urljoin(server, "/file/upload"),
        data={**options, "encryption": json.dumps(metadata.encrypt(key))},
        files={"file": ("encrypted", change(encrypt_all(key, new_salt(), FILE_CONTEXT, text)))},
    )
    assert answer.status_code == 201, answer.text
    return key.link(f"/download/{answer.json()['file_id']}")


def go_private(page: Page) -> None:
    page.locator("#settings .chip[data-of=private]").click()
    page.get_by_label("Private", exact=True).check()
    page.keyboard.press("Enter")


def press(page: Page) -> None:
    page.get_by_role("button", name="Download").click()


def decrypted(link: str) -> tuple[Metadata, bytes]:
    """Download and decrypt a file with the client's code."""
    address, _, file_id = link.partition("#")[0].partition("/download/")
    key = Key.of_link(link)
    assert key is not None
    described = ask("GET", f"{address}/file/metadata/{file_id}").json()
    metadata = Metadata.decrypt(key, described["encryption"]["metadata"])
    data = ask("GET", f"{address}/file/download/{file_id}").content
    assert described["original_name"] == "encrypted"
    assert described["content_type"] == "application/octet-stream"
    assert described["file_size"] == len(data)
    return metadata, decrypt_all(key, FILE_CONTEXT, data)
