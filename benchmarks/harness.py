"""The parts of the benchmark: cases that take turns, their goals, and the report."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Watch

TRIES = 3
PROCESSOR = ", processor time"  # ends the names of such figures
PROCESSOR_UNIT = "µs per request"


class WrongAnswer(Exception):
    """A server gave a wrong result."""


@dataclass(frozen=True)
class Setup:
    """How much to measure. `scale` reduces sizes and numbers; `work` is an empty directory for stored files.

    `against` are checkouts of this project whose code is measured, too.
    """

    work: Path
    rounds: int = 5
    scale: float = 1.0
    against: Sequence[Path] = ()

    def sized(self, full: int, least: int = 1) -> int:
        return max(least, int(full * self.scale))


@dataclass(frozen=True)
class Goal:
    """What one case must reach relative to another. Without `theirs`, the figure itself must reach it."""

    part: str
    what: str
    ours: str
    theirs: str | None = None
    least: float | None = None
    most: float | None = None
    unit: str = ""


@dataclass
class Result:
    """The figures of each case, one for each round, and their goals."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)

    def add(self, other: Result) -> None:
        self.figures.update(other.figures)
        self.units.update(other.units)
        self.goals += other.goals
        self.notes += other.notes
        self.plots.update(other.plots)

    def median(self, case: str) -> float:
        return statistics.median(self.figures[case])

    def ratios(self, goal: Goal) -> list[float]:
        """The ratio of each round."""
        ours = self.figures[goal.ours]
        if goal.theirs is None:
            return ours
        return self.quotients(goal.ours, goal.theirs)

    def quotients(self, case: str, other: str) -> list[float]:
        """The ratio of two cases in each round."""
        return [mine / its for mine, its in zip(self.figures[case], self.figures[other], strict=True)]


Measure = Callable[[], float | Mapping[str, float]]
"""Returns one figure, or several by name."""


def interleave(
    cases: Mapping[str, Measure],
    rounds: int,
    unit: str,
    *,
    warm_up: bool = True,
    watch: Callable[[], Watch] = Watch,
) -> Result:
    """Run all cases once per round, so that other load on the machine affects all of them.

    With `warm_up`, a first round fills the caches and does not count. Rounds that other programs disturb are repeated.
    If they are disturbed again, they do not count, unless there are no others.
    """
    quiet: list[dict[str, float]] = []
    disturbed: list[dict[str, float]] = []
    for number in range(-1 if warm_up else 0, rounds):
        figures: dict[str, float] = {}
        is_quiet = True
        for name, measure in cases.items():
            figure, succeeded = _undisturbed(measure, watch)
            figures |= figure if isinstance(figure, Mapping) else {name: figure}
            is_quiet &= succeeded
        if number >= 0:
            (quiet if is_quiet else disturbed).append(figures)
    used = quiet or disturbed
    result = Result({name: [figures[name] for figures in used] for name in used[0]})
    result.units = {name: PROCESSOR_UNIT if name.endswith(PROCESSOR) else unit for name in result.figures}
    if disturbed:
        fate = "do not count" if quiet else "count all the same, as there are no others"
        result.notes = [f"{len(disturbed)} of {rounds} rounds were disturbed by other programs and {fate}."]
    return result


def _undisturbed(measure: Measure, watch: Callable[[], Watch]) -> tuple[float | Mapping[str, float], bool]:
    """One measurement, and whether it was undisturbed."""
    for _ in range(TRIES):
        watching = watch()
        figure = measure()
        if not watching.is_disturbed():
            return figure, True
    return figure, False


def figures_table(result: Result) -> str:
    """A Markdown table: the median of each case, with its minimum and maximum."""
    lines = ["| case | median (min to max) | |", "| --- | --- | --- |"]
    for name, values in result.figures.items():
        lines.append(f"| {name} | {_spread(values)} | {result.units.get(name, '')} |")
    return "\n".join(lines)


def goals_table(result: Result) -> str:
    """A Markdown table: each goal and what was reached, as the median of the rounds with its range."""
    lines = ["| part | what | goal | reached (min to max) | |", "| --- | --- | --- | --- | --- |"]
    for goal in result.goals:
        values = result.ratios(goal)
        peer = f" times {goal.theirs}" if goal.theirs else f" {goal.unit}".rstrip()
        wanted = f"≥ {goal.least:g}{peer}" if goal.least is not None else f"≤ {goal.most:g}{peer}"
        verdict = "yes" if is_reached(goal, values) else "**no**"
        lines.append(f"| {goal.part} | {goal.what} | {wanted} | {_spread(values)} | {verdict} |")
    return "\n".join(lines)


def is_reached(goal: Goal, values: Sequence[float]) -> bool:
    reached = statistics.median(values)
    return (goal.least is None or reached >= goal.least) and (goal.most is None or reached <= goal.most)


def write_json(path: Path, about: Mapping[str, Any], results: Mapping[str, Result]) -> None:
    """Write every single figure, for closer analysis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {
        name: {
            "figures": result.figures,
            "units": result.units,
            "goals": [{**vars(goal), "reached": result.ratios(goal)} for goal in result.goals],
            "notes": result.notes,
        }
        for name, result in results.items()
    }
    path.write_text(json.dumps({**about, "parts": parts}, indent=2, ensure_ascii=False))


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _spread(values: Sequence[float]) -> str:
    return f"{number_text(statistics.median(values))} ({number_text(min(values))} to {number_text(max(values))})"


def number_text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
