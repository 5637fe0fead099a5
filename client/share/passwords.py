"""Passwords, which come from the environment or are asked for."""

from __future__ import annotations

import contextlib
import getpass
import os

from share.faults import Exit, Fault
from share.settings import Settings


def new_password() -> str:
    """The password for a file that is to be sent. Raises `Fault`."""
    password = os.environ.get("SHARE_PASSWORD")
    if password is None:
        password = ask("Password for the file: ")
        if password != ask("Again: "):
            raise Fault(Exit.USAGE, "The two passwords differ.")
    if not password:
        raise Fault(Exit.USAGE, "The password is empty.")
    if password != password.strip():
        # A header would lose it on the way.
        raise Fault(Exit.USAGE, "The password must not begin or end with a space.")
    return sendable(password)


def password_for(settings: Settings, address: str) -> str:
    """The password of a file there. SHARE_PASSWORD goes to the user's own server only. Raises `Fault`."""
    password = os.environ.get("SHARE_PASSWORD")
    if password is None:
        return sendable(ask(f"Password of the file at {address}: "))
    if settings.is_own(address):
        return sendable(password)
    hint = f"SHARE_PASSWORD is sent to your own server only. To send it to {address}, add --server {address}."
    return sendable(ask(f"{address} is not your server, and does not get SHARE_PASSWORD.\nPassword for it: ", hint))


def ask(question: str, hint: str = "There is no terminal to ask at: set SHARE_PASSWORD.") -> str:
    try:
        # Of the terminal itself: standard input may be the file.
        with open("/dev/tty") if os.name == "posix" else contextlib.nullcontext():
            return getpass.getpass(question)
    except (EOFError, OSError) as error:
        raise Fault(Exit.DENIED, f"A password is needed. {hint}") from error


def sendable(password: str) -> str:
    try:
        password.encode()
    except UnicodeEncodeError:
        raise Fault(Exit.USAGE, "The password is not text that can be sent: it is not UTF-8.") from None
    if any(character < " " or character == "\x7f" for character in password):
        raise Fault(Exit.USAGE, "The password holds a control character, which cannot be sent.")
    return password
