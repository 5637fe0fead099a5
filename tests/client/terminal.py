"""The client in a terminal."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Callable

from tests.client.conftest import Client
from tests.forks import can_fork, start
from tests.wire.server import WITHIN


def in_terminal(
    client: Client, *arguments: str, watch: Callable[[str], None] = lambda _shown: None, **environment: str
) -> str:
    """The output of a command that must succeed, on both streams, in a terminal. `watch` sees it grow."""
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb", buffering=0) as screen:
        process = start(
            ["-m", "share", *arguments],
            client.here,
            client.environment(TERM="xterm", **environment),
            terminal,
            preparation="client" if can_fork(environment) else None,
        )
        os.close(terminal)
        shown = b""
        try:
            while block := read(screen.fileno()):
                shown += block
                watch(shown.decode(encoding, "replace"))
            assert process.wait(WITHIN) == 0, shown.decode(errors="replace")
        finally:
            process.kill()
            process.wait()
    return shown.decode(encoding).replace("\r\n", "\n")


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        # Linux reports in this way that the other side has closed a terminal.
        return b""


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
