"""Shows the progress of transfers: bars in a terminal, and a line for unusual events everywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from share.screen import Screen
from share.text import human_size

BAR_WIDTHS = ((100, 24), (76, 12), (0, 0))  # minimum columns of the terminal, and columns of the bar
RECONNECTING = "Reconnecting…"
TIME_LEFT = TimeRemainingColumn(compact=True)


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
            yield Meter(self._screen, bars, tasks)
        self._done += size or 0

    def _columns(self) -> Iterator[ProgressColumn]:
        def name(task: Task) -> Text:
            # Set this on the text: a column that must not wrap would take its width from the others.
            return Text(task.description, no_wrap=True, overflow=self._screen.overflow)

        yield _Column(name, ratio=1)
        width = next(width for columns, width in BAR_WIDTHS if self._screen.err.width >= columns)
        if width:
            yield BarColumn(width, complete_style="cyan")
        # Wide enough for most sizes, so that the bar beside it does not move.
        yield _Column(_size, no_wrap=True, justify="right", min_width=len("999.9 MB of 999.9 MB"))
        yield _Column(_rate, no_wrap=True, min_width=len("999.9 MB/s 00:00"))


class _Column(ProgressColumn):
    def __init__(self, text: Callable[[Task], Text], **layout: Any) -> None:
        super().__init__(Column(**layout))
        self._text = text

    def render(self, task: Task) -> Text:
        return self._text(task)


def _size(task: Task) -> Text:
    done = human_size(int(task.completed))
    return Text(done if task.total is None else f"{done} of {human_size(int(task.total))}", "green")


def _rate(task: Task) -> Text:
    if task.fields["status"]:
        return Text(task.fields["status"], "yellow")
    if task.speed is None:
        return Text()
    return Text.assemble((f"{human_size(int(task.speed))}/s ", "dim"), TIME_LEFT.render(task))


class Meter:
    """Takes the reports of a transfer, from any thread."""

    def __init__(self, screen: Screen, bars: Progress, tasks: list[TaskID]) -> None:
        self._screen = screen
        self._bars = bars
        self._tasks = tasks
        self._reconnecting = False

    def advance(self, count: int) -> None:
        """Count more bytes; negative if they must be sent again."""
        if count > 0:
            self._reconnecting = False
        self._update(count)

    def resume(self, position: int) -> None:
        """Report that an earlier run transferred the first `position` bytes."""
        self._screen.note(f"Resuming at {human_size(position)}.", "dim")

    def describe(self, name: str) -> None:
        """Report that the bytes of this archive member come next."""
        self._bars.update(self._tasks[0], description=self._screen.shown(name))

    def reconnect(self) -> None:
        """Report that the connection was lost, and another attempt follows."""
        if not self._reconnecting and self._bars.disable:
            self._screen.note(f"Connection lost. {RECONNECTING}", "yellow")
        self._reconnecting = True
        self._update(0)

    def _update(self, count: int) -> None:
        status = self._screen.shown(RECONNECTING) if self._reconnecting else ""
        for task in self._tasks:
            self._bars.update(task, advance=count, status=status)
