"""Output to a terminal or its replacement: results, messages and a QR code."""

from __future__ import annotations

import base64
import codecs
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pyperclip
import segno
from rich.console import Console, OverflowMethod
from rich.text import Text

from share.text import printable

# Words of this length are for copying: an ID has 36 characters.
MIN_COPIED = 32


class Screen:
    """Prints results to standard output, and everything for people to standard error."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        # What errors are about, if that is not clear.
        self.subject = ""
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def json(self, value: dict[str, Any]) -> None:
        """Print an object on one line, in ASCII: any terminal can show it, and nothing in it affects the terminal."""
        print(json.dumps(value).replace("\x7f", "\\u007f"), flush=True)

    def note(self, text: str, style: str = "") -> None:
        if not self.quiet:
            self._say(text, style)

    def warn(self, text: str) -> None:
        self._say(f"warning: {text}", "yellow")

    def error(self, text: str) -> None:
        self._say(f"error: {self.subject}{text}", "red")

    def _say(self, text: str, style: str) -> None:
        self.err.print(Text(_wrapped(self.err, self.shown(text)), style), soft_wrap=True)

    def can_show(self, text: str) -> bool:
        try:
            text.encode(self.err.encoding)
        except UnicodeEncodeError:
            return False
        return True

    @property
    def overflow(self) -> OverflowMethod:
        """How to shorten text that is too long for its column."""
        return "ellipsis" if self.can_show("…") else "crop"

    def shown(self, text: str) -> str:
        """The text as it will be shown, for its width: characters that the terminal lacks become escapes."""
        if not self.can_show("…"):
            text = text.replace("…", "...")
        return printable(text).encode(self.err.encoding, "backslashreplace").decode(self.err.encoding)

    def path(self, path: Path) -> None:
        """Print a path: readable for people, or unchanged for scripts."""
        if self.out.is_terminal:
            print(printable(str(path)))
            return
        encoding = sys.stdout.encoding
        unusual = "surrogateescape" if codecs.lookup(encoding).name == "utf-8" else "backslashreplace"
        sys.stdout.flush()
        sys.stdout.buffer.write(f"{path}\n".encode(encoding, unusual))

    def copy(self, text: str) -> None:
        """Copy to the clipboard of this machine, or else of the terminal, which may be on another machine (OSC 52)."""
        try:
            pyperclip.copy(text)
        except pyperclip.PyperclipException:
            if not self.err.is_terminal:
                self.warn("There is no clipboard to copy the link to.")
                return
            sys.stderr.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
            sys.stderr.flush()

    def qr_code(self, link: str) -> None:
        segno.make(link, micro=False).terminal(out=sys.stderr, compact=self.can_show("▀▄█"))

    def facts(self, rows: dict[str, str], console: Console) -> None:
        """Show names and values. Those without a value are left out."""
        width = max(map(len, rows)) + 2
        for name, value in rows.items():
            if not value:
                continue
            text = self.shown(value)
            # Links, IDs and checksums stay on one line, so that they can be copied. The terminal wraps it.
            if all(len(word) < MIN_COPIED for word in text.split()):
                text = _wrapped(console, text, width)
            console.print(Text.assemble((f"{name:<{width}}", "dim"), text), soft_wrap=True)


def _wrapped(console: Console, text: str, indent: int = 0) -> str:
    """The text with line breaks between words, if it is for a terminal. Longer words stay whole."""
    if not console.is_terminal:
        return text
    width = max(console.width - indent, 1)
    return f"\n{' ' * indent}".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))
