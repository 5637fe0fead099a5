"""Objects as files in one directory.

Every write is staged under `.staging/`, synced and renamed into place, so a reader sees the old or the new object and a
crash leaves at most a staged file. Only what a `writer` wrote is renamed before it is synced: nobody knows its key yet,
and one commit of the file system's journal makes the bytes and the name durable. An advisory lock on the folder of an
object makes conditions hold across the threads and processes of one machine, but not across machines that mount the
directory over a network. On a full disk, small objects can still be written, into one of the files under `.spares/`.

The directory itself can be a symbolic link. Links below it are never followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.contract import (
    ABSENT,
    ANYTHING,
    AlreadyExists,
    Changed,
    Condition,
    Info,
    Matches,
    NotFound,
    ObjectStore,
    Piece,
    RangeNotSatisfiable,
    Slice,
    WouldWait,
)
from shared.storage.directory.cached import can_read_cached, is_writable_cached, open_cached
from shared.storage.directory.calls import (
    MISSING,
    failure,
    is_file,
    open_file,
    open_folder,
    read_file,
    read_in,
    translated,
)
from shared.storage.directory.data_directory import STAGING, DataDirectory, segments_of
from shared.storage.directory.multipart import DirectoryMultipart
from shared.storage.directory.spares import FILES, SPARES
from shared.storage.directory.writer import CachedReader, DirectoryReader, DirectoryWriter, info_of


class DirectoryStore:
    """An `ObjectStore` in the directory `root`, which is created if necessary.

    A `writer` raises `StorageFull` if fewer than `min_free_space` bytes are free on the file system, which it checks
    for each MiB. Small objects can still be written, so that downloads can be counted and files deleted on a full disk.
    """

    links = None
    can_be_ambiguous = False
    ready: ObjectStore | None
    _open_file = staticmethod(open_file)
    _reader = DirectoryReader

    def __init__(self, root: Path, *, min_free_space: int = 0) -> None:
        self.root = root.absolute()
        try:
            with translated():
                self._directory = DataDirectory(str(self.root), min_free_space)
        except StorageFull as error:
            raise StorageUnavailable(f"{self.root} has no space left") from error
        self.multipart = DirectoryMultipart(self._directory)
        self.check()
        probe = (SPARES, FILES[0])
        self.ready = CachedDirectory(self) if can_read_cached(self._directory.root, probe) else None

    def read(self, key: str) -> tuple[bytes, str]:
        segments = segments_of(key)
        with translated(key):
            data = read_file(self._directory.root, segments)
        return data, _etag(data)

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for key in keys:
            try:
                yield key, self.read(key)[0]
            except NotFound:
                continue

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        segments = segments_of(key)
        if when is ANYTHING:
            # No key is written both with and without a condition.
            with translated():
                self._directory.put(segments, data)
            return _etag(data)
        with translated(None if when is ABSENT else key):
            locked = self._directory.locked(segments[:-1], make=when is ABSENT)
        with locked as folder, translated():
            _require(folder, key, segments[-1], when)
            self._directory.put(segments, data, folder, replaces=isinstance(when, Matches))
        return _etag(data)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> DirectoryReader:
        segments = segments_of(key)
        with translated(key):
            file, status = self._open_file(self._directory.root, segments)
        size = status.st_size
        if start >= size:
            os.close(file)
            raise RangeNotSatisfiable(key)
        return self._reader(file, size, start, size if stop is None else min(stop, size))

    def writer(self, key: str, reserve: int = 0) -> DirectoryWriter:
        return DirectoryWriter(self._directory, key, reserve)

    def delete(self, *keys: str) -> None:
        failures: list[StorageUnavailable] = []
        for key in keys:
            try:
                self._delete(key)
            except StorageUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _delete(self, key: str) -> None:
        *folders, name = segments_of(key)
        # Without the lock, a conditional write that has compared but not yet renamed would restore the object.
        with translated(), contextlib.suppress(*MISSING), self._directory.locked(folders) as folder:
            self._directory.remove(folder, name)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        try:
            with open_folder(self._directory.root, prefix.split("/")[:-1]) as folder, os.scandir(folder) as entries:
                names = sorted(
                    entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                    for entry in entries
                    if entry.name.isascii() and not entry.name.startswith(".") and _is_ours(entry)
                )
        except MISSING:
            return
        except OSError as error:
            raise failure(error) from error
        for name in names:
            key = prefix + name
            if name.endswith("/"):
                # If the folder sorts before `after`, so does everything in it, unless `after` itself is in it.
                if key > after or after.startswith(key):
                    yield from self.list(key, after)
            elif key > after:
                yield key

    def discard_unfinished(self, before: datetime) -> int:
        removed = 0
        # Something else may have removed the folder.
        with translated(), contextlib.suppress(FileNotFoundError):
            for entry in self._directory.staged():
                # Two sweeps may run at once, and a writer may finish at any time.
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < before.timestamp():
                        if entry.is_dir(follow_symlinks=False):
                            shutil.rmtree(entry.path)
                        else:
                            os.unlink(entry.path)
                        removed += 1
        self._directory.spares.mend()
        return removed

    def check(self) -> None:
        with translated():
            self._directory.check()

    def stat(self, key: str) -> Info:
        segments = segments_of(key)
        with translated(key), open_folder(self._directory.root, segments[:-1]) as folder:
            status = os.stat(segments[-1], dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(key)
        return info_of(status)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        writer = self.writer(key)
        try:
            for piece in pieces:
                if isinstance(piece, Slice):
                    writer.copy(piece)
                else:
                    writer.write(piece)
            with translated():
                # It may replace a complete object, so it must be complete on the disk first.
                writer.sync()
                writer.publish()
        except BaseException:
            writer.abort()
            raise


class CachedDirectory(DirectoryStore):
    """The `ready` store of another store: the same objects, if they can be read without waiting for a disk."""

    ready = None
    _open_file = staticmethod(open_cached)
    _reader = CachedReader

    def __init__(self, store: DirectoryStore) -> None:
        self.root = store.root
        self._directory = store._directory

    def read(self, key: str) -> tuple[bytes, str]:
        try:
            with contextlib.closing(self.open(key)) as reader:
                data = reader.read(reader.object_size)
        except RangeNotSatisfiable as error:
            # It is empty, so it is damaged: let the store itself report that.
            raise WouldWait from error
        return data, _etag(data)

    def check(self) -> None:
        with contextlib.suppress(OSError):
            if is_writable_cached(f"{self._directory.root}/{STAGING}"):
                return
        # The store itself repairs or reports it, and follows links.
        raise WouldWait


def _require(folder: int, key: str, name: str, when: Condition) -> None:
    if isinstance(when, Matches):
        with translated(key):
            current = read_in(folder, name)
        if _etag(current) != when.etag:
            raise Changed(key)
    elif is_file(folder, name):
        raise AlreadyExists(key)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether this is a file or a folder, and not a link or anything else."""
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
