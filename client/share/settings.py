"""Reads server and token from options, environment and file, and times and numbers as users write them."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import typer

from share.faults import Exit, Fault
from share.text import describe, printable

_HOST = re.compile(r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?")
_PATH = re.compile(r"[\w./~%+@:-]*")
_DURATION = re.compile(r"([0-9]{1,10})([smhdw]?)")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([kmgt]?)b?")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def app_dir() -> Path:
    return Path(typer.get_app_dir("simple-file-sharing"))


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The server to use, and the access token with its server."""

    server: str | None
    token: str | None
    token_server: str | None

    @classmethod
    def load(cls, server: str | None, token: str | None, warn: Callable[[str], None]) -> Self:
        """Options and environment override the file. A token from the file goes to the file's server only."""
        path = app_dir() / "config.toml"
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            values = {}
        except OSError as error:
            # Services often run with a home directory that they cannot read.
            warn(f"Ignoring the settings file. {describe(error)}")
            values = {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Fault(Exit.USAGE, f"{path} is not valid TOML: {error}") from error
        for name, value in values.items():
            if name not in ("server", "token") or not isinstance(value, str):
                raise Fault(
                    Exit.USAGE, f'{path}: unknown or invalid setting "{name}". Use server = "…" and token = "…".'
                )
        configured = server_address(values["server"]) if "server" in values else None
        address = server_address(server) if server else configured
        if token:
            return cls(address, token, address)
        return cls(address, values.get("token"), configured)

    def required_server(self) -> str:
        if self.server is None:
            raise Fault(
                Exit.USAGE,
                "No server is set. Use --server, set SHARE_SERVER, or put "
                f'server = "https://…" into {app_dir() / "config.toml"}.',
            )
        return self.server

    def credentials(self, server: str) -> dict[str, str]:
        """A header with the access token, if that belongs to this server: a link can lead anywhere. Otherwise empty."""
        if self.token is None or not is_same(self.token_server, server):
            return {}
        return {"Authorization": f"Bearer {header_value('token', self.token)}"}


def is_same(own: str | None, server: str) -> bool:
    """Whether both are the same server, or the second is the same by https instead of http."""
    return own is not None and server in (own, re.sub("^http:", "https:", own))


def header_value(name: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise Fault(Exit.USAGE, f"The {name} contains characters that cannot be sent.")
    return value


def server_address(text: str) -> str:
    """The base URL of a server, without a trailing slash."""
    try:
        parts = urlsplit(text.strip())
        host = parts.netloc.rpartition("@")[2].lower()
        port = parts.port
        valid = (
            parts.scheme in ("http", "https")
            and _HOST.fullmatch(host)
            and _PATH.fullmatch(parts.path)
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        valid = False
    if not valid:
        raise Fault(Exit.USAGE, f"{printable(text)} is not a valid server address, such as https://share.example.org.")
    if parts.username is not None:
        raise Fault(
            Exit.USAGE, "Addresses must not contain a password, because they end up in logs. Set SHARE_PASSWORD."
        )
    if port == {"http": 80, "https": 443}[parts.scheme]:
        host = host.rpartition(":")[0]
    return f"{parts.scheme}://{host.rstrip(':')}{parts.path.rstrip('/')}"


def parse_duration(text: str) -> int:
    """The seconds in `90`, `30m`, `12h`, `7d` or `2w`."""
    duration = _DURATION.fullmatch(text.strip().lower())
    if duration is None or int(duration[1]) == 0:
        raise Fault(Exit.USAGE, f"{printable(text)} is not a valid time, such as 30m, 12h, 7d or 2w.")
    return int(duration[1]) * _SECONDS[duration[2]]


def parse_size(text: str) -> int:
    """The bytes in `500`, `20kB`, `1.5 MB` or `2G`, by powers of 1000."""
    size = _SIZE.fullmatch(text.strip().lower())
    if size is None or (count := int(Fraction(size[1]) * 1000 ** " kmgt".index(size[2] or " "))) == 0:
        raise Fault(Exit.USAGE, f"{printable(text)} is not a valid size, such as 500kB, 20MB or 2GB.")
    return count


def parse_count(text: str) -> int:
    """Parse a number of downloads."""
    if not (text.isascii() and text.isdigit() and int(text[:20]) > 0):
        raise Fault(Exit.USAGE, f"{printable(text)} is not a number of downloads.")
    return int(text[:20])
