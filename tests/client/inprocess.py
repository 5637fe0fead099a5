"""The client inside the test process, which is fast enough for long tables of answers."""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from share.commands import app
from typer.main import get_command
from typer.testing import CliRunner

from tests.client.proxy import Answer

# The runner would prepare all commands for each run.
COMMAND = get_command(app)

FILE_ID = str(uuid.UUID("3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"))


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: bytes
    err: str


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """The command `share` with its own home directory, in the current directory."""

    home: Path
    server: str
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    def run(self, *arguments: str, data: bytes = b"", **environment: str) -> Ended:
        inherited = {
            name: None for name in os.environ if name.startswith(("SHARE_", "XDG_")) or "PROXY" in name.upper()
        }
        own = {"HOME": str(self.home), "SHARE_SERVER": self.server}
        variables = {**inherited, **own, **self.environment, **environment}
        with CliRunner().isolation(input=data, env=variables) as (out, err, _):
            # Any other exception would print a traceback.
            with pytest.raises(SystemExit) as end:
                COMMAND.main(args=arguments, prog_name="share")
            assert isinstance(end.value.code, int | None)
            return Ended(end.value.code or 0, out.getvalue(), err.getvalue().decode())


def description(server: str, **changes: object) -> dict[str, Any]:
    """The server's answer to an upload, here of an empty file."""
    return {
        "file_id": FILE_ID,
        "original_name": "empty.txt",
        "content_type": "text/plain",
        "file_size": 0,
        "download_count": 0,
        "download_link": f"{server}/file/download/{FILE_ID}",
        "download_page": f"{server}/download/{FILE_ID}",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "created_at": "2026-11-27T09:26:57.000Z",
        "expires_at": None,
        "max_downloads": None,
        "password_protected": False,
        "delete_token": "token",
        **changes,
    }


def answer(value: object, status: int = 200, **headers: str) -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, body
