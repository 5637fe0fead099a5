"""Passwords from the environment or the terminal."""

from __future__ import annotations

import base64
import contextlib
import getpass
import os

from share.answers import RemoteFile
from share.faults import Exit, Fault
from share.server import Server
from share.settings import Settings, is_same


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


def unlock(api: Server, file: RemoteFile, settings: Settings) -> None:
    """Send the password of the file, if it has one, with all further requests. Raises `Fault`."""
    if file.password_protected:
        password = sendable(_password_for(api.requested_address, settings))
        # HTTP Basic, without a user name (RFC 7617).
        api.credentials["Authorization"] = f"Basic {base64.b64encode(f':{password}'.encode()).decode()}"


def _password_for(address: str, settings: Settings) -> str:
    password = os.environ.get("SHARE_PASSWORD")
    if password is None:
        return ask(f"Password for the file at {address}: ")
    # A link can lead anywhere.
    if is_same(settings.server, address):
        return password
    hint = f"SHARE_PASSWORD is sent to your own server only. To send it to {address}, add --server {address}."
    return ask(f"{address} is not your server, so SHARE_PASSWORD is not used.\nPassword for the file: ", hint)


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
