"""Calls to the file system, in the words of the storage contract."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.contract import NotFound

BUFFER_SIZE = 1024 * 1024
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CANNOT_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


@contextlib.contextmanager
def translated(key: str | None = None) -> Iterator[None]:
    """Turn what the operating system says into the contract's errors; a missing file only where `key` is given."""
    try:
        yield
    except MISSING as error:
        if key is None:
            raise failure(error) from error
        raise NotFound(key) from error
    except OSError as error:
        if key is not None and error.errno == errno.ELOOP:
            # A link in the place of a file.
            raise NotFound(key) from error
        raise failure(error) from error


def failure(error: OSError) -> StorageFull | StorageUnavailable:
    if is_full(error):
        return StorageFull(str(error))
    return StorageUnavailable(str(error))


def is_full(error: OSError) -> bool:
    """Whether there is no room: neither block nor inode, or a quota is used up."""
    return error.errno in _FULL


def open_folder(root: str, segments: Sequence[str]) -> int:
    """Open the folder that these segments lead to, below a root whose own path may hold links. Close it when done.

    No segment is followed if it is a symbolic link, since a link could lead anywhere: `NotADirectoryError` (or ELOOP).
    """
    if not segments:
        return os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    folder = os.open(f"{root}/{segments[0]}", _FOLDER)
    for segment in segments[1:]:
        try:
            below = os.open(segment, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def open_file(root: str, segments: Sequence[str]) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; anything else in its place counts as missing.

    A link could lead anywhere, opening a FIFO would wait for a writer, and reading a device might never end.
    """
    folder = open_folder(root, segments[:-1])
    try:
        file = os.open(segments[-1], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)
    return regular(file)


def regular(file: int) -> tuple[int, os.stat_result]:
    """An open file with its status, if it is a regular one; else it is closed, and counts as missing."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return file, status


def read_file(root: str, segments: Sequence[str]) -> bytes:
    """All of a small regular file, which is never written into once it has its name."""
    file, status = open_file(root, segments)
    try:
        # One call and no file object: with many threads, each call to the system is a wait for the interpreter's lock.
        return os.read(file, status.st_size)
    finally:
        os.close(file)


def read_cached(file: int, size: int, start: int) -> memoryview | None:
    """Bytes from `start` on, as many of `size` as lie in memory; None if there are none, or it cannot be told.

    It does not wait for a disk (preadv2(2), RWF_NOWAIT), so it may be called from an event loop.
    """
    if not hasattr(os, "RWF_NOWAIT"):
        return None
    buffer = bytearray(size)
    try:
        count = os.preadv(file, [buffer], start, os.RWF_NOWAIT)
    except OSError:
        # On the disk only, a file system that does not know the call, or a fault: the read that waits will tell.
        return None
    return memoryview(buffer)[:count] if count else None


def write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def begin_writeback(file: int, start: int, size: int) -> None:
    """Have a range of a file written to disk from here on, without waiting: an fsync later has that much less to do.

    Only a hint; what goes wrong with it, that fsync reports. Linux does this on the advice that the range is not needed
    (mm/fadvise.c), and keeps what it is still writing in the cache; macOS has no such call.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, start, size, os.POSIX_FADV_DONTNEED)


def copy_range(source: int, target: int, start: int, stop: int) -> bool:
    """Append the bytes `[start, stop)` of one file to another; False if they are not there."""
    while start < stop:
        try:
            copied = os.copy_file_range(source, target, stop - start, offset_src=start)
        except (OSError, AttributeError) as error:
            # Only Linux has it, and not between all file systems.
            if isinstance(error, OSError) and error.errno not in _CANNOT_COPY:
                raise
            data = os.pread(source, min(BUFFER_SIZE, stop - start), start)
            write_all(target, data)
            copied = len(data)
        if copied == 0:
            return False
        start += copied
    return True


def sync_directory(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
