"""Headless Firefox over Marionette, its own protocol, so no driver is needed."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

from tests.wire.server import WITHIN, until

# All traffic except loopback goes to a proxy that does not exist, so Firefox cannot even reach a name server.
PREFERENCES = {
    "marionette.port": 0,
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "browser.download.folderList": 2,
}

# Only for the page: the preference for it would paint Firefox's own windows again, which takes four times as long.
PREFER = "gBrowser.selectedBrowser.browsingContext.prefersColorSchemeOverride = arguments[0]"

# Ends and forgets downloads, and deletes what sites have stored.
FORGET = """
const { Downloads } = ChromeUtils.importESModule("resource://gre/modules/Downloads.sys.mjs");
const downloads = await Downloads.getList(Downloads.ALL);
for (const download of await downloads.getAll()) {
    await downloads.remove(download);
    await download.finalize(true);
}
await new Promise((resolve) => Services.clearData.deleteData(
    Ci.nsIClearDataService.CLEAR_ALL, { onDataDeleted: resolve },
));
"""


class Firefox:
    """Firefox with a new profile in `folder`, while its context lasts. It saves files to `downloads`."""

    def __init__(self, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self._profile = folder / "profile"
        self._log = folder / "firefox.log"

    def __enter__(self) -> Self:
        self.downloads.mkdir()
        self._profile.mkdir()
        preferences = {**PREFERENCES, "browser.download.dir": str(self.downloads)}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
        (self._profile / "user.js").write_text("\n".join(lines))
        options = ["--headless", "--no-remote", "--marionette", "--remote-allow-system-access"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["firefox-esr", *options, "--profile", self._profile], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            until(self._listens)
            port = int((self._profile / "MarionetteActivePort").read_text())
            self._connection = socket.create_connection(("127.0.0.1", port), WITHIN)
            self._answers = self._connection.makefile("rb")
            self._read()
            # Firefox shows a dialog when a download breaks, which would end whatever command comes next.
            self.command("WebDriver:NewSession", unhandledPromptBehavior="dismiss")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._kill()
        self._answers.close()
        self._connection.close()

    def forget(self) -> None:
        """Leave the current page, and forget what happened until now."""
        self.command("Marionette:SetContext", value="content")
        self.command("WebDriver:Navigate", url="about:blank")
        # Only now, because the page could have stored something again.
        self.run("chrome", FORGET)
        self.run("chrome", PREFER, "none")
        self.command("Marionette:SetContext", value="content")
        for file in self.downloads.iterdir():
            file.unlink()

    def command(self, name: str, **parameters: Any) -> Any:
        """The result of a WebDriver or Marionette command."""
        message = json.dumps([0, 1, name, parameters]).encode()
        self._connection.sendall(b"%d:%b" % (len(message), message))
        _type, _id, error, result = self._read()
        assert error is None, error
        return result.get("value")

    def run(self, context: str, script: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page ("content") or as Firefox's own code ("chrome").

        Global variables last until the next page.
        """
        self.command("Marionette:SetContext", value=context)
        script = f"return (async () => {{ {script} }})()"
        return self.command("WebDriver:ExecuteScript", script=script, args=arguments, newSandbox=False)

    def element(self, selector: str) -> str:
        """The ID of the first matching element of the page."""
        self.command("Marionette:SetContext", value="content")
        reference = self.command("WebDriver:FindElement", using="css selector", value=selector)
        (element_id,) = reference.values()
        return str(element_id)

    def prefer_scheme(self, scheme: str) -> None:
        """Let the page see that the user prefers "light" or "dark"."""
        self.run("chrome", PREFER, scheme)
        applies = f"return matchMedia('(prefers-color-scheme: {scheme})').matches"
        until(lambda: bool(self.run("content", applies)))

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(errors="replace")
        port = self._profile / "MarionetteActivePort"
        return port.exists() and port.read_text() != ""

    def _read(self) -> Any:
        """Read a message: its length in bytes, a colon, and its text."""
        length = b""
        while (digit := self._answers.read(1)) != b":":
            assert digit, "Firefox closed the connection"
            length += digit
        return json.loads(self._answers.read(int(length)))

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
