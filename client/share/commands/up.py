"""`share up`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from share.answers import UploadedFile
from share.archive.collecting import Collector, Entry
from share.archive.layout import Layout
from share.archive.packing import Archive, archive_name, measure
from share.commands.options import JsonOption, QuietOption, ServerOption, TokenOption
from share.faults import Exit, Fault
from share.memory import DeleteTokens
from share.passwords import new_password
from share.progress import Meter, Transfers
from share.reporting import for_each, reporting
from share.screen import Screen
from share.server import Server
from share.settings import Settings, parse_duration
from share.source import Options, Source
from share.text import describe, human_size, human_time, printable
from share.upload import SMALL, Upload


def up(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files and folders, or - for standard input.")],
    each: Annotated[bool, typer.Option("--each", help="Make a link for each file or folder.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Upload under this name.", metavar="NAME")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Leave out what matches in folders, as in .gitignore files.", metavar="PATTERN"),
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out of an archive what is missing or cannot be read.")
    ] = False,
    expires: Annotated[
        str | None, typer.Option(help="Expire after TIME, such as 30m, 12h, 7d or 2w.", metavar="TIME")
    ] = None,
    max_downloads: Annotated[
        int | None,
        typer.Option("--max-downloads", "--downloads", min=1, help="Allow at most N downloads.", metavar="N"),
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Protect with a password: SHARE_PASSWORD, or asked for.")
    ] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Also show the link as a QR code.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Also copy the link to the clipboard.")] = False,
    direct: Annotated[
        bool, typer.Option("--direct", help="Print direct download links instead of page links.")
    ] = False,
    server: ServerOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Upload files and folders and print their link. Run the same command again to resume.

    Several files, or a folder, become one zip archive with one link. Symbolic links are followed if you name them;
    those in folders are left out, and so are sockets, pipes and devices.
    """
    screen = Screen(as_json=as_json, quiet=quiet)
    with reporting(screen):
        if name is not None and each and len(files) > 1:
            raise Fault(Exit.USAGE, "--name works with one link only.")
        if files.count("-") > 1 or ("-" in files and len(files) > 1 and not each):
            raise Fault(Exit.USAGE, "Standard input (-) cannot be part of an archive. Upload it by itself.")
        settings = Settings.load(server, token, screen.warn)
        address = settings.required_server()
        seconds = None if expires is None else parse_duration(expires)
        options = Options(seconds, max_downloads, new_password() if password else None)
        uploads = [[path] for path in files] if each else [files]
        transfers = Transfers(screen, len(uploads), total_size(files))
        links: list[str] = []
        with Server(address, settings.token_for(address), options.password, warn=screen.warn) as api:

            def upload(paths: list[str]) -> None:
                if len(paths) > 1 or os.path.isdir(paths[0]):
                    collector = Collector(exclude or [], skip_missing=skip_missing, warn=screen.warn)
                    entries, layout = _lay_out(screen, collector, paths)
                    title = archive_name(paths, name)
                    with transfers.next_file(title, layout.size) as meter:
                        archive = Archive(entries, layout, meter.describe)
                        source = Source(archive, title, layout.size, archive.identity)
                        uploaded = _send(screen, api, source, options, meter)
                else:
                    with (
                        Source.open(paths[0], name) as source,
                        transfers.next_file(source.name, source.size) as meter,
                    ):
                        uploaded = _send(screen, api, source, options, meter)
                link = uploaded.file.link if direct else uploaded.file.page
                _show(screen, api, uploaded, source, link)
                links.append(link)
                if qr:
                    screen.qr_code(link)

            try:
                for_each(screen, uploads, upload)
            finally:
                if copy and links:
                    screen.copy("\n".join(links))


def total_size(paths: Sequence[str]) -> int | None:
    """The size of all files in bytes; None if one has no size. A missing file is reported when its turn comes."""
    total = 0
    for path in paths:
        if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):
            return None
        total += os.path.getsize(path) if os.path.exists(path) else 0
    return total


def _lay_out(screen: Screen, collector: Collector, paths: Sequence[str]) -> tuple[list[Entry], Layout]:
    entries = list(collector.collect(paths))
    with Transfers(screen, 1, None).next_file(f"Reading {len(entries)} files", None) as meter:
        entries, members = measure(entries, collector, meter.advance)
    return entries, Layout(members)


def _send(screen: Screen, api: Server, source: Source, options: Options, meter: Meter) -> UploadedFile:
    if source.identity is None:
        resumption = "Uploads from a pipe cannot be resumed: start again."
    elif source.size is not None and source.size > SMALL:
        resumption = "Run the same command again to resume."
    else:
        resumption = "Run the same command again."
    with reporting(screen, resumption):
        uploaded = Upload(api, source, options, meter).run()
    file = uploaded.file
    if file.size != source.position or file.sha256 not in (None, source.sha256):
        api.request("DELETE", f"/file/{file.file_id}", headers={"X-Delete-Token": uploaded.delete_token})
        raise Fault(Exit.DAMAGED, "The file was damaged in transit, so it was deleted from the server. Try again.")
    return uploaded


def _show(screen: Screen, api: Server, uploaded: UploadedFile, source: Source, link: str) -> None:
    file = uploaded.file
    deletion = _save_token(screen, api, uploaded)
    verified = file.sha256 is not None
    if screen.as_json:
        screen.json({**file.json(), "sha256": source.sha256, "verified": verified})
        return
    if not screen.quiet:
        screen.facts(
            {
                "uploaded": f"{printable(file.name)}, {human_size(source.position)}{', verified' if verified else ''}",
                "SHA-256": source.sha256,
                "expires": human_time(file.expires_at),
                "downloads": str(file.max_downloads or "no limit"),
                "delete": deletion,
            },
            screen.err,
        )
    print(link, flush=True)


def _save_token(screen: Screen, api: Server, uploaded: UploadedFile) -> str:
    """Save the delete token. Returns the command that deletes the file, with the token only if it was not saved."""
    file_id = uploaded.file.file_id
    try:
        DeleteTokens(api.address).of(file_id).save(
            {"delete_token": uploaded.delete_token, "original_name": uploaded.file.name}
        )
    except OSError as error:
        screen.warn(f"The delete token could not be saved. {describe(error)}")
        return f"share rm {file_id} --token {uploaded.delete_token}"
    return f"share rm {file_id}"
