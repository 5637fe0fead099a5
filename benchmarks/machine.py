"""Processor time and memory from /proc: of a server with all its processes, and of other programs meanwhile."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # per second
DISTURBED = 0.05  # of the processors
# The rounding error of the clock in /proc, for each processor.
UNCERTAIN = 0.03  # seconds


@dataclass(frozen=True)
class ProcessorTime:
    """Processor time in seconds."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system


def processor_time(pid: int) -> ProcessorTime:
    """The processor time of a process and all its descendants, including those that have ended."""
    user = system = 0
    for tree_pid in processes(pid):
        fields = _stat(tree_pid)
        # utime and cutime, stime and cstime (proc_pid_stat(5)).
        user += int(fields[11]) + int(fields[13])
        system += int(fields[12]) + int(fields[14])
    return ProcessorTime(user / TICKS, system / TICKS)


def peak_memory(pid: int) -> float:
    """The peak memory of each process in a tree, added up, in MiB."""
    return sum(memory(tree_pid, "VmHWM") for tree_pid in processes(pid))


def memory(pid: int, field: str) -> float:
    """`VmRSS`, the current memory of a process, or `VmHWM`, its peak; in MiB."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return 0.0 if match is None else int(match[1]) / 1024


def processes(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents = dict(_parents())
    tree = [pid]
    # The list grows during the loop.
    for member in tree:
        tree += [child for child, parent in parents.items() if parent == member]
    return tree


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                yield int(name), int(_stat(int(name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue


def _stat(pid: int) -> list[str]:
    """The fields after the program's name, which can contain any character."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


class Watch:
    """Checks whether programs outside the benchmark use processor time, from its creation on.

    It counts user time only: the kernel also works for the benchmark, for example when it writes to the disk.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._others = self._others_time()

    def is_disturbed(self) -> bool:
        elapsed = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return self._others_time() - self._others > DISTURBED * elapsed + UNCERTAIN

    @staticmethod
    def _others_time() -> float:
        user, nice, _, _, _, _, _, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
        return (user + nice + steal) / TICKS - processor_time(os.getpid()).user
