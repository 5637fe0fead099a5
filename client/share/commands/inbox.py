"""`share inbox`: links by which others send files to you."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from share.answers import DELETE_TOKEN, Fields, RemoteFile, RemoteInbox
from share.commands.down import File, save
from share.commands.options import CopyOption, JsonOption, QrOption, QuietOption, ServerOption, TokenOption, command
from share.faults import Exit, Fault, Missing
from share.folder import assign
from share.links import find_inbox
from share.listing import show_inbox, show_inboxes
from share.memory import OwnerTokens
from share.names import safe_name
from share.progress import Transfers
from share.reporting import for_each
from share.screen import Screen
from share.server import Server
from share.settings import Settings, parse_duration, parse_size
from share.text import describe, human_size, human_time, printable

app = typer.Typer(no_args_is_help=True, help="Let others send files to you.")

InboxArgument = Annotated[
    str,
    typer.Argument(
        metavar="INBOX", help="Link or owner's link of the inbox, or its ID; the first digits are enough for your own."
    ),
]


TitleOption = Annotated[str | None, typer.Option(help="Shown to the senders.", metavar="TEXT")]
NoteOption = Annotated[str | None, typer.Option(help="Shown to the senders, below the title.", metavar="TEXT")]
MaxFilesOption = Annotated[
    int | None, typer.Option("--max-files", min=1, help="Accept at most N files in all.", metavar="N")
]
MaxSizeOption = Annotated[
    str | None, typer.Option("--max-size", help="Accept at most SIZE in all, such as 500MB or 2GB.", metavar="SIZE")
]
MaxFileSizeOption = Annotated[
    str | None,
    typer.Option("--max-file-size", help="Accept files up to SIZE; default: the server's limit.", metavar="SIZE"),
]
ExpiresOption = Annotated[
    str | None, typer.Option(help="Accept files for TIME from now, such as 12h, 7d or 2w.", metavar="TIME")
]
KeepOption = Annotated[
    str | None,
    typer.Option("--file-expires", help="Delete each file after TIME; default: as the server does.", metavar="TIME"),
]


@app.command()
def new(
    title: TitleOption = None,
    note: NoteOption = None,
    max_files: MaxFilesOption = None,
    max_bytes: MaxSizeOption = None,
    max_file_size: MaxFileSizeOption = None,
    expires: ExpiresOption = None,
    keep: KeepOption = None,
    qr: QrOption = False,
    copy: CopyOption = False,
    server: ServerOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Create an inbox, and print its link for senders.

    The owner's link lets anyone see what came in. It is saved, so that you can use the inbox by its ID.
    """
    with command(server, token=token, as_json=as_json, quiet=quiet) as (screen, settings):
        address = settings.required_server()
        options = _options(title, note, max_files, max_bytes, max_file_size, expires, keep)
        with Server(address, settings.credentials(address), warn=screen.warn) as api:
            answer = api.request("POST", "/inbox", json=options).json()
            inbox, owner_token = RemoteInbox(answer), Fields(answer).text("owner_token", DELETE_TOKEN)
            owner_link = f"{inbox.link}#owner={owner_token}"
            try:
                OwnerTokens(api.address).of(inbox.inbox_id).save({"owner_token": owner_token, "title": inbox.title})
            except OSError as error:
                screen.warn(f"The owner token could not be saved. Keep this link: {owner_link} {describe(error)}")
        if as_json:
            screen.json(inbox.answer)
        else:
            if not quiet:
                limits = f"{inbox.files_left} files, {human_size(inbox.bytes_left)}"
                facts = {"accepts": limits, "until": human_time(inbox.expires_at), "for you alone": owner_link}
                screen.facts(facts, screen.err)
            print(inbox.link, flush=True)
        if qr:
            screen.qr_code(inbox.link)
        if copy:
            screen.copy(inbox.link)


