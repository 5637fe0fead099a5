"""The commands."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from share.answers import UploadedFile
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
Exit status (for several files, the highest): 0 done · 2 wrong usage or settings · 3 no such file · 4 expired, or
download limit reached · 5 password or token missing or wrong · 6 damaged in transit · 7 server unreachable or busy, try
again · 8 a local file cannot be read or written · 9 request refused by the server · 130 interrupted

Settings: options first, then SHARE_SERVER and SHARE_TOKEN, then server = "…" and token = "…" in {config}.
Passwords are read from SHARE_PASSWORD, or asked for.
"""

app = typer.Typer(
    name="share",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Share files by link.",
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
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per file, each on a line of its own.")]
LinkArgument = Annotated[str, typer.Argument(metavar="LINK", help="Download link, landing page, or file ID.")]


@app.command()
def up(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, or - for standard input.")],
    expires: Annotated[
        str | None, typer.Option(help="Expire after TIME, such as 30m, 12h, 7d or 2w.", metavar="TIME")
    ] = None,
    downloads: Annotated[int | None, typer.Option(min=1, help="Allow at most N downloads.", metavar="N")] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Protect with a password: SHARE_PASSWORD, or asked for.")
    ] = False,
    name: Annotated[str | None, typer.Option("--name", help="Upload under this name.", metavar="NAME")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Also show the link as a QR code.")] = False,
    direct: Annotated[
        bool, typer.Option("--direct", help="Print direct download links instead of page links.")
    ] = False,
    server: ServerOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload files and print their links. Run the same command again to resume."""
    screen = Screen(as_json)
    statuses = Statuses()
    with reporting(screen):
        if name is not None and len(files) > 1:
            raise Fault(Exit.USAGE, "--name works with one file only.")
        if files.count("-") > 1:
            raise Fault(Exit.USAGE, "Standard input (-) can be given only once.")
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
            resumption = "Uploads from a pipe cannot be resumed: start again."
        elif source.size is not None and source.size > SMALL:
            resumption = "Run the same command again to resume."
        else:
            resumption = "Run the same command again."
        stack.enter_context(reporting(screen, resumption))
        with screen.progress(source.name, source.size) as advance:
            upload = Upload(api, source, options, advance)
            uploaded = upload.run()
        file = uploaded.file
        if file.size != upload.sent or file.sha256 not in (None, upload.sha256):
            api.request("DELETE", f"/file/{file.file_id}", headers={"X-Delete-Token": uploaded.delete_token})
            raise Fault(Exit.DAMAGED, "The file was damaged in transit, so it was deleted from the server. Try again.")
        deletion = _keep_token(screen, api, uploaded)
        verified = file.sha256 is not None
        if screen.as_json:
            screen.json({**file.json(), "sha256": upload.sha256, "verified": verified})
        else:
            screen.facts(
                {
                    "uploaded": f"{printable(file.name)}, {human_size(upload.sent)}",
                    "SHA-256": f"{upload.sha256}{' (verified by the server)' if verified else ''}",
                    "expires": human_time(file.expires_at),
                    "downloads": str(file.max_downloads or "no limit"),
                    "delete": deletion,
                },
                screen.err,
            )
            print(file.link if direct else file.page, flush=True)
        if qr:
            screen.qr_code(file.link if direct else file.page)


def _keep_token(screen: Screen, api: Server, uploaded: UploadedFile) -> str:
    """The command that deletes the file; it names the token only if that could not be saved."""
    file_id = uploaded.file.file_id
    try:
        delete_token_memory(api.address, file_id).save(
            {"delete_token": uploaded.delete_token, "original_name": uploaded.file.name}
        )
    except OSError as error:
        screen.warn(f"The delete token could not be saved. {describe(error)}")
        return f"share rm {file_id} --token {uploaded.delete_token}"
    return f"share rm {file_id}"


@app.command()
def down(
    link: LinkArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Save as this file, in this directory, or - for standard output.", metavar="PATH"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing file.")] = False,
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
                with reporting(screen, "Downloads to standard output cannot be resumed: start again."):
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
            checked = "SHA-256 verified" if verified else "size verified (the server has no SHA-256 of this file)"
            screen.note(f"{human_size(file.size)}, {checked}", "dim")
            screen.path(target)


@app.command()
def info(link: LinkArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show details of a file. This does not count as a download."""
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
            show_list(screen, api.files())


@app.command()
def rm(
    links: Annotated[list[str], typer.Argument(metavar="LINK...", help="Download links, landing pages, or file IDs.")],
    delete_token: Annotated[
        str | None,
        typer.Option("--token", help="Delete token, if you uploaded the file from elsewhere.", metavar="TOKEN"),
    ] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete files.

    Uses --token, or the delete token saved by `share up`, or the API token.
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
        raise Fault(Exit.DENIED, f"No delete token for {file_id} is saved here. Use --token, or set SHARE_TOKEN.")
    with Server(address, api_token, warn=screen.warn) as api:
        headers = {"X-Delete-Token": header_value("delete token", str(token))} if token else {}
        api.request("DELETE", f"/file/{file_id}", headers=headers)
    memory.forget()
    if screen.as_json:
        screen.json({"file_id": file_id, "deleted": True})
    else:
        screen.note(f"Deleted {file_id}.")


def _token_memory(address: str, file_id: str) -> tuple[Memory, str]:
    """The saved delete token of a file, and its server: by https if the upload was redirected there from http."""
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
            # Characters that the terminal lacks are shown as escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception as error:
        report_unexpected(error)
        sys.exit(1)
