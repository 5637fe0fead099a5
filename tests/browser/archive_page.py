"""Archives from the upload page: helpers that make and read them."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import WITHIN
from tests.servers import ask

TIME = 1_795_860_001  # 2026-11-28T10:00:01Z, an odd second, which DOS times round


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder, all with the same modification time."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (TIME, TIME))
    return folder


def drop_paths(page: Page, *paths: Path) -> None:
    """Drop files and folders of this machine, as from a file manager."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    session.detach()


def upload(page: Page) -> None:
    page.locator("#pack-upload").click()


def answer(page: Page) -> Any:
    """The metadata of the uploaded file, once the upload is done."""
    expect(page.get_by_role("heading", name="Your link is ready")).to_be_visible(timeout=WITHIN)
    server, _, file_id = page.locator("#ready .field input").input_value().rpartition("/download/")
    return {"file_id": file_id, **ask("GET", f"{server}/file/metadata/{file_id}").json()}


def body(page: Page) -> bytes:
    """The bytes of the file that was just uploaded."""
    return ask("GET", answer(page)["download_link"]).content


def archive(page: Page) -> zipfile.ZipFile:
    """The archive that was just uploaded, after checking its integrity."""
    opened = zipfile.ZipFile(io.BytesIO(body(page)))
    assert opened.testzip() is None
    return opened


def contents(opened: zipfile.ZipFile) -> dict[str, bytes]:
    return {name: opened.read(name) for name in opened.namelist()}
