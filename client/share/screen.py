"""Showing results, progress and lists."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from share.text import exact_size, human_downloads, human_size, human_time, printable

MIN_TABLE_WIDTH = 84  # columns: with the longest entries that are likely this leaves 12 to a name


class SpeedColumn(ProgressColumn):
    """The speed in the unit of the sizes beside it; Rich's own is decimal."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{human_size(int(speed))}/s", "dim")


class Screen:
    """Results on standard output, everything for people on standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def json(self, value: dict[str, Any]) -> None:
        """One object, one line."""
        print(json.dumps(value, ensure_ascii=False), flush=True)

    def note(self, text: str, style: str = "") -> None:
        self.err.print(Text(text, style), soft_wrap=True)

    def facts(self, rows: dict[str, str], console: Console) -> None:
        width = max(map(len, rows))
        for name, value in rows.items():
            # Lines that are too long are the terminal's to break, or a link in them could not be copied.
            console.print(Text.assemble((f"{name:<{width}}  ", "dim"), value), soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, name: str, size: int | None) -> Iterator[Callable[[int], None]]:
        """A bar while it lasts, in a terminal only; the function it gives takes bytes done, or undone if below 0."""
        text = TextColumn(
            "{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False
        )
        columns = (BarColumn(24), DownloadColumn(True), SpeedColumn(), TimeRemainingColumn(compact=True))
        with Progress(
            text, *columns, console=self.err, transient=True, expand=True, disable=not self.err.is_terminal
        ) as bars:
            task: TaskID = bars.add_task(printable(name), total=size)
            yield lambda count: bars.update(task, advance=count)


def show_file(screen: Screen, server: str, file_id: str, known: dict[str, Any]) -> None:
    if screen.as_json:
        screen.json({"file_id": file_id, **known})
        return
    screen.facts(
        {
            "name": printable(str(known["original_name"])),
            "size": exact_size(known["file_size"]),
            "type": printable(str(known["content_type"])),
            "SHA-256": str(known.get("sha256") or "not known to the server"),
            "downloads": human_downloads(known),
            "created": human_time(known.get("created_at")),
            "expires": human_time(known.get("expires_at")),
            "password": "needed" if known.get("password_protected") else "none",
            "link": printable(str(known.get("download_page") or known["download_link"])),
        },
        screen.out,
    )


def show_list(screen: Screen, files: Iterator[tuple[str, dict[str, Any]]]) -> None:
    """A table in a terminal, else lines with tabs between name, size, downloads, expiry, and ID."""
    if not screen.out.is_terminal:
        for file_id, known in files:
            if screen.as_json:
                screen.json({"file_id": file_id, **known})
            else:
                fields = (known["file_size"], human_downloads(known), known.get("expires_at") or "never")
                print(file_id, *fields, printable(str(known["original_name"])), sep="\t")
        return
    if screen.as_json:
        for file_id, known in files:
            screen.json({"file_id": file_id, **known})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", ratio=1, overflow="fold", min_width=12)
    for name in ("size", "downloads"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("expires", no_wrap=True)
    table.add_column("ID", style="dim", no_wrap=True, min_width=36)
    for file_id, known in files:
        title = Text(printable(str(known["original_name"])))
        if known.get("password_protected"):
            title.append("  password", "dim")
        expires = known.get("expires_at")
        when = "never" if expires is None else human_time(expires).partition("(")[2].rstrip(")") or printable(expires)
        table.add_row(title, human_size(known["file_size"]), human_downloads(known), when, file_id)
    if table.row_count:
        # In a narrow terminal lines wrap: what is cut off an ID makes the rest of it useless.
        screen.out.width = max(screen.out.width, MIN_TABLE_WIDTH)
        screen.out.print(table)
    else:
        screen.note("No files.")
