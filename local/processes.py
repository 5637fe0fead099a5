"""Processes that never outlive the one that started them, however that one ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

# Runs the command in its own place once the kernel has promised to kill it with its parent (prctl(2), PR_SET_PDEATHSIG,
# which stands through execve). The parent may have died before that promise, so it is looked at again.
_TETHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def tethered(command: Sequence[str]) -> list[str]:
    """The command, its first word a path, made to die with this process; to be started from the main thread.

    Only Linux can promise that. Elsewhere an orphan has to notice by itself: AWS's runtime client ends with the
    connection on which it waits for events.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command]


def kill_group(pid: int) -> None:
    """Kill a process that leads a group, and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
