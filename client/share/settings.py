"""Which server to use and with which token, and what people write for a link or a time."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import typer

from share.faults import Exit, Fault
from share.text import printable

_ID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_LINK = re.compile(rf"(?P<prefix>.*?)/(?:file/download|file/metadata|download|file)/(?P<file_id>{_ID})/?")
_DURATION = re.compile(r"([0-9]{1,10})([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def app_dir() -> Path:
    return Path(typer.get_app_dir("simple-file-sharing"))


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Which server to use, and the API token with the server that it is meant for."""

    server: str | None
    token: str | None
    token_server: str | None

    @classmethod
    def load(cls, server: str | None, token: str | None) -> Self:
        """Options and environment before the file. A token from the file goes to the file's server only."""
        path = app_dir() / "config.toml"
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            values = {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Fault(Exit.USAGE, f"{path} is not TOML: {error}") from error
        for name, value in values.items():
            if name not in ("server", "token") or not isinstance(value, str):
                raise Fault(Exit.USAGE, f'{path}: "{name}" must be "server" or "token", with text behind it.')
        known = values.get("server")
        configured = None if known is None else server_address(known)
        chosen = server_address(server) if server else configured
        if token:
            return cls(chosen, token, chosen)
        return cls(chosen, values.get("token"), configured)

    def required_server(self) -> str:
        if self.server is None:
            raise Fault(
                Exit.USAGE,
                "Which server? Give --server, or set SHARE_SERVER, or write it into "
                f'{app_dir() / "config.toml"} as server = "https://…".',
            )
        return self.server

    def token_for(self, server: str) -> str | None:
        """The API token, but never for a server other than its own: a link may lead anywhere."""
        return self.token if server == self.token_server else None


def server_address(text: str) -> str:
    """The base URL of a server, without a slash at its end."""
    try:
        parts = urlsplit(text.strip())
        valid = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    except ValueError:
        valid = False
    if not valid:
        raise Fault(Exit.USAGE, f"{printable(text)} is not the address of a server, like https://share.example.org.")
    if parts.username is not None:
        raise Fault(Exit.USAGE, "An address must not hold a password: it ends up in logs. Set SHARE_PASSWORD.")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def parse_link(text: str, settings: Settings) -> tuple[str, str]:
    """The server and the file ID of a download link, a landing page or a bare ID."""
    text = text.strip()
    if re.fullmatch(_ID, text):
        return settings.required_server(), text
    found = _LINK.fullmatch(text.partition("#")[0].partition("?")[0])
    if found is None:
        raise Fault(Exit.USAGE, f"{printable(text)} is neither a link to a file nor a file ID.")
    return server_address(found["prefix"]), found["file_id"]


def parse_duration(text: str) -> int:
    """Seconds of `90`, `30m`, `12h`, `7d` or `2w`."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise Fault(Exit.USAGE, f"{printable(text)} is not a time like 30m, 12h, 7d or 2w.")
    return int(found[1]) * _SECONDS[found[2]]
