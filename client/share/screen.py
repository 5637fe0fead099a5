"""Showing results, progress and lists."""

from __future__ import annotations

import codecs
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import segno
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from share.answers import RemoteFile
from share.text import exact_size, human_downloads, human_size, human_time, human_time_left, printable

MIN_TABLE_WIDTH = 84  # columns: with the longest entries that are likely this leaves 12 to a name


class Screen:
    """Results on standard output, everything for people on standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def json(self, value: dict[str, Any]) -> None:
        """One object, one line, in ASCII: any terminal shows it, and nothing in it acts there."""
        print(json.dumps(value).replace("\x7f", "\\u007f"), flush=True)

    def note(self, text: str, style: str = "") -> None:
        self.err.print(Text(text, style), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.note(f"warning: {text}", "yellow")

    def path(self, path: Path) -> None:
        """A path for a person to read, or exactly as it is for a script."""
        if self.out.is_terminal:
            print(printable(str(path)))
            return
        encoding = sys.stdout.encoding
        unusual = "surrogateescape" if codecs.lookup(encoding).name == "utf-8" else "backslashreplace"
        sys.stdout.flush()
        sys.stdout.buffer.write(f"{path}\n".encode(encoding, unusual))

    def qr_code(self, link: str) -> None:
        try:
            "▀▄█".encode(sys.stderr.encoding)
            drawable = True
        except UnicodeEncodeError:
            drawable = False
        segno.make(link, micro=False).terminal(out=sys.stderr, compact=drawable)

    def facts(self, rows: dict[str, str], console: Console) -> None:
        width = max(map(len, rows))
        for name, value in rows.items():
            # The terminal breaks long lines, so that a link in them can still be copied.
            console.print(Text.assemble((f"{name:<{width}}  ", "dim"), value), soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, name: str, size: int | None) -> Iterator[Callable[[int], None]]:
        """A bar, in a terminal only. Yields a function to call with each count of bytes, negative to go back."""
        text = TextColumn(
            "{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False
        )
        columns = (BarColumn(24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True))
        with Progress(
            text, *columns, console=self.err, transient=True, expand=True, disable=not self.err.is_terminal
        ) as bars:
            task: TaskID = bars.add_task(printable(name), total=size)
            yield lambda count: bars.update(task, advance=count)


def show_file(screen: Screen, file: RemoteFile) -> None:
    if screen.as_json:
        screen.json(file.json())
        return
    screen.facts(
        {
            "name": printable(file.name),
            "size": exact_size(file.size),
            "type": printable(file.content_type),
            "SHA-256": file.sha256 or "unknown to the server",
            "downloads": human_downloads(file.download_count, file.max_downloads),
            "created": human_time(file.created_at),
            "expires": human_time(file.expires_at),
            "password": "required" if file.password_protected else "none",
            "link": file.page,
        },
        screen.out,
    )


def show_list(screen: Screen, files: Iterator[RemoteFile]) -> None:
    """A table in a terminal, else lines with tabs between ID, size, downloads, expiry, and name."""
    if screen.as_json:
        for file in files:
            screen.json(file.json())
    elif screen.out.is_terminal:
        _show_table(screen, files)
    else:
        for file in files:
            downloads = human_downloads(file.download_count, file.max_downloads)
            print(
                file.file_id,
                file.size,
                downloads,
                printable(file.expires_at or "never"),
                printable(file.name),
                sep="\t",
            )


def _show_table(screen: Screen, files: Iterator[RemoteFile]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", ratio=1, overflow="fold", min_width=12)
    for name in ("size", "downloads"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("expires", no_wrap=True)
    table.add_column("ID", style="dim", no_wrap=True, min_width=36)
    for file in files:
        title = Text(printable(file.name))
        if file.password_protected:
            title.append("  password", "dim")
        downloads = human_downloads(file.download_count, file.max_downloads)
        table.add_row(title, human_size(file.size), downloads, human_time_left(file.expires_at), file.file_id)
    if table.row_count:
        # In a narrow terminal lines wrap: an ID that is cut short is useless.
        screen.out.width = max(screen.out.width, MIN_TABLE_WIDTH)
        screen.out.print(table)
    else:
        screen.note("No files.")
