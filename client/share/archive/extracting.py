"""Unpacks a zip archive that may be hostile: writes only to a new folder, whatever the archive contains."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from share.faults import Exit, Fault
from share.names import Tree
from share.text import human_size, printable

CHUNK = 256 * 1024
MAX_DEPTH = 200  # nested folders
MAX_RATIO = 100  # unpacked to packed; anything smaller than MIN_BOMB is harmless
MIN_BOMB = 1_000_000_000  # bytes
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_SEPARATOR = re.compile(r"[/\\]")
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


def extract(archive: Path, target: Path, warn: Callable[[str], None]) -> int:
    """Unpack into the folder `target`, which must not exist. Returns the number of files. Raises `Fault`.

    Never creates symbolic links. Leaves out a folder that contains everything else. After an error, nothing is left.
    """
    folder = target.with_name(f".{target.name[:100]}-{secrets.token_hex(4)}")
    try:
        with zipfile.ZipFile(archive) as source:
            members = _plan(source, archive.stat().st_size, warn)
            size, free = sum(info.file_size for info, _ in members), shutil.disk_usage(target.parent).free
            if size > free:
                message = f"Not enough space: {human_size(size)} are needed, and {human_size(free)} are free."
                raise Fault(Exit.LOCAL, message)
            folder.mkdir()
            for info, path in members:
                _extract_one(source, info, folder.joinpath(*path))
        if os.path.lexists(target):
            raise Fault(Exit.LOCAL, f"{printable(str(target))} already exists. Use -o to extract elsewhere.")
        folder.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeError, NotImplementedError) as error:
        raise Fault(Exit.REFUSED, f"This is not a valid zip archive: {printable(str(error))}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return sum(not info.is_dir() for info, _ in members)


def _plan(
    archive: zipfile.ZipFile, size: int, warn: Callable[[str], None]
) -> list[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """The members to extract, and their paths. Refuses the archive if it is an attack."""
    members = []
    for info in archive.infolist():
        # This does not affect reading, which compares the original name.
        info.filename = _in_utf8(info)
        name = printable(info.filename)
        if _ABSOLUTE.match(info.filename) or ".." in _SEPARATOR.split(info.filename):
            raise Fault(Exit.REFUSED, f"The archive is not safe to extract: it has a file named {name}.")
        if not 0 <= info.header_offset < size:
            raise zipfile.BadZipFile("its directory is wrong")
        if info.flag_bits & _ENCRYPTED:
            raise Fault(Exit.REFUSED, f"{name} is encrypted in the archive, which --extract cannot read.")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            warn(f"Skipped: {name} is a symbolic link or special file.")
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Fault(Exit.REFUSED, f"{name} is compressed in a way that --extract cannot read.")
        else:
            members.append((info, [part for part in _SEPARATOR.split(info.filename) if part not in ("", ".")]))
    total = sum(info.file_size for info, _ in members)
    if total > max(MIN_BOMB, MAX_RATIO * size):
        raise Fault(Exit.REFUSED, f"The archive is not safe to extract: {human_size(size)} become {human_size(total)}.")
    if any(len(parts) > MAX_DEPTH for _, parts in members):
        raise Fault(Exit.REFUSED, "The archive is not safe to extract: its folders are nested too deeply.")
    if len({parts[0] for _, parts in members if parts}) == 1 and all(
        len(parts) > 1 or info.is_dir() for info, parts in members
    ):
        members = [(info, parts[1:]) for info, parts in members]
    tree = Tree()
    return [(info, tree.place(parts, is_folder=info.is_dir())) for info, parts in members if parts]


def _in_utf8(info: zipfile.ZipInfo) -> str:
    """The name of a member. Info-ZIP and macOS write UTF-8 without its flag, which zipfile takes for cp437."""
    if info.flag_bits & _UTF8_NAME:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _extract_one(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    if info.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, open(path, "xb") as file:
        # zipfile reads no more than the size that was counted, and checks the CRC-32 at the end.
        shutil.copyfileobj(source, file, CHUNK)
        if file.tell() != info.file_size:
            raise zipfile.BadZipFile("a file is shorter than it should be")
    modified = modified_time(info)
    if modified is not None:
        os.utime(path, (modified, modified))


def modified_time(info: zipfile.ZipInfo) -> float | None:
    """Seconds since 1970, from the extra field if there is one, otherwise from the packer's local time."""
    extra = info.extra
    while len(extra) >= 4:
        tag, length = struct.unpack("<2H", extra[:4])
        if tag == 0x5455 and length >= 5 and len(extra) >= 9 and extra[4] & 1:
            return float(struct.unpack("<i", extra[5:9])[0])
        extra = extra[4 + length :]
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return None
