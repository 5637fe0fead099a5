"""Multipart uploads in a data directory: a folder of parts, and a list of those that make up the object."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence

from shared.storage.contract import NotFound, Slice
from shared.storage.directory.calls import MISSING, is_file, open_folder, read_file, translated
from shared.storage.directory.data_directory import DataDirectory, segments_of
from shared.storage.directory.writer import DirectoryWriter, info_of
from shared.storage.multipart import Part, TooLarge, stored_parts

# The file that lists the parts with which an upload was finished, stored beside them.
CHOICE = "chosen"


class DirectoryMultipart:
    """A `Multipart` whose uploads leave no trace until their first part is stored."""

    def __init__(self, directory: DataDirectory) -> None:
        self._directory = directory

    def start(self, key: str) -> str:
        return secrets.token_hex(16)

    def list(self, key: str, upload_id: str) -> Sequence[Part]:
        if self._choice(key) is not None:
            raise NotFound(key)
        return self._parts(key)

    def writer(self, key: str, upload_id: str, number: int, limit: int) -> DirectoryPartWriter:
        if self._choice(key) is not None:
            raise NotFound(key)
        return DirectoryPartWriter(self._directory, _folder(key), number, limit)

    def finish(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        choice = self._choice(key)
        if choice is None:
            selection = stored_parts(key, parts, self._parts(key))
            allow(sum(part.size for part in selection))
            self._choose(key, selection)
            # Another call may have been first.
            choice = self._choice(key)
        if choice is None:
            raise NotFound(key)
        return [Slice(f"{_folder(key)}/{part.number}", 0, part.size, part.etag) for part in choice]

    def abort(self, key: str, upload_id: str | None = None) -> None:
        segments = segments_of(_folder(key))
        with translated():
            try:
                # Move the folder away first: another part may arrive while the others are removed.
                with self._directory.locked(segments):
                    path = self._directory.remove_folder(segments)
            except MISSING:
                return
            shutil.rmtree(path)

    def _choose(self, key: str, parts: Sequence[Part]) -> None:
        """Store the list of parts unless there is one already: two calls at once would make two objects."""
        segments = segments_of(_folder(key))
        data = json.dumps([dataclasses.astuple(part) for part in parts]).encode()
        with translated(key):
            locked = self._directory.locked(segments)
        with locked as folder, translated():
            if not is_file(folder, CHOICE):
                self._directory.put([*segments, CHOICE], data, folder)

    def _parts(self, key: str) -> Sequence[Part]:
        """The stored parts, by number."""
        segments = segments_of(_folder(key))
        # The upload may be aborted meanwhile.
        with translated(), contextlib.suppress(*MISSING), open_folder(self._directory.root, segments) as folder:
            return _parts_in(folder)
        return []

    def _choice(self, key: str) -> Sequence[Part] | None:
        """The parts with which an upload was finished; None if it is unfinished."""
        try:
            with translated(key):
                data = read_file(self._directory.root, [*segments_of(_folder(key)), CHOICE])
        except NotFound:
            return None
        return [Part(*values) for values in json.loads(data)]


class DirectoryPartWriter:
    """A `PartWriter` into a staged file. All parts in `folder` together can have `limit` bytes."""

    def __init__(self, directory: DataDirectory, folder: str, number: int, limit: int) -> None:
        self._directory = directory
        self._folder = folder
        self._number = number
        self._limit = limit
        self._writer = DirectoryWriter(directory, f"{folder}/{number}", 0)
        self.write = self._writer.write
        self.abort = self._writer.abort

    def commit(self) -> Part:
        info = self._writer.info()
        with translated():
            self._writer.sync()
            # Other parts may arrive at the same time, so handle one after the other.
            with self._directory.locked(segments_of(self._folder), make=True) as folder:
                others = _parts_in(folder)
                if info.size + sum(other.size for other in others if other.number != self._number) > self._limit:
                    raise TooLarge(self._folder)
                self._writer.publish(folder)
        return Part(self._number, info.size, info.etag)


def _folder(key: str) -> str:
    return f"{key}.parts"


def _parts_in(folder: int) -> Sequence[Part]:
    """The parts in an open folder, by number. Raises `OSError`."""
    parts = []
    with os.scandir(folder) as entries:
        numbered = [entry for entry in entries if entry.name.isdecimal() and entry.is_file(follow_symlinks=False)]
    for entry in numbered:
        # The upload may be aborted meanwhile.
        with contextlib.suppress(FileNotFoundError):
            info = info_of(entry.stat(follow_symlinks=False))
            parts.append(Part(int(entry.name), info.size, info.etag))
    return sorted(parts, key=lambda part: part.number)
