"""The command `share`: one module for each group of commands."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from share import __version__
from share.commands import down, files, inbox, up
from share.reporting import report_unexpected
from share.settings import app_dir

EXIT_STATUSES = """
Exit status (for several files, the highest): 0 done; 2 wrong usage or settings; 3 no such file; 4 expired,
closed, or download limit reached; 5 password or token missing or wrong; 6 damaged in transit; 7 server unreachable or
busy, try again; 8 a local file cannot be read or written; 9 request refused by the server; 130 interrupted

Settings: options first, then SHARE_SERVER and SHARE_TOKEN, then server = "URL" and token = "TOKEN" in {config}.
Passwords are read from SHARE_PASSWORD, or the client asks for them.
"""

app = typer.Typer(
    name="share",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Share files by link.",
    epilog=EXIT_STATUSES.format(config=app_dir() / "config.toml"),
)


def show_version(requested: bool) -> None:
    if requested:
        print(f"share {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """What holds for all commands."""


app.command()(up.up)
app.command()(down.down)
app.command()(files.info)
app.command("ls")(files.list_files)
app.command("set")(files.change)
app.command("rm")(files.remove)
app.add_typer(inbox.app, name="inbox")


def main() -> None:
    """Run the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Show characters that the terminal lacks as escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="share")
    except Exception as error:
        report_unexpected(error)
        sys.exit(1)
