"""Which files go into an archive, and under which names."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from share.faults import Exit, Fault
from share.text import as_utf8, printable, reason_of


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder, and its name in the archive. The name of a folder ends in `/`."""

    path: Path
    name: str


class Collector:
    """Collects files and folders in the order of their names.

    Follows symbolic links only if the user named them. Skips those in folders, and everything that is not a file or
    folder. Only empty folders become entries. `exclude` has patterns as in a .gitignore file, relative to each folder
    that the user named.
    """

    def __init__(self, exclude: Sequence[str], *, skip_missing: bool, warn: Callable[[str], None]) -> None:
        try:
            self._excluded = GitIgnoreSpec.from_lines(exclude)
        except ValueError as error:
            raise Fault(Exit.USAGE, f"Invalid exclude pattern: {printable(str(error))}") from None
        self._skip_missing = skip_missing
        self._warn = warn
        self._names: set[str] = set()

    def collect(self, paths: Sequence[str]) -> Iterator[Entry]:
        """Collect entries. Raises `Fault` if something is missing or cannot be read, unless it is to be skipped."""
        for text in paths:
            path = Path(text)
            name = as_utf8(base_name(text))
            try:
                mode = path.stat().st_mode
            except OSError as error:
                self.missing(path, error)
                continue
            if stat.S_ISDIR(mode):
                yield from self._folder(path, self._unique(f"{name}/"))
            elif stat.S_ISREG(mode):
                yield Entry(path, self._unique(name))
            else:
                raise Fault(Exit.USAGE, f"{printable(text)} is not a file or folder, so it cannot go into an archive.")

    def missing(self, path: Path, error: OSError) -> None:
        message = f"{printable(str(path))} cannot be read: {reason_of(error)}."
        if not self._skip_missing:
            raise Fault(Exit.LOCAL, f"{message} Use --skip-missing to continue without it.") from error
        self._warn(f"Skipped: {message}")

    def _folder(self, top: Path, prefix: str) -> Iterator[Entry]:
        # Not recursive, because folders can be nested more deeply than function calls.
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(top / folder) as listing:
                    children = sorted(listing, key=lambda child: child.name)
            except OSError as error:
                self.missing(top / folder, error)
                continue
            inner, is_empty = [], True
            for child in children:
                relative = f"{folder}{child.name}"
                kind = "/" if child.is_dir(follow_symlinks=False) else ""
                if self._excluded.match_file(as_utf8(relative + kind)):
                    continue
                if kind:
                    inner.append(relative + kind)
                elif child.is_file(follow_symlinks=False):
                    yield Entry(Path(child.path), self._unique(prefix + as_utf8(relative)))
                else:
                    what = "a symbolic link" if child.is_symlink() else "not a file or folder"
                    self._warn(f"Skipped: {printable(child.path)} is {what}.")
                    continue
                is_empty = False
            folders += reversed(inner)
            if is_empty:
                yield Entry(top / folder, self._unique(prefix + as_utf8(folder)) if folder else prefix)

    def _unique(self, name: str) -> str:
        """The name, with a number if it is taken: by a file from another folder, or after non-UTF-8 bytes changed."""
        slash = "/" if name.endswith("/") else ""
        path, number, unique = PurePosixPath(name), 1, name
        while unique in self._names:
            number += 1
            unique = f"{path.with_name(f'{path.stem} ({number}){path.suffix}')}{slash}"
        self._names.add(unique)
        return unique


def base_name(text: str) -> str:
    """The last segment of a path, even of `.` and `..`."""
    path = Path(text)
    return (path.name if path.name not in ("", "..") else path.resolve().name) or "files"