@app.command("set")
def change(
    inbox: InboxArgument,
    title: TitleOption = None,
    note: NoteOption = None,
    max_files: MaxFilesOption = None,
    max_bytes: MaxSizeOption = None,
    max_file_size: MaxFileSizeOption = None,
    expires: ExpiresOption = None,
    keep: KeepOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Change the limits, lifetime, title or note of an inbox.

    The limits include what came in already. What you leave out stays as it is. --expires opens an expired inbox again.
    Sizes and times can be `default`.
    """
    with command(server, as_json=as_json, quiet=quiet) as (screen, settings):
        options = _options(title, note, max_files, max_bytes, max_file_size, expires, keep)
        if not options:
            raise Fault(Exit.USAGE, "Nothing to change. See share inbox set --help.")
        with _opened(screen, settings, inbox) as (api, inbox_id):
            changed = RemoteInbox(api.request("PATCH", f"/inbox/{inbox_id}", json=options).json())
        if not quiet:
            changed.files = None
            show_inbox(screen, changed)


@app.command("ls")
def list_inboxes(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List the inboxes that you created here, the newest first."""
    with command(server, as_json=as_json) as (screen, settings):
        address = settings.required_server()
        inboxes = []
        for inbox_id in OwnerTokens(address).ids():
            # The server forgets inboxes once they have ended and their files are gone.
            with contextlib.suppress(Missing), _opened(screen, settings, inbox_id, owned=False) as (api, _):
                inboxes.append(_describe(api, inbox_id))
        inboxes.sort(key=lambda inbox: str(inbox.answer.get("created_at")), reverse=True)
        show_inboxes(screen, inboxes)


@app.command()
def show(inbox: InboxArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show what an inbox still accepts, and to its owner what came in."""
    with (
        command(server, as_json=as_json) as (screen, settings),
        _opened(screen, settings, inbox, owned=False) as (api, inbox_id),
    ):
        show_inbox(screen, _describe(api, inbox_id))


@app.command()
def get(
    inbox: InboxArgument,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Names or IDs, if not all. The first digits of an ID are enough."),
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Save in this folder.", metavar="FOLDER")] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Download what came in and is not in the folder yet. Run the same command again to resume.

    The folder has the title of the inbox as its name, unless you choose another. Nothing in it is overwritten.
    """
    with (
        command(server, as_json=as_json, quiet=quiet) as (screen, settings),
        _opened(screen, settings, inbox) as (api, inbox_id),
    ):
        description = _describe(api, inbox_id)
        arrived = _select(description.files or [], files or [])
        if not arrived:
            screen.note("No files in this inbox.")
            return
        folder = Path(output or (safe_name(description.title) if description.title else "inbox"))
        targets = assign(folder, arrived)
        missing = [file for file in arrived if file.file_id in targets]
        if len(missing) < len(arrived):
            screen.note(f"{len(arrived) - len(missing)} already in {printable(str(folder))}", "dim")
        transfers = Transfers(screen, len(missing), sum(file.size for file in missing))

        def download(file: RemoteFile) -> None:
            save(screen, api, transfers, File(file, None), targets[file.file_id])

        for_each(screen, missing, download)


@app.command()
def close(
    inbox: InboxArgument, server: ServerOption = None, as_json: JsonOption = False, quiet: QuietOption = False
) -> None:
    """Close an inbox for good. The files that came in stay."""
    with command(server, as_json=as_json, quiet=quiet) as (screen, settings):
        with _opened(screen, settings, inbox) as (api, inbox_id):
            api.request("DELETE", f"/inbox/{inbox_id}")
        if as_json:
            screen.json({"inbox_id": inbox_id, "closed": True})
        else:
            screen.note(f"Closed {inbox_id}. What came in stays.")


@contextlib.contextmanager
def _opened(screen: Screen, settings: Settings, inbox: str, *, owned: bool = True) -> Iterator[tuple[Server, str]]:
    """The server of an inbox, and its ID. Raises `Fault` if it must be `owned`, and there are no credentials."""
    address, inbox_id, token = find_inbox(inbox, settings)
    address, credentials = OwnerTokens.credentials(address, inbox_id, token, settings)
    if owned and not credentials:
        raise Fault(
            Exit.DENIED, f"No owner token for {inbox_id} is saved here. Use the owner's link, or set SHARE_TOKEN."
        )
    with Server(address, credentials, warn=screen.warn) as api:
        yield api, inbox_id


def _options(
    title: str | None,
    note: str | None,
    max_files: int | None,
    max_bytes: str | None,
    max_file_size: str | None,
    expires: str | None,
    keep: str | None,
) -> dict[str, Any]:
    """The options in terms of the API, without those that the user left out. `default` restores a default."""
    options: dict[str, Any] = {"title": title, "note": note, "max_files": max_files}
    options = {name: value for name, value in options.items() if value is not None}
    for name, text, parse in (
        ("max_bytes", max_bytes, parse_size),
        ("max_file_size", max_file_size, parse_size),
        ("expires_in", expires, parse_duration),
        ("file_expires_in", keep, parse_duration),
    ):
        if text is not None:
            options[name] = None if text == "default" else parse(text)
    return options


def _describe(api: Server, inbox_id: str) -> RemoteInbox:
    return RemoteInbox(api.request("GET", f"/inbox/{inbox_id}").json())


def _select(files: Sequence[RemoteFile], texts: Sequence[str]) -> list[RemoteFile]:
    """The files that are called so, by name or by the first digits of their IDs; all without any text."""
    selected = []
    for text in texts:
        matches = [file for file in files if text == file.name or (len(text) >= 4 and file.file_id.startswith(text))]
        if not matches:
            raise Fault(Exit.NOT_FOUND, f"No file in this inbox is called {printable(text)}.")
        selected += matches
    return [file for file in files if file in selected] if texts else list(files)
