"""A process that imports packages once, and forks for each command that needs them: `server.py DESCRIPTOR PREPARATION`.

The first argument is the descriptor of a socket that listens, the second one a script that imports the packages. What
it leaves imported must not have looked at the environment. A fork is otherwise like a process of its own: it has its
own environment, folder and streams, and runs its module anew.

Whoever connects sends a JSON object (the attributes of `Order`) as a line, together with the descriptors of the three
standard streams. The answer has two lines: the ID of the process, and how it ended, as `subprocess` says it. The
process also ends with the connection.

It ends when its standard input does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass


@dataclass
class Order:
    group: int | None
    """The process group to join, instead of starting a session."""
    folder: str
    environment: dict[str, str]
    command: list[str]
    """The arguments of the interpreter, which begin with `-m` and a module."""


def next_order(listener: socket.socket) -> Order:
    """Wait for orders, fork for each, and return in that fork with the order."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return received(connection)
        connection.close()
    sys.exit()


def received(connection: socket.socket) -> Order:
    message, streams, _, _ = socket.recv_fds(connection, 65536, 3)
    while not message.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk:
            # Whoever ordered it has gone.
            os._exit(0)
        message += chunk
    process_id = os.fork()
    if process_id:
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(ConnectionError):
            report(connection, process_id)
        os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    connection.detach()
    return Order(**json.loads(message))


def report(connection: socket.socket, process_id: int) -> None:
    """Tell how the process ends, or end it with the connection."""
    # Signals to the group of the tests end those first, and so the connection.
    os.setsid()
    connection.sendall(b"%d\n" % process_id)
    ends, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while (end := os.waitpid(process_id, os.WNOHANG)) == (0, 0):
        if connection.fileno() in select.select([connection.fileno(), ends], [], [])[0]:
            os.kill(process_id, signal.SIGKILL)
            return
        os.read(ends, 1)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(end[1]))


def become(order: Order) -> None:
    if order.group is None:
        os.setsid()
    else:
        try:
            os.setpgid(0, order.group)
        except PermissionError:
            # The group was ended meanwhile.
            os._exit(0)
    os.environ.clear()
    os.environ.update(order.environment)
    time.tzset()
    os.chdir(order.folder)
    sys.path[0] = order.folder
    encoding = os.environ.get("PYTHONIOENCODING", sys.stdout.encoding)
    # What the streams know of their descriptors no longer holds.
    sys.stdin = os.fdopen(0, encoding=encoding, errors=sys.stdin.errors, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=encoding, errors=sys.stderr.errors, closefd=False)


def run(command: list[str]) -> None:
    sys.orig_argv = [sys.executable, *command]
    _, module, *sys.argv[1:] = command
    status: list[int] = []
    # What is registered first runs last.
    atexit.register(leave, status)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            status.append(error.code or 0)
        raise


def leave(status: list[int]) -> None:
    """End without freeing each object, which would copy the memory that all forks share."""
    for code in status:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    runpy.run_path(sys.argv[2])
    # Each fork would copy what its garbage collector visits.
    gc.collect()
    gc.freeze()
    order = next_order(socket.socket(fileno=int(sys.argv[1])))
    become(order)
    run(order.command)
