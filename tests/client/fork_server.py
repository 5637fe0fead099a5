"""A process that imports the modules of the command `share` once, and forks for each run of it.

A run is otherwise like a process of its own, with its own session and environment. Modules do not look at these
when imported. A run ends by itself or by a signal, and another fork waits for it and reports its status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys


def import_modules() -> None:
    # httpx imports these when they are first needed.
    for name in ("httpcore", "socksio", "encodings.idna"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(importlib.import_module("share").__path__, "share."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # Each fork would copy what its garbage collector visits.
    gc.collect()
    gc.freeze()


def next_run(control: socket.socket) -> list[str]:
    """Wait for runs, fork for each, and return in that fork with the arguments of the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 4)
        if not message:
            sys.exit()
        if os.fork() == 0:
            control.detach()
            return run_in_fork(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def run_in_fork(channel: int, stdin: int, stdout: int, stderr: int) -> list[str]:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(channel, closefd=False) as file:
        arguments, folder, environment = json.loads(file.readline())
    process_id = os.fork()
    if process_id:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        os.write(channel, b"%d\n" % process_id)
        _, status = os.waitpid(process_id, 0)
        os.write(channel, b"%d\n" % status)
        os._exit(0)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # What the streams know of their descriptors no longer holds.
    sys.stdin = os.fdopen(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)
    return list(arguments)


def run_command() -> None:
    status: list[int] = []
    # What is registered first runs last.
    atexit.register(leave, status)
    try:
        runpy.run_module("share", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status.append(int(error.code or 0))
        raise


def leave(status: list[int]) -> None:
    """End without freeing each object, which would copy the memory that all forks share."""
    for code in status:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    import_modules()
    arguments = next_run(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[1:] = arguments
    sys.orig_argv = [sys.executable, "-m", "share", *arguments]
    run_command()
