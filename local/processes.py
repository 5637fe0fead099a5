"""Processes that never outlive their parent, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

# Asks the kernel to kill this process with its parent (prctl(2), PR_SET_PDEATHSIG, which survives execve), and replaces
# itself by the command. The parent may have died before that, so check it afterwards.
_TETHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def tethered(command: Sequence[str]) -> list[str]:
    """The command (its first word is a path) in a form that dies with this process. Start it from the main thread.

    Only Linux can guarantee that. Elsewhere, an orphan must notice by itself: AWS's runtime client ends with the
    connection on which it waits for events.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command]


def kill_group(pid: int) -> None:
    """Kill the leader of a process group and all processes that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
