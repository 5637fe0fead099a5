"""Shows files on a server, individually or as a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from rich.table import Table
from rich.text import Text

from share.answers import ArchiveEntry, RemoteFile
from share.private.keys import Key
from share.screen import Screen
from share.text import exact_size, human_downloads, human_size, human_time, human_time_left, local_time, printable

SHORT = 8  # digits of an ID, or more if two files share these
WIDE = 72  # columns; a narrower terminal shows fewer


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
        screen.out.print(_table(screen, files, own))
    else:
        screen.note("No files.")


def _table(screen: Screen, files: Sequence[RemoteFile], own: Collection[str]) -> Table:
    wide = screen.out.width >= WIDE
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("ID", no_wrap=True)
    table.add_column("name", ratio=1)
    table.add_column("size", justify="right", no_wrap=True)
    if wide:
        table.add_column("uploaded", no_wrap=True)
        table.add_column("downloads", justify="right", no_wrap=True)
    table.add_column("expires", no_wrap=True)
    digits = short_length([file.file_id for file in files])
    for file in files:
        # Set this on the text: a column that must not wrap would take its width from the others.
        name = Text(no_wrap=True, overflow=screen.overflow)
        name.append("[private] " if file.encryption else "", "dim")
        name.append("[password] " if file.password_protected else "", "dim").append(screen.shown(file.name))
        more = (
            (screen.shown(human_time_left(file.created_at)), human_downloads(file.download_count, file.max_downloads))
            if wide
            else ()
        )
        table.add_row(
            "*" if file.file_id in own else "",
            file.file_id[:digits],
            name,
            human_size(file.size),
            *more,
            screen.shown(human_time_left(file.expires_at)),
        )
    return table


def show_entries(screen: Screen, entries: Sequence[ArchiveEntry]) -> None:
    """Show size, time and name of each entry: as a table in a terminal, otherwise as lines with tabs."""
    if screen.as_json:
        for entry in entries:
            screen.json(dataclasses.asdict(entry))
    elif not screen.out.is_terminal:
        for entry in entries:
            print(entry.size, printable(entry.modified or ""), printable(entry.name), sep="\t")
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("size", justify="right", no_wrap=True)
        table.add_column("modified", no_wrap=True)
        table.add_column("name", ratio=1, overflow="fold")
        for entry in entries:
            size = "" if entry.name.endswith("/") else human_size(entry.size)
            table.add_row(size, local_time(entry.modified), screen.shown(entry.name))
        screen.out.print(table)


def short_length(file_ids: Sequence[str]) -> int:
    """How many characters of an ID are needed to distinguish these files."""
    count = len(set(file_ids))
    return next(length for length in range(SHORT, 37) if len({file_id[:length] for file_id in file_ids}) == count)
