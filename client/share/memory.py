"""Keeps state between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from share.settings import Settings, app_dir, header_value

MAX_BYTES = 4 * 1024 * 1024
# Refuse links, do not wait for the other end of a FIFO, and do not convert line endings.
SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


class Memory:
    """A JSON object in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """The saved object; None if there is none, or it is not ours."""
        try:
            with open(open_own(self.path, os.O_RDONLY), "rb") as file:
                value = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def save(self, value: dict[str, Any]) -> None:
        """Raises `OSError`."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp sets mode 0600, and the rename leaves either the old or the new object, whatever happens.
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".share-")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(value, file)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise

    def forget(self) -> None:
        # The command has already succeeded, and must not fail because the directory is missing or not writable.
        # A leftover is harmless: it belongs to a file or upload that the server no longer knows.
        with contextlib.suppress(OSError):
            self.path.unlink()


class Tokens:
    """The tokens of what was created from here on one server, each with more about it.

    They are in files in `folder`, in the field `field`, and the server gets them in `header`.
    """

    folder: ClassVar[str]
    field: ClassVar[str]
    header: ClassVar[str]

    def __init__(self, server: str) -> None:
        self._folder = app_dir() / self.folder
        # The server is part of the name. Otherwise another server with the same ID would be sent the token.
        self._suffix = f"-{hashlib.sha256(server.encode()).hexdigest()[:16]}.json"

    @classmethod
    def credentials(
        cls, server: str, item_id: str, token: str | None, settings: Settings
    ) -> tuple[str, dict[str, str]]:
        """The server, by https if that is how the item was created, and headers that allow to change the item.

        They have `token`, or else the saved one, or else the access token. Without any of these they are empty.
        """
        saved = cls(server).of(item_id).load()
        secure = re.sub("^http:", "https:", server)
        if saved is None and (saved := cls(secure).of(item_id).load()) is not None:
            # The server had redirected to https.
            server = secure
        token = token or (saved or {}).get(cls.field)
        if not token:
            return server, settings.credentials(server)
        return server, {cls.header: header_value(cls.field.replace("_", " "), str(token))}

    def of(self, item_id: str) -> Memory:
        return Memory(self._folder / f"{item_id}{self._suffix}")

    def ids(self) -> set[str]:
        try:
            return {name.removesuffix(self._suffix) for name in os.listdir(self._folder) if name.endswith(self._suffix)}
        except OSError:
            return set()


class DeleteTokens(Tokens):
    """The delete tokens of uploaded files, and the keys of private ones."""

    folder = "uploads"
    field = "delete_token"
    header = "X-Delete-Token"


class OwnerTokens(Tokens):
    """The owner tokens of inboxes."""

    folder = "inboxes"
    field = "owner_token"
    header = "X-Owner-Token"


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file of our own. Raises `OSError` for a link, another kind of file, and a file of another user.

    In a directory that others can write to, someone may have planted any of these in its place.
    """
    descriptor = os.open(path, flags | SAFELY, mode)
    try:
        status = os.fstat(descriptor)
        own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
        if not (stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and own):
            raise FileExistsError(None, "This file was not written by this user's client", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
