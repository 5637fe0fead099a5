"""The commands."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import segno
import typer

from share.download import Download, write_out
from share.faults import Exit, Fault
from share.memory import delete_token_memory
from share.names import safe_name
from share.passwords import given_password, new_password
from share.reporting import reporting
from share.screen import Screen, show_file, show_list
from share.server import Server, header_value, json_object
from share.settings import Settings, app_dir, parse_duration, parse_link
from share.source import Options, Source
from share.text import human_size, human_time, printable
from share.upload import SMALL, Upload

EXIT_STATUSES = """
Exit status: 0 done · 2 wrong usage or settings · 3 no such file · 4 expired or used up · 5 a password or token is
missing or wrong · 6 the bytes are not the ones that were sent · 7 the server cannot be reached or is busy, try again ·
8 a file here cannot be read or written · 9 the server refuses the request · 130 interrupted

Settings: the options, else SHARE_SERVER and SHARE_TOKEN, else server = "…" and token = "…" in {config}.
A password comes from SHARE_PASSWORD, else it is asked for.
"""

app = typer.Typer(
    name="share",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Send files by link, and fetch them.",
    epilog=EXIT_STATUSES.format(config=app_dir() / "config.toml"),
)

ServerOption = Annotated[
    str | None, typer.Option("--server", "-s", envvar="SHARE_SERVER", help="Base URL of the server.", metavar="URL")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SHARE_TOKEN",
        show_envvar=True,
        help="API token. Others on this machine can see options: rather set the variable.",
        metavar="TOKEN",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object per file and line.")]
LinkArgument = Annotated[str, typer.Argument(metavar="LINK", help="Download link, landing page, or file ID.")]


@app.command()
def up(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, or - for standard input.")],
    expires: Annotated[str | None, typer.Option(help="Until when: 30m, 12h, 7d, 2w.", metavar="TIME")] = None,
    downloads: Annotated[int | None, typer.Option(min=1, help="How many downloads.", metavar="N")] = None,
    password: Annotated[bool, typer.Option("--password", help="Protect with SHARE_PASSWORD, or ask for one.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Send under this name.", metavar="NAME")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Show the link as a QR code too.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Print links to the bytes, not to a page.")] = False,
    server: ServerOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send files and print their links. What broke off goes on when the same command is run again."""
    screen = Screen(as_json)
    with reporting(screen):
        if name is not None and len(files) > 1:
            raise Fault(Exit.USAGE, "--name is for one file.")
        if files.count("-") > 1:
            raise Fault(Exit.USAGE, "Standard input can be sent only once.")
        settings = Settings.load(server, token)
        address = settings.required_server()
        chosen = Options(
            None if expires is None else parse_duration(expires), downloads, new_password() if password else None
        )
        with Server(address, settings.token_for(address), chosen.password) as api:
            for number, path in enumerate(files):
                if number and not as_json:
                    screen.note("")
                _send(screen, api, path, name, chosen, qr=qr, direct=direct)


def _send(
    screen: Screen, api: Server, path: str, name: str | None, options: Options, *, qr: bool, direct: bool
) -> None:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(Source.open(path, name))
        if source.path is None:
            resumption = "What comes from a pipe cannot be resumed: send it again."
        elif source.size is not None and source.size > SMALL:
            resumption = "Run the same command again to resume."
        else:
            resumption = "Nothing was sent; run the same command again."
        stack.enter_context(reporting(screen, resumption))
        with screen.progress(source.name, source.size) as advance:
            upload = Upload(api, source, options, advance)
            answer = upload.run()
        file_id, verified = str(answer["file_id"]), answer.get("sha256") == upload.sha256
        if answer["file_size"] != upload.sent or (answer.get("sha256") is not None and not verified):
            headers = {"X-Delete-Token": header_value("delete token", str(answer["delete_token"]))}
            api.request("DELETE", f"/file/{file_id}", headers=headers)
            raise Fault(Exit.DAMAGED, "The server stored other bytes than were sent. They were deleted again.")
        kept = {"delete_token": answer["delete_token"], "original_name": answer["original_name"]}
        delete_token_memory(api.address, file_id).save(kept)
        link = str(answer["download_link"] if direct else answer.get("download_page") or answer["download_link"])
        if screen.as_json:
            screen.json({**answer, "sha256": upload.sha256, "verified": verified})
        else:
            screen.facts(
                {
                    "sent": f"{printable(str(answer['original_name']))}, {human_size(upload.sent)}",
                    "SHA-256": f"{upload.sha256}{' (verified by the server)' if verified else ''}",
                    "expires": human_time(answer.get("expires_at")),
                    "downloads": str(answer.get("max_downloads") or "any number"),
                    "delete": f"share rm {file_id}",
                },
                screen.err,
            )
            print(printable(link), flush=True)
        if qr:
            segno.make(link, micro=False).terminal(out=sys.stderr, compact=True)


