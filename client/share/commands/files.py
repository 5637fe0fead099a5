"""`share info`, `ls`, `set` and `rm`: files that are on a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from share.answers import RemoteFile
from share.commands.options import (
    DeleteTokenOption,
    JsonOption,
    LinkArgument,
    LinksArgument,
    QuietOption,
    ServerOption,
    TokenOption,
    command,
)
from share.faults import Exit, Fault
from share.links import find_file, open_link
from share.listing import show_entries, show_file, show_list
from share.memory import DeleteTokens
from share.passwords import new_password, unlock
from share.reporting import for_each
from share.screen import Screen
from share.server import Server
from share.settings import Settings, parse_count, parse_duration


def info(link: LinkArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show details of a file. This does not count as a download."""
    with (
        command(server, as_json=as_json) as (screen, settings),
        open_link(link, settings, screen.warn) as (_, file, key),
    ):
        if key is not None:
            from share.private.decrypting import reveal

            file = reveal(file, key)
        show_file(screen, file, key)


def list_files(
    link: Annotated[
        str | None, typer.Argument(metavar="[LINK]", help="A zip archive: list the files in it.", show_default=False)
    ] = None,
    server: ServerOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all files on the server, or the files in an archive.

    The newest come first. An asterisk marks files that you uploaded from here. Listing an archive does not count as a
    download.
    """
    with command(server, token=token, as_json=as_json) as (screen, settings):
        if link is not None:
            with open_link(link, settings, screen.warn) as (api, file, key):
                if key is not None or file.encryption is not None:
                    from share.private.decrypting import entries_of

                    show_entries(screen, entries_of(file, key))
                else:
                    unlock(api, file, settings)
                    show_entries(screen, api.entries(file.file_id))
            return
        address = settings.required_server()
        with Server(address, settings.credentials(address), warn=screen.warn) as api:
            # Times in UTC compare as text.
            files = sorted(api.files(), key=lambda file: file.created_at or "", reverse=True)
            show_list(screen, files, DeleteTokens(api.address).ids())


def change(
    links: LinksArgument,
    expires: Annotated[
        str | None,
        typer.Option(help="Expire after TIME from now, such as 30m, 12h, 7d or 2w, or never.", metavar="TIME"),
    ] = None,
    max_downloads: Annotated[
        str | None,
        typer.Option("--max-downloads", help="Allow at most N downloads in all, or unlimited.", metavar="N"),
    ] = None,
    password: Annotated[
        bool | None,
        typer.Option("--password/--no-password", help="Set a password (from SHARE_PASSWORD, or typed), or remove it."),
    ] = None,
    delete_token: DeleteTokenOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Change expiry, download limit or password of files.

    Uses --token, or the delete token saved by `share up`, or the access token.
    """
    with command(server, as_json=as_json, quiet=quiet) as (screen, settings):
        changes: dict[str, Any] = {}
        if expires is not None:
            changes["expires_in"] = None if expires == "never" else parse_duration(expires)
        if max_downloads is not None:
            changes["max_downloads"] = None if max_downloads == "unlimited" else parse_count(max_downloads)
        if password is not None:
            changes["password"] = new_password() if password else None
        if not changes:
            raise Fault(Exit.USAGE, "Nothing to change. Use --expires, --max-downloads, --password or --no-password.")

        def change_one(link: str) -> None:
            with authorised(screen, settings, link, delete_token) as (api, file_id):
                reply = api.request("PATCH", f"/file/{file_id}", json=changes)
            if not quiet:
                show_file(screen, RemoteFile(file_id, reply.json()))

        for_each(screen, links, change_one)


def remove(
    links: LinksArgument,
    delete_token: DeleteTokenOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete files.

    Uses --token, or the delete token saved by `share up`, or the access token.
    """
    with command(server, as_json=as_json, quiet=quiet) as (screen, settings):

        def remove_one(link: str) -> None:
            with authorised(screen, settings, link, delete_token) as (api, file_id):
                api.request("DELETE", f"/file/{file_id}")
                DeleteTokens(api.address).of(file_id).forget()
            if as_json:
                screen.json({"file_id": file_id, "deleted": True})
            else:
                screen.note(f"Deleted {file_id}.")

        for_each(screen, links, remove_one)


@contextlib.contextmanager
def authorised(screen: Screen, settings: Settings, link: str, delete_token: str | None) -> Iterator[tuple[Server, str]]:
    """The server, with the credentials to change the file, and the file ID. Raises `Fault`."""
    address, file_id = find_file(link, settings, screen.warn)
    address, credentials = DeleteTokens.credentials(address, file_id, delete_token, settings)
    with Server(address, credentials, warn=screen.warn) as api:
        if not credentials:
            # If the file is gone, this says so.
            api.request("GET", f"/file/metadata/{file_id}")
            raise Fault(Exit.DENIED, "Its delete token is not saved here. Use --token, or set SHARE_TOKEN.")
        yield api, file_id
