"""What is kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from share.settings import app_dir


class Memory:
    """One JSON object in a file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """None if there is none, or none that can be read."""
        try:
            value = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def save(self, value: dict[str, Any]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp gives mode 0600, and the rename leaves the old or the new object, whatever happens.
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name[:100]}.")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(value, file)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def delete_token_memory(server: str, file_id: str) -> Memory:
    # By the server too: another one could hand out the same ID, and would be sent the token.
    return Memory(app_dir() / "uploads" / f"{file_id}-{hashlib.sha256(server.encode()).hexdigest()[:16]}.json")
