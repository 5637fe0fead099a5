"""The terminal, or what takes its place: results, messages and a QR code."""

from __future__ import annotations

import base64
import codecs
import json
import sys
from pathlib import Path
from typing import Any

import pyperclip
import segno
from rich.console import Console, OverflowMethod
from rich.text import Text

from share.text import printable


class Screen:
    """Results on standard output, everything for people on standard error."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def json(self, value: dict[str, Any]) -> None:
        """One object, one line, in ASCII: any terminal shows it, and nothing in it acts there."""
        print(json.dumps(value).replace("\x7f", "\\u007f"), flush=True)

    def note(self, text: str, style: str = "") -> None:
        if not self.quiet:
            self._say(text, style)

    def warn(self, text: str) -> None:
        self._say(f"warning: {text}", "yellow")

    def error(self, text: str) -> None:
        self._say(f"error: {text}", "red")

    def _say(self, text: str, style: str) -> None:
        self.err.print(Text(self.shown(text), style), soft_wrap=True)

    def can_show(self, text: str) -> bool:
        try:
            text.encode(self.err.encoding)
        except UnicodeEncodeError:
            return False
        return True

    @property
    def overflow(self) -> OverflowMethod:
        """What happens to text that is too long for its column."""
        return "ellipsis" if self.can_show("…") else "crop"

    def shown(self, text: str) -> str:
        """The text as wide as it will be shown: what the terminal lacks becomes an escape."""
        if not self.can_show("…"):
            text = text.replace("…", "...")
        return printable(text).encode(self.err.encoding, "backslashreplace").decode(self.err.encoding)

    def path(self, path: Path) -> None:
        """A path for a person to read, or exactly as it is for a script."""
        if self.out.is_terminal:
            print(printable(str(path)))
            return
        encoding = sys.stdout.encoding
        unusual = "surrogateescape" if codecs.lookup(encoding).name == "utf-8" else "backslashreplace"
        sys.stdout.flush()
        sys.stdout.buffer.write(f"{path}\n".encode(encoding, unusual))

    def copy(self, text: str) -> None:
        """To the clipboard: of this machine, or else of the terminal, which may be on another one (OSC 52)."""
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
        width = max(map(len, rows))
        for name, value in rows.items():
            # The terminal breaks long lines, so that a link in them can still be copied.
            console.print(Text.assemble((f"{name:<{width}}  ", "dim"), value), soft_wrap=True)
