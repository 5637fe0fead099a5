"""Keeps keys and owner tokens in links out of the list of processes, which every user of the machine can read."""

from __future__ import annotations

import os
import re
import sys

PIPE = "SHARE_SECRETS_FROM"
PIPE_BYTES = 60_000  # fits into every pipe: 2,500 keys
_MARKS = ("#k=", "#owner=")
_SECRET = re.compile(f"(?s)({'|'.join(_MARKS)})(.*)")


def hide_secrets() -> None:
    """Start the command again without the secrets in its arguments. The new process gets them through a pipe.

    Does nothing where a process cannot be replaced (Windows).
    """
    source = os.environ.pop(PIPE, None)
    if source is not None:
        with open(int(source), encoding="utf-8", errors="surrogateescape") as pipe:
            sent = iter(pipe.read().split("\0"))
        sys.argv = [f"{argument}{next(sent)}" if argument.endswith(_MARKS) else argument for argument in sys.argv]
        return
    hidden = [_SECRET.sub(r"\1", argument) for argument in sys.orig_argv]
    secrets = [match[2] for argument in sys.orig_argv if (match := _SECRET.search(argument))]
    data = "\0".join(secrets).encode("utf-8", "surrogateescape")
    if hidden == sys.orig_argv or os.name != "posix" or len(data) > PIPE_BYTES:
        return
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    os.set_inheritable(reading, True)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *hidden[1:]], {**os.environ, PIPE: str(reading)})  # noqa: S606
