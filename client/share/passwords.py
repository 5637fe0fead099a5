"""Passwords from the environment or the terminal."""

from __future__ import annotations

import contextlib
import getpass
import os

from share.faults import Exit, Fault
from share.settings import Settings


def new_password() -> str:
    """The password for an upload. Raises `Fault`."""
    password = os.environ.get("SHARE_PASSWORD")
    if password is None:
        password = ask("Password for the file: ")
        if password != ask("Repeat password: "):
            raise Fault(Exit.USAGE, "The passwords do not match.")
    if not password:
        raise Fault(Exit.USAGE, "The password is empty.")
    if password != password.strip():
        # HTTP strips it from a header.
        raise Fault(Exit.USAGE, "The password must not begin or end with a space.")
    return sendable(password)


def password_for(settings: Settings, address: str) -> str:
    """The password of a file on this server. SHARE_PASSWORD goes to the user's own server only. Raises `Fault`."""
    password = os.environ.get("SHARE_PASSWORD")
    if password is None:
        return sendable(ask(f"Password for the file at {address}: "))
    if settings.is_own(address):
        return sendable(password)
    hint = f"SHARE_PASSWORD is sent to your own server only. To send it to {address}, add --server {address}."
    return sendable(ask(f"{address} is not your server, so SHARE_PASSWORD is not used.\nPassword for the file: ", hint))


def ask(question: str, hint: str = "Set SHARE_PASSWORD, or run this in a terminal.") -> str:
    try:
        # Ask in the terminal itself, because standard input may be the file.
        with open("/dev/tty") if os.name == "posix" else contextlib.nullcontext():
            return getpass.getpass(question)
    except (EOFError, OSError) as error:
        raise Fault(Exit.DENIED, f"This file needs a password. {hint}") from error


def sendable(password: str) -> str:
    try:
        password.encode()
    except UnicodeEncodeError:
        raise Fault(Exit.USAGE, "The password is not valid UTF-8.") from None
    if any(character < " " or character == "\x7f" for character in password):
        raise Fault(Exit.USAGE, "The password must not contain control characters.")
    return password
