"""Spare files and folders, so that on a full disk there is room to make room.

To delete a file, to count a download or to sweep, something small is written first. Where that finds neither block nor
inode left, it goes into a file that was made and filled while there was room, and that file is renamed into place. A
record that is replaced so gives back as much as it took. Only new names use spares up, and the files that are removed
next give back more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Iterator

from shared.storage.directory.calls import is_full, open_folder, write_all

log = logging.getLogger(__name__)

SPARES = ".spares"
# Bytes. The record of a hot file has about 10 KiB; what the others do not need is freed when they are cut to size.
SPARE_SIZE = 16 * 1024
FILES = tuple(f"file-{number:02}" for number in range(32))
FOLDERS = tuple(f"folder-{number}" for number in range(4))
_ALL = frozenset({*FILES, *FOLDERS})


class Spares:
    """The spare files and folders of the data directory `root`, shared by all processes that use it."""

    def __init__(self, root: str) -> None:
        self._path = f"{root}/{SPARES}"
        self._lacking = False

    def fill(self) -> None:
        """Make all spares that are missing. Raises `OSError`, also where there is no room for them."""
        try:
            present = os.listdir(self._path)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._path, 0o700)
            present = []
        if _ALL.difference(present):
            with self._locked():
                for name in sorted(_ALL.difference(os.listdir(self._path))):
                    _make(f"{self._path}/{name}")

    def mend(self) -> None:
        """As `fill`, and replace what a crash left without its bytes. As far as there is room."""
        with contextlib.suppress(FileNotFoundError), self._locked(), os.scandir(self._path) as entries:
            for entry in entries:
                if entry.name in FILES and entry.stat(follow_symlinks=False).st_size < SPARE_SIZE:
                    os.unlink(entry.path)
        self._fill_as_far_as_possible()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """For one user at a time of all processes, so that a few spares are enough; refilled at the end."""
        try:
            with self._locked():
                yield
        finally:
            self._fill_as_far_as_possible()

    def refill(self) -> None:
        """Make what this process could not make when it was used up, as far as there is room by now."""
        if self._lacking:
            self._fill_as_far_as_possible()

    def take(self, path: str) -> None:
        """Rename a spare file to `path`. Raises `OSError` (ENOSPC) if there is none."""
        for name in FILES:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self._path}/{name}", path)
                return
        raise OSError(errno.ENOSPC, "no spare file is left")

    def make_folder(self, name: str, parent: int) -> None:
        """Make a folder in the open folder `parent`, or rename a spare one if there is no room. May exist already."""
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
                # Another process has made it meanwhile, and put something into it.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            return True
        return False

    def _fill_as_far_as_possible(self) -> None:
        try:
            self.fill()
        except OSError as error:
            # The next upload needs them, and makes them or is refused.
            if not self._lacking:
                log.warning("spare files could not be made: %s", error)
            self._lacking = True
        else:
            self._lacking = False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # The folder itself, since there may be no inode for a lock file.
        folder = open_folder(self._path, ())
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _make(path: str) -> None:
    if os.path.basename(path) in FOLDERS:
        os.mkdir(path, 0o700)
        return
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Random, since a file system that compresses would store nothing else in full, and not all can preallocate.
        write_all(file, secrets.token_bytes(SPARE_SIZE))
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(file)
