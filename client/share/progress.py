"""Shows the progress of transfers: bars in a terminal, and a line for unusual events everywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import OverflowMethod
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from share.screen import Screen
from share.text import human_size

BAR_WIDTHS = ((100, 24), (76, 12), (0, 0))  # minimum columns of the terminal, and columns of the bar


RECONNECTING = "Reconnecting…"


class Meter(Protocol):
    """Takes the reports of a transfer, from any thread."""

    def advance(self, count: int) -> None:
        """Count more bytes; negative if they must be sent again."""

    def resume(self, position: int) -> None:
        """Report that an earlier run transferred the first `position` bytes."""

    def describe(self, name: str) -> None:
        """Report that the bytes of this archive member come next."""

    def reconnect(self) -> None:
        """Report that the connection was lost, and another attempt follows."""


class Transfers:
    """The transfers of one command. `size` is the size of all files in bytes; None if unknown."""

    def __init__(self, screen: Screen, count: int, size: int | None) -> None:
        self._screen = screen
        self._count = count
        self._size = size
        self._done = 0
        self._number = 0

    @contextlib.contextmanager
    def next_file(self, name: str, size: int | None) -> Iterator[Meter]:
        """Show a bar for this file, and below it one for all files. The bars disappear when the file is done."""
        self._number += 1
        console = self._screen.err
        # A terminal that can't move its cursor would show the bars only at the end.
        disable = self._screen.quiet or not console.is_terminal or console.is_dumb_terminal
        # Standard output must not be redirected through the console for errors.
        with Progress(
            *self._columns(), console=console, transient=True, expand=True, disable=disable, redirect_stdout=False
        ) as bars:
            file = bars.add_task(self._screen.shown(name), total=size, status="")
            tasks = [file]
            if self._count > 1:
                title = f"{self._number} of {self._count} files"
                tasks.append(bars.add_task(title, total=self._size, completed=self._done, status=""))
            yield _Bars(self._screen, bars, tasks)
        self._done += size or 0

    def _columns(self) -> Iterator[ProgressColumn]:
        yield _NameColumn(self._screen.overflow)
        width = next(width for columns, width in BAR_WIDTHS if self._screen.err.width >= columns)
        if width:
            yield BarColumn(width, complete_style="cyan")
        yield _SizeColumn()
        yield _RateColumn()


class _NameColumn(ProgressColumn):
    """A title, as wide as the other columns allow."""

    def __init__(self, overflow: OverflowMethod) -> None:
        super().__init__(Column(ratio=1))
        self._overflow = overflow

    def render(self, task: Task) -> Text:
        # Set this on the text: a column that must not wrap would take its width from the others.
        return Text(task.description, no_wrap=True, overflow=self._overflow)


class _SizeColumn(ProgressColumn):
    """How much is done, and of how much."""

    def __init__(self) -> None:
        # Wide enough for most sizes, so that the bar beside it does not move.
        super().__init__(Column(no_wrap=True, justify="right", min_width=len("999.9 MB of 999.9 MB")))

    def render(self, task: Task) -> Text:
        done = human_size(int(task.completed))
        return Text(done if task.total is None else f"{done} of {human_size(int(task.total))}", "green")


class _RateColumn(ProgressColumn):
    """Bytes per second and the time left, or that there is no connection."""

    time = TimeRemainingColumn(compact=True)

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True, min_width=len("999.9 MB/s 00:00")))

    def render(self, task: Task) -> Text:
        if task.fields["status"]:
            return Text(task.fields["status"], "yellow")
        if task.speed is None:
            return Text()
        return Text.assemble((f"{human_size(int(task.speed))}/s ", "dim"), self.time.render(task))


class _Bars:
    def __init__(self, screen: Screen, bars: Progress, tasks: list[TaskID]) -> None:
        self._screen = screen
        self._bars = bars
        self._tasks = tasks
        self._reconnecting = False

    def advance(self, count: int) -> None:
        if count > 0:
            self._reconnecting = False
        self._update(count)

    def resume(self, position: int) -> None:
        self._screen.note(f"Resuming at {human_size(position)}.", "dim")

    def describe(self, name: str) -> None:
        self._bars.update(self._tasks[0], description=self._screen.shown(name))

    def reconnect(self) -> None:
        if not self._reconnecting and self._bars.disable:
            self._screen.note(f"Connection lost. {RECONNECTING}", "yellow")
        self._reconnecting = True
        self._update(0)

    def _update(self, count: int) -> None:
        status = self._screen.shown(RECONNECTING) if self._reconnecting else ""
        for task in self._tasks:
            self._bars.update(task, advance=count, status=status)
