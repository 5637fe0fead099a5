"""Readers and writers of objects that are files in a data directory."""

from __future__ import annotations

import logging
import os

from shared.storage.contract import Changed, Info, RangeNotSatisfiable, Slice, WouldWait
from shared.storage.directory.cached import read_cached
from shared.storage.directory.calls import (
    begin_writeback,
    copy_range,
    open_file,
    translated,
    write_all,
)
from shared.storage.directory.data_directory import DataDirectory, segments_of

log = logging.getLogger(__name__)

# Bytes to write, and to copy, between two checks of the free space.
CHECK_SIZE = 1024 * 1024
COPY_SIZE = 64 * 1024 * 1024
# Bytes to write before the disk gets them: enough to keep requests few, and few enough for a short wait at the end.
WRITEBACK_SIZE = 8 * 1024 * 1024


class DirectoryReader:
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


class CachedReader(DirectoryReader):
    """A `Reader` that raises `WouldWait` instead of reading from the disk."""

    def read(self, size: int) -> bytes:
        size = min(size, self._stop - self._position)
        data = self.read_ready(size) if size else b""
        if data is None or len(data) < size:
            raise WouldWait
        return bytes(data)


class DirectoryWriter:
    """A `Writer` into a staged file."""

    def __init__(self, directory: DataDirectory, key: str, reserve: int) -> None:
        self._directory = directory
        self._key = key
        self._reserve = reserve
        self._size = self._checked = reserve
        self._handed_over = 0
        with translated():
            self._staged, self._file = directory.begin_file()
            os.lseek(self._file, reserve, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        with translated():
            if self._size - self._checked >= CHECK_SIZE:
                self._directory.require_space()
                self._checked = self._size
            write_all(self._file, data)
            self._grown_by(len(data))

    def copy(self, source: Slice) -> None:
        """Append a range of another object. If the file system can copy it, its bytes do not pass through us.

        Raises what `ObjectStore.compose` raises.
        """
        with translated(source.key):
            file, status = open_file(self._directory.root, segments_of(source.key))
        try:
            info = info_of(status)
            if source.etag not in (None, info.etag):
                raise Changed(source.key)
            if source.stop > info.size:
                raise RangeNotSatisfiable(source.key)
            for start in range(source.start, source.stop, COPY_SIZE):
                stop = min(start + COPY_SIZE, source.stop)
                with translated():
                    self._directory.require_space()
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
        """Size and version of what was written so far."""
        with translated():
            return info_of(os.fstat(self._file))

    def commit(self, head: bytes = b"") -> None:
        if len(head) != self._reserve:
            raise ValueError("the head does not fill the bytes reserved for it")
        with translated():
            os.pwrite(self._file, head, 0)
            self._directory.publish(self._staged, segments_of(self._key), unsynced=self._file)
            self._close()

    def sync(self) -> None:
        """Sync everything to disk. Write nothing after this. Raises `OSError`."""
        os.fsync(self._file)
        self._close()

    def publish(self, locked: int | None = None) -> None:
        """Give the synced file its name, in its folder if that is open. Raises what `DataDirectory.publish` raises."""
        self._directory.publish(self._staged, segments_of(self._key), locked)

    def abort(self) -> None:
        self._close()
        try:
            os.unlink(self._staged)
        except FileNotFoundError:
            return
        except OSError as error:
            # The sweep will remove it; the caller is already reporting an error of its own.
            log.warning("a staged file could not be removed: %s", error)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def info_of(status: os.stat_result) -> Info:
    """Size and version of a file."""
    # Reads no bytes. Every write makes a new file, so versions with the same inode number have different times.
    return Info(status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}")
