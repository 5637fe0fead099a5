"""What a data directory needs besides objects: staged files, locks, spares, and names that survive a power cut.

The names of its own folders begin with a dot. They hold nothing permanent, and are created again if removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.directory.calls import MISSING, is_full, open_folder, place_folders_apart, write_all
from shared.storage.directory.spares import Spares

log = logging.getLogger(__name__)

STAGING = ".staging"

T = TypeVar("T")


def segments_of(key: str) -> list[str]:
    """The names of the folders and the file in a key. Raises `ValueError` for anything that is not a key."""
    segments = key.split("/")
    # Names that begin with a dot are those of our own folders, or lead out of the directory.
    if not key.isascii() or "" in segments or "/." in f"/{key}":
        raise ValueError("not a key of this project")
    return segments


class DataDirectory:
    """The directory `root`, which is created if necessary. Its methods raise `OSError` unless they say otherwise."""

    def __init__(self, root: str, min_free_space: int) -> None:
        self.root = root
        self._staging = f"{root}/{STAGING}"
        self._min_free_space = min_free_space
        self._durable: set[str] = set()
        self.spares = Spares(root)
        _make_root(root)
        self._make_staging()
        self.spares.mend()

    def check(self) -> None:
        """Also raises `StorageUnavailable`."""
        if not self._is_writable():
            self._make_staging()
            if not self._is_writable():
                raise StorageUnavailable(f"{self.root} cannot be written to")

    def require_space(self) -> None:
        """Raise `StorageFull` if less than the configured space is free."""
        if self._min_free_space <= 0:
            return
        space = os.statvfs(self.root)
        if space.f_bavail * space.f_frsize < self._min_free_space:
            raise StorageFull

    def begin_file(self) -> tuple[str, int]:
        """Begin a file of any size, and return its path and a descriptor. Also raises `StorageFull`.

        Uploads can fill the disk, so all spares must exist first.
        """
        self.require_space()
        self.spares.fill()
        return self._new_staged()

    def staged(self) -> Iterator[os.DirEntry[str]]:
        """The files that are being written or were left over, and the folders that were moved away."""
        with os.scandir(self._staging) as entries:
            for entry in entries:
                if len(entry.name) != 2 or not entry.is_dir(follow_symlinks=False):
                    yield entry
                    continue
                try:
                    inside = os.scandir(entry.path)
                except OSError as error:
                    log.warning("a folder of staged files could not be read: %s", error)
                    continue
                with inside:
                    yield from inside

    def put(self, segments: Sequence[str], data: bytes, locked: int | None = None, *, replaces: bool = False) -> None:
        """Make a small file durable under its name, replacing an earlier one. Uses spares if there is no room.

        `locked` is its folder, if that is open and locked; it is unlocked afterwards. `replaces` says that there is an
        earlier one.
        """
        try:
            self._put(segments, data, locked, apart=replaces)
        except OSError as error:
            if not is_full(error):
                raise
            with self.spares.in_use():
                self._put(segments, data, locked, spare=True)

    def publish(
        self, staged: str, segments: Sequence[str], locked: int | None = None, *, unsynced: int | None = None
    ) -> None:
        """Rename a file into place and make the new name durable. Also raises `StorageUnavailable`.

        The file must be synced, unless it is passed as `unsynced`. `locked` is its new folder, if that is open and
        locked; it is unlocked as soon as the file has its name.
        """
        with self._open_target(segments[:-1]) if locked is None else contextlib.nullcontext(locked) as folder:
            os.replace(staged, segments[-1], dst_dir_fd=folder)
            if locked is not None:
                # Others need not wait for the disk. If they change the file again, their syncs include this change.
                fcntl.flock(folder, fcntl.LOCK_UN)
            if unsynced is not None:
                try:
                    os.fsync(unsynced)
                except OSError:
                    # If this fails too, the caller must still learn the reason, and the sweep removes the file.
                    with contextlib.suppress(OSError):
                        os.unlink(segments[-1], dir_fd=folder)
                    raise
            try:
                os.fsync(folder)
            except OSError as error:
                # Whatever the reason, the object now exists, so this must not be reported as a lack of room.
                raise StorageUnavailable(str(error)) from error

    def remove(self, folder: int, name: str) -> None:
        """Remove a file durably from an open and locked folder, which is unlocked as soon as the file is gone.

        Raises `FileNotFoundError` and the like if it does not exist.
        """
        os.unlink(name, dir_fd=folder)
        fcntl.flock(folder, fcntl.LOCK_UN)
        os.fsync(folder)
        # Before others take the freed space.
        self.spares.refill()

    def remove_folder(self, segments: Sequence[str]) -> str:
        """Move a folder away durably, and return its new path. Raises `FileNotFoundError` and the like."""
        self._durable.discard("/".join(segments))
        path = self._new_staged_path()
        with open_folder(self.root, segments[:-1]) as above:
            self._in_staging(lambda: os.rename(segments[-1], path, src_dir_fd=above))
            os.fsync(above)
        return path

    def locked(self, segments: Sequence[str], *, make: bool = False) -> open_folder:
        """Open a folder, which is locked against other threads and other processes on this machine while it is open.

        Make it if it is missing, or raise `FileNotFoundError` and the like.
        """
        while True:
            # flock belongs to the open folder, so opening it for each use also separates threads of one process.
            folder = self._open_target(segments) if make else open_folder(self.root, segments)
            try:
                fcntl.flock(folder.file, fcntl.LOCK_EX)
                # If something else moved the folder away, later callers lock another one.
                if _is_at(folder.file, "/".join((self.root, *segments))):
                    return folder
            except BaseException:
                os.close(folder.file)
                raise
            os.close(folder.file)

    def _is_writable(self) -> bool:
        try:
            # Without free descriptors, too, nothing can be stored or read.
            with open_folder(self.root, (STAGING,)):
                return os.access(self._staging, os.W_OK | os.X_OK)
        except MISSING:
            return False

    def _make_staging(self) -> None:
        with open_folder(self.root, ()) as root:
            self.spares.make_folder(STAGING, root)
        place_folders_apart(self._staging)

    def _in_staging(self, work: Callable[[], T]) -> T:
        """Do something that needs the folder of staged files, and create that again if it is missing."""
        try:
            return work()
        except FileNotFoundError:
            self._make_staging()
            return work()

    def _put(
        self, segments: Sequence[str], data: bytes, locked: int | None, *, apart: bool = False, spare: bool = False
    ) -> None:
        path, file = self._spare_staged() if spare else self._new_staged(apart=apart)
        try:
            try:
                write_all(file, data)
                if spare:
                    os.ftruncate(file, len(data))
                # An empty file, such as an expiry entry, has no bytes to lose. `publish` makes its name durable.
                if data:
                    os.fsync(file)
            finally:
                os.close(file)
            self.publish(path, segments, locked)
        except BaseException:
            # Unless it has its name already, or something else has emptied the folder.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise

    def _new_staged_path(self) -> str:
        return f"{self._staging}/{secrets.token_hex(16)}"

    def _new_staged(self, *, apart: bool = False) -> tuple[str, int]:
        """Begin a file. One that replaces another is begun `apart` from new ones, since it will be replaced in turn.

        ext4 looks for a free inode near the folder of a file. Without a journal, it passes over all that were deleted
        in the last minutes, and that can take longer than everything else. So these files are begun in 256 folders, in
        each for 10 ms: files that come together share the blocks of its names and inodes, which are written once then.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        if apart:
            folder = f"{self._staging}/{int(time.monotonic() * 100) % 256:02x}"
            path = f"{folder}/{secrets.token_hex(16)}"
            # Whatever is wrong, the file can be begun without that folder. So no spare folder is used for it.
            with contextlib.suppress(OSError):
                try:
                    return path, os.open(path, flags, 0o600)
                except FileNotFoundError:
                    os.mkdir(folder, 0o700)
                    return path, os.open(path, flags, 0o600)
        path = self._new_staged_path()
        return path, self._in_staging(lambda: os.open(path, flags, 0o600))

    def _spare_staged(self) -> tuple[str, int]:
        path = self._new_staged_path()
        self.spares.take(path)
        return path, os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def _open_target(self, segments: Sequence[str]) -> open_folder:
        """Make and open the folder of a file that is about to be published."""
        while True:
            try:
                self._make_folder(segments)
                return open_folder(self.root, segments)
            except FileNotFoundError:
                if not self._durable:
                    raise
                # Something else removed a folder that we remember as made.
                self._durable.clear()

    def _make_folder(self, segments: Sequence[str]) -> None:
        """Make a folder and its parents, and make their names durable.

        Another process may have made one without syncing its parent yet, so the first use in each process syncs.
        """
        path = "/".join(segments)
        if not segments or path in self._durable:
            return
        self._make_folder(segments[:-1])
        with open_folder(self.root, segments[:-1]) as above:
            self.spares.make_folder(segments[-1], above)
            os.fsync(above)
        self._durable.add(path)


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _make_root(path: str) -> None:
    """Make the data directory and its parents, and make their names durable."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _make_root(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    # Another process may have made it without syncing it yet. Where we cannot read, we have made nothing.
    with contextlib.suppress(PermissionError), open_folder(parent, ()) as folder:
        os.fsync(folder)
