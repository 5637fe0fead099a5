"""What several commands have: arguments, options, settings, and the report of errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated

import typer

from share.reporting import reporting
from share.screen import Screen
from share.settings import Settings

LinkArgument = Annotated[
    str, typer.Argument(metavar="LINK", help="Download link, landing page, or file ID; its first digits are enough.")
]
LinksArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="LINK...", help="Download links, landing pages, or file IDs; the first digits of an ID are enough."
    ),
]
ServerOption = Annotated[
    str | None, typer.Option("--server", "-s", envvar="SHARE_SERVER", help="Base URL of the server.", metavar="URL")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SHARE_TOKEN",
        show_envvar=True,
        help="Access token. Prefer SHARE_TOKEN: other users of this machine can see command lines.",
        metavar="TOKEN",
    ),
]
DeleteTokenOption = Annotated[
    str | None,
    typer.Option("--token", help="Delete token, if you uploaded the file from elsewhere.", metavar="TOKEN"),
]
QrOption = Annotated[bool, typer.Option("--qr", help="Also show the link as a QR code.")]
CopyOption = Annotated[bool, typer.Option("--copy", help="Also copy the link to the clipboard.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per file, each on its own line.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show only results, warnings and errors.")]


@contextlib.contextmanager
def command(
    server: str | None, *, token: str | None = None, as_json: bool = False, quiet: bool = False
) -> Iterator[tuple[Screen, Settings]]:
    """Read the settings, with the token in SHARE_TOKEN unless there is an option for it, and report errors."""
    screen = Screen(as_json=as_json, quiet=quiet)
    with reporting(screen):
        yield screen, Settings.load(server, token or os.environ.get("SHARE_TOKEN"), screen.warn)
