"""Objects as files of one directory.

Every write is staged under `.staging/`, synced and renamed into place, so a reader sees the old or the new object and a
crash leaves at most a staged file. Conditions hold across threads and processes of one machine, by an advisory lock on
one of 256 files under `.locks/`; they do not hold across machines that mount the directory over a network. On a full
disk, small objects can still be written, into one of the files under `.spares/`.

Nothing is reached through a symbolic link below the directory, which may be one itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    Part,
    Piece,
    RangeNotSatisfiable,
    Slice,
    chosen_parts,
)
from shared.storage.directory.calls import MISSING, failure, open_file, open_folder, read_file, translated
from shared.storage.directory.data_directory import LOCKS, STAGING, DataDirectory, segments_of
from shared.storage.directory.spares import SPARES
from shared.storage.directory.writer import DirectoryPartWriter, DirectoryReader, DirectoryWriter, info_of, stored_parts

__all__ = ["CHOICE", "LOCKS", "SPARES", "STAGING", "DirectoryReader", "DirectoryStore", "DirectoryWriter"]

# Beside the parts of a multipart upload: those that the object is made of.
CHOICE = "chosen"


class DirectoryStore:
    """An `ObjectStore` in the directory `root`, which is created if need be.

    A `writer` that would leave less than `min_free_space` bytes on the file system raises `StorageFull`; small objects
    may still be written then, so that files can be counted and deleted on a full disk.
    """

    signs = False

    def __init__(self, root: Path, *, min_free_space: int = 0) -> None:
        self.root = root.absolute()
        try:
            with translated():
                self._directory = DataDirectory(str(self.root), min_free_space)
        except StorageFull as error:
            raise StorageUnavailable(f"{self.root} has no space left") from error
        self.check()

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
        with translated(), self._directory.locked(key):
            self._require(key, when)
            self._directory.put(segments, data)
        return _etag(data)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> DirectoryReader:
        segments = segments_of(key)
        with translated(key):
            file, found = open_file(self._directory.root, segments)
        size = found.st_size
        if start >= size:
            os.close(file)
            raise RangeNotSatisfiable(key)
        return DirectoryReader(file, size, start, size if stop is None else min(stop, size))

    def writer(self, key: str, reserve: int = 0) -> DirectoryWriter:
        return DirectoryWriter(self._directory, key, reserve)

    def delete(self, key: str) -> None:
        segments = segments_of(key)
        with translated():
            if not self._directory.holds(segments):
                return
            # Keeps a conditional write, which has compared but not renamed yet, from bringing the object back.
            with self._directory.locked(key), contextlib.suppress(*MISSING):
                self._directory.remove(segments)

    def delete_many(self, keys: Sequence[str]) -> None:
        failures: list[StorageUnavailable] = []
        for key in keys:
            try:
                self.delete(key)
            except StorageUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        yield from self._walk(prefix, after)

    def discard_unfinished(self, before: datetime) -> int:
        removed = 0
        # Somebody may have removed the folder.
        with translated(), contextlib.suppress(FileNotFoundError), os.scandir(self.root / STAGING) as entries:
            for entry in entries:
                # Two sweeps may meet here, and a writer may finish at any moment.
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < before.timestamp():
                        if entry.is_dir(follow_symlinks=False):
                            shutil.rmtree(entry.path)
                        else:
                            os.unlink(entry.path)
                        removed += 1
        self._directory.mend_spares()
        return removed

    def check(self) -> None:
        with translated():
            self._directory.check()

    def stat(self, key: str) -> Info:
        segments = segments_of(key)
        with translated(key):
            folder = open_folder(self._directory.root, segments[:-1])
            try:
                found = os.stat(segments[-1], dir_fd=folder, follow_symlinks=False)
            finally:
                os.close(folder)
        if not stat.S_ISREG(found.st_mode):
            raise NotFound(key)
        return info_of(found)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        writer = self.writer(key)
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
        with translated():
            return stored_parts(self._directory, _parts(key))

    def finish_parts(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        # As on S3, the first to finish decides, or two who do it at once could make two objects of one upload.
        finished = self._finished(key)
        if finished is None:
            # There are no parts to be listed once another is the first.
            with contextlib.suppress(AlreadyExists, NotFound):
                chosen = chosen_parts(key, parts, self.list_parts(key, upload_id))
                allow(sum(part.size for part in chosen))
                self.put(_choice_key(key), json.dumps([dataclasses.astuple(part) for part in chosen]).encode(), ABSENT)
            finished = self._finished(key)
        if finished is None:
            raise NotFound(key)
        return [Slice(_part_key(key, part.number), 0, part.size, part.etag) for part in finished]

    def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        with translated():
            try:
                # Out of the way first: a part may be put there while the others are removed.
                with self._directory.locked(_parts(key)):
                    removed = self._directory.remove_folder(segments_of(_parts(key)))
            except MISSING:
                return
            shutil.rmtree(removed)

    def part_writer(self, key: str, upload_id: str, number: int, limit: int) -> DirectoryPartWriter:
        if self._finished(key) is not None:
            raise NotFound(key)
        return DirectoryPartWriter(self._directory, _parts(key), number, limit)

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

    def _walk(self, prefix: str, after: str) -> Iterator[str]:
        try:
            folder = open_folder(self._directory.root, prefix.split("/")[:-1])
            try:
                with os.scandir(folder) as entries:
                    found = sorted(
                        entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                        for entry in entries
                        if entry.name.isascii() and not entry.name.startswith(".") and _is_ours(entry)
                    )
            finally:
                os.close(folder)
        except MISSING:
            return
        except OSError as error:
            raise failure(error) from error
        for name in found:
            key = prefix + name
            if name.endswith("/"):
                # Everything below sorts at or before `after` unless `after` itself lies below.
                if key > after or after.startswith(key):
                    yield from self._walk(key, after)
            elif key > after:
                yield key

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


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or a folder, and neither a link nor anything else that somebody has put there."""
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


def _parts(key: str) -> str:
    return key + ".parts"


def _choice_key(key: str) -> str:
    return f"{_parts(key)}/{CHOICE}"


def _part_key(key: str, number: int) -> str:
    return f"{_parts(key)}/{number}"


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
