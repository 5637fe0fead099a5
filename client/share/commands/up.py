"""`share up`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Annotated

import typer

from share.answers import UploadedFile
from share.archive.collecting import Collector
from share.archive.layout import Layout
from share.archive.packing import archive_name, entries_of, measure, open_archive
from share.commands.options import CopyOption, JsonOption, QrOption, QuietOption, ServerOption, TokenOption, command
from share.faults import Exit, Fault
from share.links import find_inbox
from share.memory import DeleteTokens
from share.passwords import new_password
from share.private.keys import Key
from share.private.ledger import Restart
from share.progress import Meter, Transfers
from share.reporting import for_each, reporting
from share.screen import Screen
from share.server import Server
from share.settings import parse_duration
from share.source import HashedSource, Options, Outgoing, Source
from share.text import describe, human_size, human_time, printable
from share.upload import SMALL, Upload


def up(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files and folders, or - for standard input.")],
    each: Annotated[bool, typer.Option("--each", help="Make a link for each file or folder.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Upload under this name.", metavar="NAME")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Leave out matching files in folders, as .gitignore does.", metavar="PATTERN"),
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out files that are missing or cannot be read.")
    ] = False,
    expires: Annotated[
        str | None, typer.Option(help="Expire after TIME, such as 30m, 12h, 7d or 2w.", metavar="TIME")
    ] = None,
    max_downloads: Annotated[
        int | None,
        typer.Option("--max-downloads", "--downloads", min=1, help="Allow at most N downloads.", metavar="N"),
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Protect with a password, from SHARE_PASSWORD or typed.")
    ] = False,
    private: Annotated[
        bool,
        typer.Option("--private", help="Encrypt before sending. Only people with the whole link can read the file."),
    ] = False,
    keep_key: Annotated[
        bool, typer.Option("--keep-key", help="Save the key of a private link here, to use the file by its ID.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Send to this inbox, by its link or ID. No token is needed.", metavar="INBOX"),
    ] = None,
    sender: Annotated[
        str | None, typer.Option("--from", help="Your name, for the owner of the inbox.", metavar="NAME")
    ] = None,
    qr: QrOption = False,
    copy: CopyOption = False,
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
    with command(server, token=token, as_json=as_json, quiet=quiet) as (screen, settings):
        if name is not None and each and len(files) > 1:
            raise Fault(Exit.USAGE, "--name works with one link only.")
        if files.count("-") > 1 or ("-" in files and len(files) > 1 and not each):
            raise Fault(Exit.USAGE, "Standard input (-) cannot be part of an archive. Upload it by itself.")
        if keep_key and not private:
            raise Fault(Exit.USAGE, "--keep-key works with --private only.")
        if direct and private:
            raise Fault(Exit.USAGE, "--direct does not work with --private: only the page and this client can decrypt.")
        owners = {"--expires": expires, "--max-downloads": max_downloads, "--password": password, "--private": private}
        for option, value in {**owners, "--qr": qr, "--copy": copy, "--direct": direct}.items():
            if to is not None and value:
                raise Fault(Exit.USAGE, f"{option} does not work with --to: the file is for the owner of the inbox.")
        if sender is not None and to is None:
            raise Fault(Exit.USAGE, "--from works with --to only.")
        inbox_id, credentials = None, {}
        if to is None:
            address = settings.required_server()
            credentials = settings.credentials(address)
        else:
            address, inbox_id, _ = find_inbox(to, settings)
        seconds = None if expires is None else parse_duration(expires)
        protection = new_password() if password else None
        options = Options(seconds, max_downloads, protection, inbox=inbox_id, sender=sender)
        uploads = [[path] for path in files] if each else [files]
        transfers = Transfers(screen, len(uploads), total_size(files))
        links: list[str] = []
        with Server(address, credentials, warn=screen.warn) as api:

            def upload(paths: list[str]) -> None:
                collector = Collector(exclude or [], skip_missing=skip_missing, warn=screen.warn)
                with (
                    _open_source(screen, transfers, paths, name, collector) as (plain, meter, layout),
                    reporting(screen, _resumption(plain)),
                    _outgoing(plain, options, api.address, paths, layout, private=private) as outgoing,
                ):
                    uploaded = _send(api, outgoing, meter)
                link = _link(api, uploaded, outgoing.key, direct=direct)
                _show(screen, api, uploaded, plain, link, outgoing.key if keep_key else None)
                links.append(link)
                if qr:
                    screen.qr_code(link)

            def upload_again(paths: list[str]) -> None:
                try:
                    upload(paths)
                except Restart:
                    screen.note("The file has changed since its upload began. Starting over with a new key.", "yellow")
                    upload(paths)

            try:
                for_each(screen, uploads, upload_again)
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


@contextlib.contextmanager
def _open_source(
    screen: Screen, transfers: Transfers, paths: Sequence[str], name: str | None, collector: Collector
) -> Iterator[tuple[HashedSource, Meter, Layout | None]]:
    """Open what is to be uploaded: a file, standard input, or an archive of several files. Raises `Fault`."""
    if len(paths) > 1 or os.path.isdir(paths[0]):
        entries = list(collector.collect(paths))
        count = "1 file" if len(entries) == 1 else f"{len(entries)} files"
        with Transfers(screen, 1, None).next_file(f"Reading {count}", None) as meter:
            entries, members = measure(entries, collector, meter.advance)
        layout = Layout(members)
        title = archive_name(paths, name)
        with transfers.next_file(title, layout.size) as meter:
            yield open_archive(entries, layout, title, meter.describe), meter, layout
    else:
        with HashedSource.open(paths[0], name) as source, transfers.next_file(source.name, source.size) as meter:
            yield source, meter, None


def _outgoing(
    plain: HashedSource, options: Options, address: str, paths: Sequence[str], layout: Layout | None, *, private: bool
) -> AbstractContextManager[Outgoing]:
    """What is sent: the source itself, or what it becomes when it is encrypted."""
    if not private:
        return contextlib.nullcontext(Outgoing(plain, options))
    from share.private.encrypting import encrypt_source

    place = "\n".join([address, *map(os.path.abspath, paths)])
    return encrypt_source(plain, options, place, None if layout is None else entries_of(layout))


def _resumption(source: Source) -> str:
    if source.identity is None:
        return "Uploads from a pipe cannot be resumed: start again."
    if source.size is not None and source.size > SMALL:
        return "Run the same command again to resume."
    return "Run the same command again."


def _send(api: Server, outgoing: Outgoing, meter: Meter) -> UploadedFile:
    source = outgoing.source
    upload = Upload(api, source, outgoing.options, meter)
    uploaded = upload.run()
    if uploaded.size != source.position or uploaded.sha256 not in (None, upload.sha256):
        fault = Fault(Exit.DAMAGED, "The file was damaged in transit, so it was deleted from the server. Try again.")
    elif outgoing.key is not None and (uploaded.file is None or uploaded.file.encryption is None):
        fault = Fault(Exit.REFUSED, "This server does not support private links, so the file was deleted from it.")
    elif uploaded.inbox_id != outgoing.options.inbox:
        fault = Fault(Exit.REFUSED, "This server does not support inboxes, so the file was deleted from it.")
    else:
        return uploaded
    api.request("DELETE", f"/file/{uploaded.file_id}", headers={"X-Delete-Token": uploaded.delete_token})
    raise fault


def _link(api: Server, uploaded: UploadedFile, key: Key | None, *, direct: bool) -> str:
    file = uploaded.file
    if file is None:
        # The sender can delete the file by this link, and do nothing else.
        return f"{api.address}/file/{uploaded.file_id}"
    link = file.link if direct else file.page
    return link if key is None else key.link(link)


def _show(screen: Screen, api: Server, uploaded: UploadedFile, plain: HashedSource, link: str, key: Key | None) -> None:
    """Print the link. Saves the delete token, and the key if there is one."""
    file = uploaded.file
    deletion = _save_token(screen, api, uploaded, link, key)
    verified = uploaded.sha256 is not None
    is_private = file is not None and file.encryption is not None
    if screen.as_json:
        shown = {"original_name": plain.name, "content_type": plain.content_type, "file_size": plain.position}
        private = {**shown, "download_page": link} if is_private else {}
        screen.json({**uploaded.answer, **private, "sha256": plain.sha256, "verified": verified})
        return
    if not screen.quiet:
        size = f"{human_size(plain.position)}{', verified' if verified else ''}"
        limits = {}
        if file is not None:
            most = "no limit" if file.max_downloads is None else f"at most {file.max_downloads}"
            limits = {"expires": human_time(file.expires_at), "downloads": most}
        screen.facts(
            {
                "uploaded" if file else "sent": f"{printable(plain.name if is_private else uploaded.name)}, {size}",
                "SHA-256": plain.sha256,
                **limits,
                "delete": deletion,
            },
            screen.err,
        )
    print(link, flush=True)


def _save_token(screen: Screen, api: Server, uploaded: UploadedFile, link: str, key: Key | None) -> str:
    """Save the delete token, and the key if there is one.

    Returns the command that deletes the file, with the token only if it was not saved.
    """
    # Senders may have no server in their settings.
    name = uploaded.file_id if uploaded.file else link
    try:
        secrets = {"delete_token": uploaded.delete_token, **({} if key is None else {"key": key.fragment})}
        DeleteTokens(api.address).of(uploaded.file_id).save({**secrets, "original_name": uploaded.name})
    except OSError as error:
        screen.warn(f"The delete token could not be saved. {describe(error)}")
        return f"share rm {name} --token {uploaded.delete_token}"
    return f"share rm {name}"