@app.command()
def down(
    link: LinkArgument,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="File, directory, or - for standard output.", metavar="PATH")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a file that is there.")] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a file and check it. What broke off goes on when the same command is run again."""
    screen = Screen(as_json)
    with reporting(screen):
        address, file_id = parse_link(link, Settings.load(server, None))
        with Server(address, None) as api:
            known = api.metadata(file_id)
            name, size = str(known["original_name"]), int(known["file_size"])
            password = given_password(screen) if known.get("password_protected") else None
            if output == "-":
                with reporting(screen, "What goes to standard output cannot be resumed."):
                    write_out(api, file_id, known, password)
                return
            target = Path(output or safe_name(name))
            if target.is_dir():
                target = target / safe_name(name)
            download = Download(api, file_id, known, password, target, force=force)
            download.prepare()
            with reporting(screen, "Run the same command again to resume."):
                if download.resumed_at:
                    screen.note(f"Resuming at {human_size(download.resumed_at)}.", "dim")
                with screen.progress(name, size) as advance:
                    download.run(advance)
    verified = known.get("sha256") is not None
    if as_json:
        screen.json(
            {
                "file_id": file_id,
                "path": str(target.resolve()),
                "file_size": size,
                "sha256": download.sha256,
                "verified": verified,
                "resumed_at": download.resumed_at,
            }
        )
    else:
        checked = "SHA-256 verified" if verified else "size verified, its SHA-256 is not known to the server"
        screen.note(f"{human_size(size)}, {checked}", "dim")
        print(printable(str(target)))


@app.command()
def info(link: LinkArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a file. Looking never counts."""
    screen = Screen(as_json)
    with reporting(screen):
        address, file_id = parse_link(link, Settings.load(server, None))
        with Server(address, None) as api:
            show_file(screen, address, file_id, api.metadata(file_id))


@app.command("ls")
def list_files(server: ServerOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List all files on the server."""
    screen = Screen(as_json)
    with reporting(screen):
        settings = Settings.load(server, token)
        address = settings.required_server()
        with Server(address, settings.token_for(address)) as api:
            show_list(screen, listed(api))


def listed(api: Server) -> Iterator[tuple[str, dict[str, Any]]]:
    query = ""
    while True:
        page = api.request("GET", f"/file/metadata/{query}")
        yield from json_object(page).items()
        following = page.links.get("next", {}).get("url")
        if following is None:
            return
        # Of the link only the query: the token goes to the server that it is meant for, whatever a page says.
        query = f"?{urlsplit(following).query}"


@app.command()
def rm(
    links: Annotated[list[str], typer.Argument(metavar="LINK", help="Download links, landing pages, or file IDs.")],
    delete_token: Annotated[
        str | None, typer.Option("--token", help="Delete token, if the file was sent from elsewhere.", metavar="TOKEN")
    ] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete files.

    With the delete token given, the one kept since `up`, or the API token in SHARE_TOKEN.
    """
    screen = Screen(as_json)
    with reporting(screen):
        settings = Settings.load(server, os.environ.get("SHARE_TOKEN"))
        for link in links:
            address, file_id = parse_link(link, settings)
            memory = delete_token_memory(address, file_id)
            remembered = (memory.load() or {}).get("delete_token")
            owned = delete_token or remembered
            api_token = None if owned else settings.token_for(address)
            if owned is None and api_token is None:
                raise Fault(
                    Exit.DENIED, f"No delete token for {file_id} was kept here. Give --token, or set SHARE_TOKEN."
                )
            with Server(address, api_token) as api:
                headers = {"X-Delete-Token": header_value("delete token", str(owned))} if owned else {}
                api.request("DELETE", f"/file/{file_id}", headers=headers)
            memory.forget()
            if as_json:
                screen.json({"file_id": file_id, "deleted": True})
            else:
                screen.note(f"Deleted {file_id}.")


def main() -> None:
    """What the installed command runs."""
    app()
