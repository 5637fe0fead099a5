"""Spare files, which one test leaves to the next: creating and deleting them takes longer than most tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from shared.storage.directory.spares import FILES, FOLDERS, SPARES


@contextlib.contextmanager
def with_spares(root: Path, earlier: Path) -> Iterator[Path]:
    """Create an empty data directory with the spares of an earlier test, if there are any at `earlier`."""
    root.mkdir(0o700)
    spares = root / SPARES
    if earlier.exists():
        earlier.rename(spares)
    yield root
    if spares.is_dir() and {path.name for path in spares.iterdir() if not path.is_symlink()} == {*FILES, *FOLDERS}:
        spares.rename(earlier)
