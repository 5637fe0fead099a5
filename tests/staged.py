"""What has been staged in a data directory."""

from pathlib import Path

from shared.storage.directory.data_directory import STAGING


def staged(data: Path) -> list[Path]:
    """Unfinished files, and folders that were moved away. Not the folders for some of these files, which stay."""
    found: list[Path] = []
    for path in (data / STAGING).iterdir():
        found += path.iterdir() if len(path.name) == 2 else [path]
    return found
