"""The pages in Firefox: either browser can download what the other uploaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

from share.private.chunks import decrypt_all, encrypt_all, offset_of
from share.private.keys import Key, new_salt
from share.private.metadata import FILE_CONTEXT, Metadata

from tests.browser.firefox import Firefox
from tests.client.proxy import FirstBytes, Proxy
from tests.servers import ask
from tests.wire.server import Server, until

# The link, once it is ready.
LINK = "return document.querySelector('#ready .field input')?.value"
GO_PRIVATE = """document.querySelector("#settings .chip[data-of=private]").click();
[...document.querySelectorAll("#settings label")].find((label) => label.textContent.trim() === "Private").click();
document.body.click();"""
OFFERS = "return document.querySelector('#get').checkVisibility()"
NEWS = "return document.querySelector('#news').textContent"
# Whether each download that has ended was successful.
ENDED = """const { Downloads } = ChromeUtils.importESModule("resource://gre/modules/Downloads.sys.mjs");
const downloads = await (await Downloads.getList(Downloads.ALL)).getAll();
return downloads.filter(({ stopped }) => stopped).map(({ succeeded }) => succeeded);"""
BEGUN = """const { Downloads } = ChromeUtils.importESModule("resource://gre/modules/Downloads.sys.mjs");
const downloads = await (await Downloads.getList(Downloads.ALL)).getAll();
return downloads.map(({ target }) => target.path.split("/").at(-1));"""
END_WORKERS = """const manager = Cc["@mozilla.org/serviceworkers/manager;1"].getService(Ci.nsIServiceWorkerManager);
const all = manager.getAllRegistrations();
for (let index = 0; index < all.length; index++) {
    await all.queryElementAt(index, Ci.nsIServiceWorkerRegistrationInfo).activeWorker.terminateWorker();
}
return all.length;"""


def upload(firefox: Firefox, server: Server, file: Path, script: str = "") -> str:
    """Upload a file in the page, after this script. Returns the link."""
    firefox.command("WebDriver:Navigate", url=f"http://127.0.0.1:{server.port}/")
    firefox.run("content", script)
    firefox.command("WebDriver:ElementSendKeys", id=firefox.element("#chosen"), text=str(file))
    until(lambda: firefox.run("content", LINK) is not None)
    return str(firefox.run("content", LINK))


def download(firefox: Firefox, link: str) -> None:
    firefox.command("Marionette:SetContext", value="content")
    # Between two links with a fragment, this command would not wait for the page.
    firefox.command("WebDriver:Navigate", url="about:blank")
    firefox.command("WebDriver:Navigate", url=link)
    assert firefox.run("content", "return location.href") == link
    until(lambda: firefox.run("content", OFFERS))
    firefox.command("WebDriver:ElementClick", id=firefox.element("#download"))


def test_a_file_goes_up_and_comes_back(firefox: Firefox, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "report.bin"
    file.write_bytes(os.urandom(100_000))
    download(firefox, upload(firefox, server, file))
    until(lambda: firefox.run("chrome", ENDED) == [True])
    assert (firefox.downloads / file.name).read_bytes() == file.read_bytes()


def test_a_private_file_comes_back_and_a_damaged_one_does_not(firefox: Firefox, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "plan.bin"
    file.write_bytes(os.urandom(100_000))
    link = upload(firefox, server, file, GO_PRIVATE)
    key = Key.of_link(link)
    assert key is not None
    address = f"http://127.0.0.1:{server.port}/file"
    stored = ask("GET", f"{address}/download/{link.partition('#')[0].rpartition('/')[2]}").content
    assert decrypt_all(key, FILE_CONTEXT, stored) == file.read_bytes()
    download(firefox, link)
    until(lambda: firefox.run("chrome", ENDED) == [True])
    assert (firefox.downloads / file.name).read_bytes() == file.read_bytes()
    # Before that, the browser would ask whether to leave the page.
    until(lambda: firefox.run("content", "return document.querySelector('#progress').hidden"))
    assert "decrypted and saved" in firefox.run("content", NEWS)

    text = os.urandom(100_000)
    damaged = bytearray(encrypt_all(key, new_salt(), FILE_CONTEXT, text))
    damaged[offset_of(3)] ^= 1
    encryption = json.dumps(Metadata("broken.bin", "application/octet-stream", len(text)).encrypt(key))
    answer = ask(
        "POST", f"{address}/upload", data={"encryption": encryption}, files={"file": ("encrypted", bytes(damaged))}
    )
    download(firefox, key.link(answer.json()["download_page"]))
    until(lambda: "damaged" in firefox.run("content", NEWS))
    # Whether Firefox lists the broken one depends on how early it broke.
    assert firefox.run("chrome", ENDED).count(True) == 1
    saved = firefox.downloads / "broken.bin"
    assert not saved.exists() or saved.stat().st_size < len(text)


def test_a_download_is_broken_visibly_when_firefox_ends_the_service_worker(
    firefox: Firefox, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "ended.bin"
    file.write_bytes(os.urandom(4_000_000))
    link = upload(firefox, server, file, GO_PRIVATE)
    with Proxy(server.port) as proxy:
        proxy.through = hold = FirstBytes(2_000_000, hold=True)
        download(firefox, link.replace(f"http://127.0.0.1:{server.port}", proxy.address))
        until(lambda: hold.reached.is_set() and file.name in firefox.run("chrome", BEGUN))
        assert firefox.run("chrome", END_WORKERS) > 0
        hold.release()
        # A ping finds out.
        until(lambda: "could not be saved" in firefox.run("content", NEWS))
        saved = firefox.downloads / file.name
        assert not saved.exists() or saved.stat().st_size < 4_000_000
