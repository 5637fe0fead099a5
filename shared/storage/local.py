"""Objects as files of one directory.

Every write is staged under `.staging/`, synced and renamed into place, so a reader sees the old or the new object and a
crash leaves at most a staged file. Conditions hold across threads and processes of one machine, by an advisory lock on
one of 256 files under `.locks/`; they do not hold across machines that mount the directory over a network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.filesystem import (
    MISSING,
    begin_writeback,
    copy_range,
    failure,
    open_file,
    read_cached,
    read_file,
    sync_directory,
    translated,
    write_all,
)
from shared.storage.objects import (
    ABSENT,
    ANYTHING,
    AlreadyExists,
    Changed,
    Condition,
    Info,
    Matches,
    NotFound,
    Part,
    Piece,
    RangeNotSatisfiable,
    Slice,
    chosen_parts,
)

log = logging.getLogger(__name__)

STAGING = ".staging"
LOCKS = ".locks"
LOCK_COUNT = 256
# Beside the parts of a multipart upload: those that the object is made of.
CHOICE = "chosen"
# What is copied between two looks at the space that is left.
COPY_SIZE = 64 * 1024 * 1024
# What is written before the disk is given it: enough for few requests to it, and little to wait for in the end.
WRITEBACK_SIZE = 8 * 1024 * 1024


class LocalStore:
    """An `ObjectStore` in the directory `root`, which is created if need be.

    A `writer` that would leave less than `min_free_space` bytes on the file system raises `StorageFull`; small objects
    may still be written then, so that files can be counted and deleted on a full disk.
    """

    signs = False

    def __init__(self, root: Path, *, min_free_space: int = 0) -> None:
        self.root = root.absolute()
        self._min_free_space = min_free_space
        self._durable_directories: set[str] = set()
        with translated():
            for name in (STAGING, LOCKS):
                self._make_directory(str(self.root / name))
        self.check()

    def read(self, key: str) -> tuple[bytes, str]:
        with translated(key):
            data = read_file(self._path(key))
        return data, _etag(data)

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for key in keys:
            try:
                yield key, self.read(key)[0]
            except NotFound:
                continue

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        path = self._path(key)
        with translated():
            self._make_directory(os.path.dirname(path))
            with self._locked(key):
                self._require(key, when)
                staged = self._stage(data)
                self._publish(staged, path)
        return _etag(data)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> LocalReader:
        with translated(key):
            file, found = open_file(self._path(key))
        size = found.st_size
        if start >= size:
            os.close(file)
            raise RangeNotSatisfiable(key)
        return LocalReader(file, size, start, size if stop is None else min(stop, size))

    def writer(self, key: str, reserve: int = 0) -> LocalWriter:
        return LocalWriter(self, key, reserve)

    def delete(self, key: str) -> None:
        # The lock keeps a conditional write, which has compared but not renamed yet, from bringing the object back.
        path = self._path(key)
        with translated(), self._locked(key):
            try:
                os.unlink(path)
            except MISSING:
                return
            sync_directory(os.path.dirname(path))

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        yield from self._walk(str(self.root / prefix), prefix, after)

    def discard_unfinished(self, before: datetime) -> int:
        removed = 0
        with translated(), os.scandir(self.root / STAGING) as entries:
            for entry in entries:
                # Two sweeps may meet here, and a writer may finish at any moment.
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < before.timestamp():
                        if entry.is_dir(follow_symlinks=False):
                            shutil.rmtree(entry.path)
                        else:
                            os.unlink(entry.path)
                        removed += 1
        return removed

    def check(self) -> None:
        with translated():
            if not os.access(self.root / STAGING, os.W_OK | os.X_OK):
                raise StorageUnavailable(f"{self.root} cannot be written to")

    def stat(self, key: str) -> Info:
        with translated(key):
            found = os.stat(self._path(key))
        if not stat.S_ISREG(found.st_mode):
            raise NotFound(key)
        return _info(found)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        writer = LocalWriter(self, key, 0)
        try:
            for piece in pieces:
                if isinstance(piece, Slice):
                    writer.copy(piece)
                else:
                    writer.write(piece)
            writer.commit()
        except BaseException:
            writer.abort()
            raise

    def start_parts(self, key: str) -> str:
        return secrets.token_hex(16)

    def list_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        if self._finished(key) is not None:
            raise NotFound(key)
        parts = []
        with translated():
            try:
                names = [name for name in os.listdir(self._path(_parts(key))) if name.isdecimal()]
            except MISSING:
                return []
        for number in sorted(int(name) for name in names):
            # The upload may be aborted meanwhile.
            with contextlib.suppress(NotFound):
                parts.append(_part(number, self.stat(_part_key(key, number))))
        return parts

    def finish_parts(self, key: str, upload_id: str, parts: Sequence[Part]) -> Sequence[Slice]:
        # As on S3, the first to finish decides, or two who do it at once could make two objects of one upload.
        finished = self._finished(key)
        if finished is None:
            # There are no parts to be listed once another is the first.
            with contextlib.suppress(AlreadyExists, NotFound):
                chosen = chosen_parts(key, parts, self.list_parts(key, upload_id))
                self.put(_choice_key(key), json.dumps([dataclasses.astuple(part) for part in chosen]).encode(), ABSENT)
            finished = self._finished(key)
        if finished is None:
            raise NotFound(key)
        return [Slice(_part_key(key, part.number), 0, part.size, part.etag) for part in finished]

    def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        path = self._path(_parts(key))
        with translated():
            self._durable_directories.discard(path)
            # Out of the way first: a part may be put there while the others are removed.
            removed = self._new_staged_path()
            try:
                os.rename(path, removed)
            except MISSING:
                return
            sync_directory(os.path.dirname(path))
            shutil.rmtree(removed)

    def part_writer(self, key: str, upload_id: str, number: int) -> LocalPartWriter:
        if self._finished(key) is not None:
            raise NotFound(key)
        return LocalPartWriter(self, key, number)

    def signed_part_url(self, key: str, upload_id: str, number: int, expires_in: int) -> str:
        raise NotImplementedError("a directory has no URLs")

    def signed_url(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        raise NotImplementedError("a directory has no URLs")

    def _finished(self, key: str) -> Sequence[Part] | None:
        """The parts that a multipart upload was finished with; None if it was not."""
        try:
            choice = self.read(_choice_key(key))[0]
        except NotFound:
            return None
        return [Part(*values) for values in json.loads(choice)]

    def _path(self, key: str) -> str:
        segments = key.split("/")
        if not key.isascii() or any(segment in ("", ".", "..") or segment.startswith(".") for segment in segments):
            raise ValueError("not a key of this project")
        return os.path.join(self.root, *segments)

    def _walk(self, directory: str, prefix: str, after: str) -> Iterator[str]:
        try:
            with os.scandir(directory) as entries:
                found = sorted(
                    entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                    for entry in entries
                    if entry.name.isascii() and not entry.name.startswith(".")
                )
        except MISSING:
            return
        except OSError as error:
            raise failure(error) from error
        for name in found:
            key = prefix + name
            if name.endswith("/"):
                # Everything below sorts at or before `after` unless `after` itself lies below.
                if key > after or after.startswith(key):
                    yield from self._walk(directory + "/" + name.rstrip("/"), key, after)
            elif key > after:
                yield key

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        # flock belongs to the open file, so a file opened per use also keeps threads of one process apart. The files
        # are never removed: unlinking one that somebody waits for would let two hold "the same" lock.
        number = zlib.crc32(key.encode()) % LOCK_COUNT
        file = os.open(f"{self.root}/{LOCKS}/{number:03}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _require(self, key: str, when: Condition) -> None:
        if when is ANYTHING:
            return
        try:
            current = self.read(key)[1]
        except NotFound:
            if when is ABSENT:
                return
            raise
        if not isinstance(when, Matches):
            raise AlreadyExists(key)
        if current != when.etag:
            raise Changed(key)

    def _stage(self, data: bytes) -> str:
        path, file = self._new_staged()
        try:
            try:
                write_all(file, data)
                os.fsync(file)
            finally:
                os.close(file)
        except BaseException:
            os.unlink(path)
            raise
        return path

    def _new_staged_path(self) -> str:
        return f"{self.root}/{STAGING}/{secrets.token_hex(16)}"

    def _new_staged(self) -> tuple[str, int]:
        path = self._new_staged_path()
        return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _publish(self, staged: str, path: str) -> None:
        """Rename a synced file into place and make the new name durable."""
        try:
            try:
                os.replace(staged, path)
            except FileNotFoundError:
                # Somebody has tidied away a directory that was empty, and that we remember as made.
                self._durable_directories.clear()
                self._make_directory(os.path.dirname(path))
                os.replace(staged, path)
        except BaseException:
            os.unlink(staged)
            raise
        try:
            sync_directory(os.path.dirname(path))
        except OSError as error:
            # Whatever the reason, the object is there now, so nobody must hear that there was no room for it.
            raise StorageUnavailable(str(error)) from error

    def _make_directory(self, path: str) -> None:
        """Make a directory and those above it, and make their names durable.

        Another process may have made one without having synced its parent yet, so the first use in each process syncs.
        """
        if path in self._durable_directories:
            return
        parent = os.path.dirname(path)
        if path != str(self.root) and parent != path:
            self._make_directory(parent)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            sync_directory(parent)
        else:
            os.makedirs(path, mode=0o700, exist_ok=True)
        self._durable_directories.add(path)

    def require_space(self) -> None:
        """Raise `StorageFull` once less than the configured space is free."""
        if self._min_free_space <= 0:
            return
        space = os.statvfs(self.root)
        if space.f_bavail * space.f_frsize < self._min_free_space:
            raise StorageFull


class LocalReader:
    """A `Reader` that keeps the file open, so that deleting the object does not disturb it."""

    def __init__(self, file: int, size: int, start: int, stop: int) -> None:
        self._file = file
        self.object_size = size
        self._position = start
        self._stop = stop

    def read(self, size: int) -> bytes:
        with translated():
            data = os.pread(self._file, min(size, self._stop - self._position), self._position)
        self._position += len(data)
        return data

    def read_ready(self, size: int) -> memoryview | None:
        data = read_cached(self._file, min(size, self._stop - self._position), self._position)
        self._position += len(data or b"")
        return data

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class LocalWriter:
    """A `Writer` into a staged file."""

    def __init__(self, store: LocalStore, key: str, reserve: int) -> None:
        self._store = store
        self._key = key
        self._reserve = reserve
        self._size = reserve
        self._handed_over = 0
        with translated():
            store.require_space()
            self._staged, self._file = store._new_staged()
            os.lseek(self._file, reserve, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        with translated():
            self._store.require_space()
            write_all(self._file, data)
            self._grown_by(len(data))

    def copy(self, source: Slice) -> None:
        """Append a range of another object, without its bytes passing through us where the file system can do that.

        Raises like `ObjectStore.compose`.
        """
        with translated(source.key):
            file, status = open_file(self._store._path(source.key))
        try:
            found = _info(status)
            if source.etag not in (None, found.etag):
                raise Changed(source.key)
            if source.stop > found.size:
                raise RangeNotSatisfiable(source.key)
            for start in range(source.start, source.stop, COPY_SIZE):
                stop = min(start + COPY_SIZE, source.stop)
                with translated():
                    self._store.require_space()
                    if not copy_range(file, self._file, start, stop):
                        raise Changed(source.key)
                    self._grown_by(stop - start)
        finally:
            os.close(file)

    def _grown_by(self, size: int) -> None:
        self._size += size
        if self._size - self._handed_over >= WRITEBACK_SIZE:
            begin_writeback(self._file, self._handed_over, self._size - self._handed_over)
            self._handed_over = self._size

    def info(self) -> Info:
        """Size and version of what was written until now."""
        with translated():
            return _info(os.fstat(self._file))

    def commit(self, head: bytes = b"") -> None:
        if len(head) != self._reserve:
            raise ValueError("the head does not fill the bytes reserved for it")
        path = self._store._path(self._key)
        with translated():
            os.pwrite(self._file, head, 0)
            os.fsync(self._file)
            self._close()
            self._store._make_directory(os.path.dirname(path))
            with self._store._locked(self._key):
                self._store._publish(self._staged, path)

    def abort(self) -> None:
        self._close()
        try:
            os.unlink(self._staged)
        except FileNotFoundError:
            return
        except OSError as error:
            # What cannot be removed now is left to the sweep; the caller is already reporting a fault of its own.
            log.warning("a staged file could not be removed: %s", error)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class LocalPartWriter:
    """A `PartWriter` into a staged file."""

    def __init__(self, store: LocalStore, key: str, number: int) -> None:
        self._number = number
        self._writer = LocalWriter(store, _part_key(key, number), 0)
        self.write = self._writer.write
        self.abort = self._writer.abort

    def commit(self) -> Part:
        part = _part(self._number, self._writer.info())
        self._writer.commit()
        return part


def _info(found: os.stat_result) -> Info:
    # Reads no bytes. Every write makes another file, so a version that shares the number has another time.
    return Info(found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}")


def _parts(key: str) -> str:
    return key + ".parts"


def _choice_key(key: str) -> str:
    return f"{_parts(key)}/{CHOICE}"


def _part_key(key: str, number: int) -> str:
    return f"{_parts(key)}/{number}"


def _part(number: int, found: Info) -> Part:
    return Part(number, found.size, found.etag)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
