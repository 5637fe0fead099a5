"""File system calls, in the terms of the storage contract."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.contract import NotFound

BUFFER_SIZE = 1024 * 1024
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# linux/fs.h, for most architectures: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL.
_GET_FLAGS, _SET_FLAGS, _TOP_FOLDER = 0x80086601, 0x40086602, 0x20000
_CANNOT_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


class translated:  # noqa: N801 (named as a function, like contextlib.suppress)
    """Turn system errors into the errors of the contract: a missing file becomes `NotFound` only if `key` is given."""

    # A class, because a generator takes three times as long, a dozen times in each upload.
    __slots__ = ("_key",)

    def __init__(self, key: str | None = None) -> None:
        self._key = key

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, OSError):
            return
        # A link in place of a file counts as missing, too.
        if self._key is not None and (isinstance(error, MISSING) or error.errno == errno.ELOOP):
            raise NotFound(self._key) from error
        raise failure(error) from error


def failure(error: OSError) -> StorageFull | StorageUnavailable:
    if is_full(error):
        return StorageFull(str(error))
    return StorageUnavailable(str(error))


def is_full(error: OSError) -> bool:
    """Whether there is no room: no block or inode is left, or a quota is exhausted."""
    return error.errno in _FULL


class open_folder:  # noqa: N801 (as above)
    """Open the folder at these segments below `root`, whose own path can contain links, for a `with` statement.

    If a segment is a symbolic link, which could lead anywhere, this raises `NotADirectoryError` (or ELOOP).
    """

    __slots__ = ("file",)

    def __init__(self, root: str, segments: Sequence[str]) -> None:
        self.file = os.open(f"{root}/{segments[0]}", _FOLDER) if segments else os.open(root, _FOLDER & ~os.O_NOFOLLOW)
        for segment in segments[1:]:
            above = self.file
            try:
                self.file = os.open(segment, _FOLDER, dir_fd=above)
            finally:
                os.close(above)

    def __enter__(self) -> int:
        return self.file

    def __exit__(self, *_error: object) -> None:
        os.close(self.file)


def open_file(root: str, segments: Sequence[str]) -> tuple[int, os.stat_result]:
    """Open a regular file for reading. Anything else in its place counts as missing."""
    with open_folder(root, segments[:-1]) as folder:
        return _open_in(folder, segments[-1])


def _open_in(folder: int, name: str) -> tuple[int, os.stat_result]:
    # A link could lead anywhere, opening a FIFO would wait for a writer, and reading a device might never end.
    return regular(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder))


def regular(file: int) -> tuple[int, os.stat_result]:
    """The open file and its status. If it is not a regular file, close it and treat it as missing."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return file, status


def read_file(root: str, segments: Sequence[str]) -> bytes:
    """The content of a small regular file. Nothing writes to a file once it has its name."""
    return _content(*open_file(root, segments))


def read_in(folder: int, name: str) -> bytes:
    """Like `read_file`, but in an open folder."""
    return _content(*_open_in(folder, name))


def is_file(folder: int, name: str) -> bool:
    """Whether there is a regular file of this name in an open folder."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _content(file: int, status: os.stat_result) -> bytes:
    try:
        # One call and no file object: with many threads, each system call waits for the interpreter's lock.
        return os.read(file, status.st_size)
    finally:
        os.close(file)


def write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def begin_writeback(file: int, start: int, size: int) -> None:
    """Start to write a range of a file to disk, without waiting, so that a later fsync has less to do.

    Only a hint: that fsync reports any errors. Linux does this when told that the range is not needed (mm/fadvise.c),
    and keeps in its cache what it is still writing. macOS has no such call.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, start, size, os.POSIX_FADV_DONTNEED)


def place_folders_apart(path: str) -> None:
    """Ask the file system to place new folders in this one far from each other, and so the files that are made in them.

    Only a hint, for ext2 to ext4 (chattr(1), attribute T). Other systems and file systems refuse it.
    """
    with contextlib.suppress(OSError):
        folder = os.open(path, _FOLDER)
        try:
            (flags,) = struct.unpack("q", fcntl.ioctl(folder, _GET_FLAGS, bytes(8)))
            fcntl.ioctl(folder, _SET_FLAGS, struct.pack("q", flags | _TOP_FOLDER))
        finally:
            os.close(folder)


def copy_range(source: int, target: int, start: int, stop: int) -> bool:
    """Append the bytes `[start, stop)` of one file to another; False if the file ends before `stop`."""
    while start < stop:
        try:
            copied = os.copy_file_range(source, target, stop - start, offset_src=start)
        except (OSError, AttributeError) as error:
            # Only Linux has this call, and not between all file systems.
            if isinstance(error, OSError) and error.errno not in _CANNOT_COPY:
                raise
            data = os.pread(source, min(BUFFER_SIZE, stop - start), start)
            write_all(target, data)
            copied = len(data)
        if copied == 0:
            return False
        start += copied
    return True
