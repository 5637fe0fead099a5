"""Shows files and inboxes on a server, individually or as a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from share.answers import ArchiveEntry, RemoteFile, RemoteInbox
from share.private.keys import Key
from share.screen import Screen
from share.text import exact_size, human_downloads, human_size, human_time, human_time_left, local_time, printable

SHORT = 8  # digits of an ID, or more if two files share these
WIDE = 72  # columns; a narrower terminal shows fewer

# How columns are laid out.
LEFT: dict[str, Any] = {"no_wrap": True}
RIGHT: dict[str, Any] = {"no_wrap": True, "justify": "right"}
REST: dict[str, Any] = {"ratio": 1}


def show_file(screen: Screen, file: RemoteFile, key: Key | None = None) -> None:
    """Show a file; `key` is that of a private one, whose name and size are decrypted."""
    if screen.as_json:
        screen.json(file.json())
        return
    checksum = file.sha256 or "unknown to the server"
    screen.facts(
        {
            "name": printable(file.name),
            "size": exact_size(file.size),
            "type": printable(file.content_type),
            "SHA-256": checksum if file.encryption is None else "encrypted by the sender",
            "downloads": human_downloads(file.download_count, file.max_downloads),
            "created": human_time(file.created_at),
            "expires": human_time(file.expires_at),
            "password": "required" if file.password_protected else "none",
            "link": file.page if key is None else key.link(file.page),
        },
        screen.out,
    )


def show_list(screen: Screen, files: Sequence[RemoteFile], own: Collection[str]) -> None:
    """Show a table in a terminal; otherwise lines with tabs between ID, size, downloads, expiry, and name."""
    if screen.as_json:
        for file in files:
            screen.json(file.json())
    elif not screen.out.is_terminal:
        for file in files:
            downloads = human_downloads(file.download_count, file.max_downloads)
            expiry = printable(file.expires_at or "never")
            print(file.file_id, file.size, downloads, expiry, printable(file.name), sep="\t")
    elif files:
        wide = screen.out.width >= WIDE
        more = {"uploaded": LEFT, "downloads": RIGHT} if wide else {}
        table = _grid({"": LEFT, "ID": LEFT, "name": REST, "size": RIGHT, **more, "expires": LEFT})
        digits = short_length([file.file_id for file in files])
        for file in files:
            age, downloads = human_time_left(file.created_at), human_downloads(file.download_count, file.max_downloads)
            marks = f"{'[private] ' * bool(file.encryption)}{'[password] ' * file.password_protected}"
            table.add_row(
                "*" if file.file_id in own else "",
                file.file_id[:digits],
                _cut(screen, file.name, marks),
                human_size(file.size),
                *((screen.shown(age), downloads) if wide else ()),
                screen.shown(human_time_left(file.expires_at)),
            )
        screen.out.print(table)
    else:
        screen.note("No files.")


def show_entries(screen: Screen, entries: Sequence[ArchiveEntry]) -> None:
    """Show size, time and name of each entry: as a table in a terminal, otherwise as lines with tabs."""
    if screen.as_json:
        for entry in entries:
            screen.json(dataclasses.asdict(entry))
    elif not screen.out.is_terminal:
        for entry in entries:
            print(entry.size, printable(entry.modified or ""), printable(entry.name), sep="\t")
    else:
        table = _grid({"size": RIGHT, "modified": LEFT, "name": {"ratio": 1, "overflow": "fold"}})
        for entry in entries:
            size = "" if entry.name.endswith("/") else human_size(entry.size)
            table.add_row(size, local_time(entry.modified), screen.shown(entry.name))
        screen.out.print(table)


def show_inbox(screen: Screen, inbox: RemoteInbox) -> None:
    """Show an inbox, and to its owner what came in: a table in a terminal, otherwise lines with tabs."""
    if screen.as_json:
        screen.json(inbox.answer)
        return
    is_closed = inbox.is_open is False
    screen.facts(
        {
            "title": printable(inbox.title),
            "note": printable(" ".join(inbox.note.split())),
            "accepts files": "no longer" if is_closed else f"until {human_time(inbox.expires_at)}",
            "files": "" if is_closed else _files_left(inbox),
            "size": "" if is_closed else _bytes_left(inbox),
            "link": inbox.link,
        },
        screen.out,
    )
    files = inbox.files or []
    if not screen.out.is_terminal:
        for file in files:
            sender, created = printable(file.sender or ""), printable(file.created_at or "")
            print(file.file_id, file.size, created, sender, printable(file.name), sep="\t")
    elif files:
        table = _grid({"ID": LEFT, "name": REST, "sender": REST, "size": RIGHT, "received": LEFT})
        digits = short_length([file.file_id for file in files])
        for file in files:
            table.add_row(
                file.file_id[:digits],
                _cut(screen, file.name, "[private] " * bool(file.encryption)),
                _cut(screen, file.sender or ""),
                human_size(file.size),
                screen.shown(human_time_left(file.created_at)),
            )
        screen.out.print()
        screen.out.print(table)


def show_inboxes(screen: Screen, inboxes: Sequence[RemoteInbox]) -> None:
    """Show a table in a terminal; otherwise lines with tabs between ID, files left, bytes left, expiry, and title."""
    if screen.as_json:
        for inbox in inboxes:
            screen.json(inbox.answer)
    elif not screen.out.is_terminal:
        for inbox in inboxes:
            expiry = printable(inbox.expires_at) if inbox.is_open else "closed"
            print(inbox.inbox_id, inbox.files_left, inbox.bytes_left, expiry, printable(inbox.title), sep="\t")
    elif inboxes:
        table = _grid({"ID": LEFT, "title": REST, "files": LEFT, "closes": LEFT})
        digits = short_length([inbox.inbox_id for inbox in inboxes])
        for inbox in inboxes:
            left, until = "", "closed"
            if inbox.is_open:
                left, until = _files_left(inbox), screen.shown(human_time_left(inbox.expires_at))
            table.add_row(inbox.inbox_id[:digits], _cut(screen, inbox.title), left, until)
        screen.out.print(table)
    else:
        screen.note("No inboxes.")


def _files_left(inbox: RemoteInbox) -> str:
    return f"{inbox.files_left}{'' if inbox.max_files is None else f' of {inbox.max_files}'} left"


def _bytes_left(inbox: RemoteInbox) -> str:
    left, largest = f"{human_size(inbox.bytes_left)} left", inbox.max_file_size
    return left if largest >= inbox.bytes_left else f"{left}, at most {human_size(largest)} per file"


def _grid(columns: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, layout in columns.items():
        table.add_column(title, **layout)
    return table


def _cut(screen: Screen, name: str, marks: str = "") -> Text:
    # Set this on the text: a column that must not wrap would take its width from the others.
    text = Text(no_wrap=True, overflow=screen.overflow)
    return text.append(marks, "dim").append(screen.shown(name))


def short_length(file_ids: Sequence[str]) -> int:
    """How many characters of an ID are needed to distinguish these files."""
    count = len(set(file_ids))
    return next(length for length in range(SHORT, 37) if len({file_id[:length] for file_id in file_ids}) == count)
