"""Keeps the key of an unfinished upload, and proof of what it has encrypted, so that it never encrypts two texts."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from share.faults import Changed, Exit, Fault
from share.memory import open_own
from share.private.keys import KEY_BYTES, SALT_BYTES, Key, new_salt
from share.settings import app_dir

LIFETIME = 7 * 24 * 3600  # seconds; the server removes unfinished uploads after a week
DIGEST = hashlib.sha256().digest_size
HEAD = DIGEST + KEY_BYTES + SALT_BYTES
SUFFIX = ".key"


class Restart(Exception):
    """A file has changed since an earlier run began to upload it, and the key of that run is gone."""


class Ledger:
    """A file that only its owner can read: what is being uploaded, a key, a salt, and for each block so far a
    digest of everything up to its end.

    A digest is on disk before the block is encrypted. So no block can be encrypted in two versions with one key, even
    if the process or the machine stops at any moment. Only one process at a time can have the file open.
    """

    def __init__(self, file: BinaryIO, path: Path, identity: str) -> None:
        self._file = file
        self._path = path
        wanted = hashlib.sha256(identity.encode(errors="surrogateescape")).digest()
        head = file.read(HEAD)
        self.is_resumed = len(head) == HEAD and hmac.compare_digest(head[:DIGEST], wanted)
        if not self.is_resumed:
            head = wanted + Key.generate().secret + new_salt()
            file.seek(0)
            file.truncate()
            self._append(head)
        self.key = Key(head[DIGEST : DIGEST + KEY_BYTES])
        self.salt = head[DIGEST + KEY_BYTES :]
        # A digest of which a crash left only a part was never relied on.
        self._digests = [digest for digest in iter(lambda: file.read(DIGEST), b"") if len(digest) == DIGEST]

    @classmethod
    @contextlib.contextmanager
    def open(cls, place: str, identity: str) -> Iterator[Self]:
        """The ledger of what is at this place (server and paths). It starts afresh if `identity` is another.

        Raises `Fault` if another process is uploading the same, and `OSError`.
        """
        folder = app_dir() / "unfinished"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_old(folder)
        path = folder / f"{hashlib.sha256(place.encode(errors='surrogateescape')).hexdigest()}{SUFFIX}"
        with open(open_own(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            if not lock(file):
                raise Fault(Exit.LOCAL, "Another command is already uploading this. Wait until it has finished.")
            yield cls(file, path, identity)

    def require(self, number: int, digest: bytes) -> None:
        """Raises `Changed` unless this is the first version of everything up to the end of this block.

        `digest` is the SHA-256 of that. Call it for each block in order.
        """
        if number < len(self._digests):
            if not hmac.compare_digest(self._digests[number], digest):
                raise Changed("The file has changed since its upload began. Run the command again.")
            return
        assert number == len(self._digests)
        self._file.seek(HEAD + number * DIGEST)
        self._append(digest)
        self._digests.append(digest)

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        os.fsync(self._file.fileno())


def lock(file: BinaryIO) -> bool:
    """Lock a file until it is closed; False if another process has locked it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # A locked byte cannot be read, so lock one that is not there.
            file.seek(2**30)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_old(folder: Path) -> None:
    """Remove the keys of uploads that nobody has resumed in time."""
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - LIFETIME:
                path.unlink()
