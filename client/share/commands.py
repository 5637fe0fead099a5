"""The commands."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from share.answers import RemoteFile, UploadedFile, read_list
from share.download import Download, write_out
from share.faults import Exit, Fault
from share.memory import Memory, delete_token_memory
from share.names import safe_name
from share.passwords import new_password, password_for
from share.reporting import Statuses, report_unexpected, reporting
from share.screen import Screen, show_file, show_list
from share.server import Server, header_value
from share.settings import Settings, app_dir, parse_duration, parse_link
from share.source import Options, Source
from share.text import describe, human_size, human_time, printable
from share.upload import SMALL, Upload

EXIT_STATUSES = """
Exit status, of several files the highest: 0 done · 2 wrong usage or settings · 3 no such file · 4 expired or used up ·
5 a password or token is missing or wrong · 6 the bytes are not the ones that were sent · 7 the server cannot be reached
or is busy, try again · 8 a file here cannot be read or written · 9 the server refuses the request · 130 interrupted

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
        help="API token. Prefer SHARE_TOKEN: other users of this machine can see command lines.",
        metavar="TOKEN",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object per file and line.")]
LinkArgument = Annotated[str, typer.Argument(metavar="LINK", help="Download link, landing page, or file ID.")]


@app.command()
def up(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, or - for standard input.")],
    expires: Annotated[
        str | None, typer.Option(help="Expire after TIME, such as 30m, 12h, 7d or 2w.", metavar="TIME")
    ] = None,
    downloads: Annotated[int | None, typer.Option(min=1, help="Allow at most N downloads.", metavar="N")] = None,
    password: Annotated[bool, typer.Option("--password", help="Protect with SHARE_PASSWORD, or ask for one.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Send under this name.", metavar="NAME")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Show the link as a QR code too.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Print links to the bytes, not to a page.")] = False,
    server: ServerOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload files and print their links. Run the same command again to resume."""
    screen = Screen(as_json)
    statuses = Statuses()
    with reporting(screen):
        if name is not None and len(files) > 1:
            raise Fault(Exit.USAGE, "--name is for one file.")
        if files.count("-") > 1:
            raise Fault(Exit.USAGE, "Standard input can be sent only once.")
        settings = Settings.load(server, token, screen.warn)
        address = settings.required_server()
        seconds = None if expires is None else parse_duration(expires)
        options = Options(seconds, downloads, new_password() if password else None)
        with Server(address, settings.token_for(address), options.password, warn=screen.warn) as api:
            for number, path in enumerate(files):
                if number and not as_json:
                    screen.note("")
                with statuses.next_file(), reporting(screen):
                    _send(screen, api, path, name, options, qr=qr, direct=direct)
    statuses.end()


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
            uploaded = upload.run()
        file = uploaded.file
        if file.size != upload.sent or file.sha256 not in (None, upload.sha256):
            api.request("DELETE", f"/file/{file.file_id}", headers={"X-Delete-Token": uploaded.delete_token})
            raise Fault(Exit.DAMAGED, "The server stored other bytes than were sent. They were deleted again.")
        deletion = _keep_token(screen, api, uploaded)
        verified = file.sha256 is not None
        if screen.as_json:
            screen.json({**file.json(), "sha256": upload.sha256, "verified": verified})
        else:
            screen.facts(
                {
                    "sent": f"{printable(file.name)}, {human_size(upload.sent)}",
                    "SHA-256": f"{upload.sha256}{' (verified by the server)' if verified else ''}",
                    "expires": human_time(file.expires_at),
                    "downloads": str(file.max_downloads or "any number"),
                    "delete": deletion,
                },
                screen.err,
            )
            print(file.link if direct else file.page, flush=True)
        if qr:
            screen.qr_code(file.link if direct else file.page)


def _keep_token(screen: Screen, api: Server, uploaded: UploadedFile) -> str:
    """The command that deletes the file, without the token if that could be kept."""
    file_id = uploaded.file.file_id
    try:
        delete_token_memory(api.address, file_id).save(
            {"delete_token": uploaded.delete_token, "original_name": uploaded.file.name}
        )
    except OSError as error:
        screen.warn(f"The token that deletes this file could not be kept. {describe(error)}")
        return f"share rm {file_id} --token {uploaded.delete_token}"
    return f"share rm {file_id}"


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
    """Download a file and verify it. Run the same command again to resume."""
    screen = Screen(as_json)
    with reporting(screen):
        settings = Settings.load(server, None, screen.warn)
        address, file_id = parse_link(link, settings)
        with Server(address, None, warn=screen.warn) as api:
            file = api.metadata(file_id)
            password = password_for(settings, address) if file.password_protected else None
            if output == "-":
                with reporting(screen, "What goes to standard output cannot be resumed."):
                    write_out(api, file, password)
                return
            target = Path(output or safe_name(file.name))
            if target.is_dir():
                target = target / safe_name(file.name)
            download = Download(api, file, password, target, force=force)
            download.prepare()
            with reporting(screen, "Run the same command again to resume."):
                if download.resumed_at:
                    screen.note(f"Resuming at {human_size(download.resumed_at)}.", "dim")
                with screen.progress(file.name, file.size) as advance:
                    download.run(advance)
        verified = file.sha256 is not None
        if as_json:
            screen.json(
                {
                    "file_id": file_id,
                    "path": str(target.resolve()),
                    "file_size": file.size,
                    "sha256": download.sha256,
                    "verified": verified,
                    "resumed_at": download.resumed_at,
                }
            )
        else:
            checked = "SHA-256 verified" if verified else "size verified, its SHA-256 is not known to the server"
            screen.note(f"{human_size(file.size)}, {checked}", "dim")
            screen.path(target)


@app.command()
def info(link: LinkArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a file. Looking never counts."""
    screen = Screen(as_json)
    with reporting(screen):
        address, file_id = parse_link(link, Settings.load(server, None, screen.warn))
        with Server(address, None, warn=screen.warn) as api:
            show_file(screen, api.metadata(file_id))


@app.command("ls")
def list_files(server: ServerOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List all files on the server."""
    screen = Screen(as_json)
    with reporting(screen):
        settings = Settings.load(server, token, screen.warn)
        address = settings.required_server()
        with Server(address, settings.token_for(address), warn=screen.warn) as api:
            show_list(screen, listed(api))


def listed(api: Server) -> Iterator[RemoteFile]:
    """All files, page by page. Raises `Fault`."""
    query, last = "", ""
    while True:
        reply = api.request("GET", f"/file/metadata{query}")
        files = read_list(reply.json())
        yield from files
        if not reply.has_next_page:
            return
        # From what is told of the next page nothing else is used, and a list that never advances ends.
        if not files or files[-1].file_id <= last:
            raise Fault(Exit.REFUSED, "The server sends a list that does not go on.")
        last = files[-1].file_id
        query = f"?after={last}"


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
    statuses = Statuses()
    with reporting(screen):
        settings = Settings.load(server, os.environ.get("SHARE_TOKEN"), screen.warn)
        for link in links:
            with statuses.next_file(), reporting(screen):
                _remove(screen, settings, link, delete_token)
    statuses.end()


def _remove(screen: Screen, settings: Settings, link: str, delete_token: str | None) -> None:
    address, file_id = parse_link(link, settings)
    memory, address = _token_memory(address, file_id)
    token = delete_token or (memory.load() or {}).get("delete_token")
    api_token = None if token else settings.token_for(address)
    if not token and not api_token:
        raise Fault(Exit.DENIED, f"No delete token for {file_id} was kept here. Give --token, or set SHARE_TOKEN.")
    with Server(address, api_token, warn=screen.warn) as api:
        headers = {"X-Delete-Token": header_value("delete token", str(token))} if token else {}
        api.request("DELETE", f"/file/{file_id}", headers=headers)
    memory.forget()
    if screen.as_json:
        screen.json({"file_id": file_id, "deleted": True})
    else:
        screen.note(f"Deleted {file_id}.")


def _token_memory(address: str, file_id: str) -> tuple[Memory, str]:
    """What is kept of a file, and its server: by https if that was sent to by way of http."""
    memory = delete_token_memory(address, file_id)
    if address.startswith("http://") and memory.load() is None:
        secure = f"https://{address.removeprefix('http://')}"
        if delete_token_memory(secure, file_id).load() is not None:
            return delete_token_memory(secure, file_id), secure
    return memory, address


def main() -> None:
    """What the installed command runs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names have characters that some terminals do not: they are shown as escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception as error:
        report_unexpected(error)
        sys.exit(1)
