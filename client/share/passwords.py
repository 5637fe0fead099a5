"""Passwords, which come from the environment or are asked for."""

from __future__ import annotations

import contextlib
import getpass
import os

from share.faults import Exit, Fault
from share.screen import Screen


def new_password() -> str:
    password = os.environ.get("SHARE_PASSWORD")
    if password is None:
        password = ask("Password for the file: ")
        if password != ask("Again: "):
            raise Fault(Exit.USAGE, "The two passwords differ.")
    if not password:
        raise Fault(Exit.USAGE, "The password is empty.")
    return password


def given_password(screen: Screen) -> str:
    password = os.environ.get("SHARE_PASSWORD")
    return ask("Password: ") if password is None else password


def ask(question: str) -> str:
    try:
        # Of the terminal itself: standard input may be the file.
        with open("/dev/tty") if os.name == "posix" else contextlib.nullcontext():
            return getpass.getpass(question)
    except (EOFError, OSError) as error:
        raise Fault(Exit.DENIED, "A password is needed. There is no terminal to ask at: set SHARE_PASSWORD.") from error
