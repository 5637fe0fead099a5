"""Spare files and folders, which leave enough room on a full disk to free space.

Deleting a file, counting a download and sweeping all write something small first. If no block or inode is left for it,
it goes into a file that was made and filled while there was room, and that file is renamed into place. Replacing a
record this way frees as much as it takes. Only new names use up spares, and the files that are removed next free more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator

from shared.storage.directory.calls import is_full, open_folder, write_all

log = logging.getLogger(__name__)

SPARES = ".spares"
# Bytes: more than twice the largest record, which is that of an encrypted file. What is written is cut to size, which
# frees the rest.
SPARE_SIZE = 24 * 1024
FILES = tuple(f"file-{number:02}" for number in range(32))
FOLDERS = tuple(f"folder-{number}" for number in range(4))
# In ns. Two changes within one tick of the file system, which is up to 2 s, have the same time.
SETTLED_AFTER = 3_000_000_000
_ALL = frozenset({*FILES, *FOLDERS})


class Spares:
    """The spare files and folders of the data directory `root`, shared by all processes that use it."""

    def __init__(self, root: str) -> None:
        self._path = f"{root}/{SPARES}"
        self._lacking = False
        # When the folder last changed, if all spares were there afterwards; in ns since 1970.
        self._complete_since: int | None = None

    def fill(self) -> None:
        """Make all missing spares. Raises `OSError`, also if there is no room for them."""
        try:
            changed = os.stat(self._path).st_mtime_ns
            if changed == self._complete_since:
                return
            present = os.listdir(self._path)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._path, 0o700)
            present = []
        if _ALL.difference(present):
            with self._locked():
                for name in sorted(_ALL.difference(os.listdir(self._path))):
                    _make(f"{self._path}/{name}")
        elif time.time_ns() - changed > SETTLED_AFTER:
            self._complete_since = changed

    def mend(self) -> None:
        """Like `fill`, but as far as there is room. Also replaces files that a crash left without their bytes."""
        with contextlib.suppress(FileNotFoundError), self._locked(), os.scandir(self._path) as entries:
            for entry in entries:
                if entry.name in FILES and entry.stat(follow_symlinks=False).st_size < SPARE_SIZE:
                    os.unlink(entry.path)
        self._fill_as_far_as_possible()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Admit one user at a time across all processes, so that a few spares are enough. Refills them at the end."""
        try:
            with self._locked():
                yield
        finally:
            self._fill_as_far_as_possible()

    def refill(self) -> None:
        """Make the spares that this process could not replace after using them, as far as there is room now."""
        if self._lacking:
            self._fill_as_far_as_possible()

    def take(self, path: str) -> None:
        """Rename a spare file to `path`. Raises `OSError` (ENOSPC) if none is left."""
        for name in FILES:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self._path}/{name}", path)
                return
        raise OSError(errno.ENOSPC, "no spare file is left")

    def make_folder(self, name: str, parent: int) -> None:
        """Make a folder in the open folder `parent`, or rename a spare if there is no room. It may already exist."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return
        except OSError as error:
            if not is_full(error) or not self._take_folder(name, parent):
                raise

    def _take_folder(self, name: str, parent: int) -> bool:
        for spare in FOLDERS:
            try:
                os.rename(f"{self._path}/{spare}", name, dst_dir_fd=parent)
            except FileNotFoundError:
                continue
            except OSError as error:
                # Meanwhile, another process made it and put something into it.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            return True
        return False

    def _fill_as_far_as_possible(self) -> None:
        try:
            self.fill()
        except OSError as error:
            # The next upload requires them: it makes them or is refused.
            if not self._lacking:
                log.warning("spare files could not be made: %s", error)
            self._lacking = True
        else:
            self._lacking = False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Lock the folder itself, since there may be no inode for a lock file.
        with open_folder(self._path, ()) as folder:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield


def _make(path: str) -> None:
    if os.path.basename(path) in FOLDERS:
        os.mkdir(path, 0o700)
        return
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Random, since compressing file systems store nothing else in full, and not all file systems can preallocate.
        write_all(file, secrets.token_bytes(SPARE_SIZE))
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(file)
