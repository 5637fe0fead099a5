"""A process that imports the packages of the functions once, and forks for each function that starts.

A fork is otherwise like a process of its own: it has its own environment and folder, and imports its function anew.
Only passwords are hashed at the lowest cost.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from typing import Any

_scrypt = hashlib.scrypt


def cheap_scrypt(password: Any, *, salt: Any, n: int, r: int, p: int, maxmem: int = 0, dklen: int = 64) -> bytes:
    """scrypt at the lowest cost: at the full one, passwords would take much of the time of the tests."""
    return _scrypt(password, salt=salt, n=2, r=1, p=1, maxmem=maxmem, dklen=dklen)


def import_packages() -> None:
    """Import all that functions need, except for the functions, which look at the environment."""
    sys.path[0] = os.getcwd()
    for name in ("functions.app", "shared.storage.s3.store", "mangum", "aws_lambda_powertools"):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "functions"]:
        del sys.modules[name]
    load_descriptions()
    gc.freeze()


def load_descriptions() -> None:
    """Read botocore's description of S3 once for all forks."""
    from botocore import loaders, session

    session.create_loader = functools.cache(loaders.create_loader)
    session.Session().create_client("s3", "us-east-1")


def next_command(listener: socket.socket) -> list[str]:
    """Wait for commands, fork for each, and return in that fork with the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return received(connection)
        connection.close()


def received(connection: socket.socket) -> list[str]:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, outputs, _, _ = socket.recv_fds(connection, 65536, 2)
    while not message.endswith(b"\n"):
        message += connection.recv(65536)
    # It closes with this process.
    connection.detach()
    group, folder, command, environment = json.loads(message)
    try:
        os.setpgid(0, group)
    except PermissionError:
        # The function was ended meanwhile.
        os._exit(0)
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.path[0] = folder
    return list(command)


if __name__ == "__main__":
    import_packages()
    hashlib.scrypt = cheap_scrypt
    _, module, *arguments = next_command(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
