"""Opens and reads files without waiting for a disk, as an event loop requires.

openat2(2) with RESOLVE_CACHED, since Linux 5.12, opens a file if the kernel has its path in memory, and refuses
otherwise. Remote and user-space file systems may still wait for others, so this is used only with local ones.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence

from shared.storage.contract import WouldWait
from shared.storage.directory.calls import open_file, regular

_OPENAT2 = 437  # The same on all architectures.
_AT_FDCWD = -100
_NO_SYMLINKS, _CACHED = 0x04, 0x20  # linux/openat2.h
# linux/magic.h: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs, overlay. ZFS and bcachefs: their own headers.
_LOCAL = frozenset(
    {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994, 0x794C7630, 0x2FC12FC1, 0xCA451A4E},
)
# Keeps the interpreter's lock: these calls do not wait, and getting the lock back takes longer than they do.
_LIBC = ctypes.PyDLL(None, use_errno=True)
# With no bytes to copy, its content is undefined. `bytearray(size)` would fill it with zeros first.
_new_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new_bytearray.restype, _new_bytearray.argtypes = ctypes.py_object, (ctypes.c_char_p, ctypes.c_ssize_t)


# struct open_how: flags, mode, resolve.
_ROOT = struct.pack("QQQ", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0, _CACHED)
# Only the path: file systems can wait when a folder itself is opened, such as XFS while another thread changes it.
_PATH = struct.pack("QQQ", getattr(os, "O_PATH", 0) | os.O_DIRECTORY | os.O_CLOEXEC, 0, _CACHED | _NO_SYMLINKS)
_FILE = struct.pack("QQQ", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0, _CACHED | _NO_SYMLINKS)


def open_cached(root: str, segments: Sequence[str]) -> tuple[int, os.stat_result]:
    """Like `calls.open_file`, but raises `WouldWait` instead of waiting."""
    path = "/".join(segments)
    try:
        return regular(_openat2(_AT_FDCWD, f"{root}/{path}", _FILE))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    # Links are allowed in the path of the root, and only there.
    folder = _openat2(_AT_FDCWD, root, _ROOT)
    try:
        return regular(_openat2(folder, path, _FILE))
    finally:
        os.close(folder)


def read_cached(file: int, size: int, start: int) -> memoryview | None:
    """The bytes from `start` that are in memory, at most `size`; None if there are none or the system cannot tell.

    Does not wait for a disk (preadv2(2), RWF_NOWAIT), so an event loop can call it.
    """
    if not hasattr(os, "RWF_NOWAIT"):
        return None
    buffer = _new_bytearray(None, size)
    try:
        count = os.preadv(file, [buffer], start, os.RWF_NOWAIT)
    except OSError:
        # On disk only, unsupported by the file system, or an error: the read that waits will tell.
        return None
    return memoryview(buffer)[:count] if count else None


def is_writable_cached(path: str) -> bool:
    """Whether files can be created in this folder. Raises `WouldWait`, and `OSError` if the path has links."""
    folder = _openat2(_AT_FDCWD, path, _PATH)
    try:
        return os.access(".", os.W_OK | os.X_OK, dir_fd=folder)
    finally:
        os.close(folder)


def can_read_cached(root: str, segments: Sequence[str]) -> bool:
    """Whether files below `root` can be read without waiting. Tries it with one of them."""
    file_system = ctypes.create_string_buffer(1024)
    try:
        if sys.platform != "linux" or _LIBC.statfs(os.fsencode(root), file_system) != 0:
            return False
        if ctypes.c_long.from_buffer(file_system).value not in _LOCAL:
            return False
        file, _ = open_file(root, segments)
        try:
            os.preadv(file, [bytearray(1)], 0, os.RWF_NOWAIT)
            os.close(open_cached(root, segments)[0])
        finally:
            os.close(file)
    except (BlockingIOError, WouldWait):
        # Not in memory now, but the system can tell.
        return True
    except OSError:
        return False
    return True


def _openat2(folder: int, path: str, how: bytes) -> int:
    file: int = _LIBC.syscall(_OPENAT2, folder, os.fsencode(path), how, len(how))
    if file < 0:
        number = ctypes.get_errno()
        if number == errno.EAGAIN:
            raise WouldWait
        raise OSError(number, os.strerror(number), path)
    return file
