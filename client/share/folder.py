"""A folder to download several files into, which strangers have named."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from share.answers import RemoteFile
from share.memory import Memory
from share.names import MAX_NAME_BYTES, Tree, safe_name, shortened

# What a download in progress is called.
_PART = re.compile(r"(?i)\.part(\.json)?$")


def assign(folder: Path, files: Sequence[RemoteFile]) -> dict[str, Path]:
    """The path for each file that is not in the folder yet, by ID. Makes the folder. Raises `OSError`.

    Each file has a path of its own. The folder remembers it, so that a later run knows what is there.
    """
    # No downloaded file can have this name, because it begins with a dot.
    memory = Memory(folder / ".share-inbox.json")
    names = {
        str(file_id): name
        for file_id, name in (memory.load() or {}).items()
        if isinstance(name, str) and name == safe_name(name)
    }
    tree = Tree()
    folder.mkdir(exist_ok=True)
    for name in {*os.listdir(folder), *names.values()}:
        tree.place([name], is_folder=False)
    paths = {}
    for file in files:
        name = names.get(file.file_id, "")
        path = folder / name
        if name and os.path.lexists(path):
            if path.is_file() and path.stat().st_size == file.size:
                continue
            # The user put something else there.
            name = ""
        if not name:
            (name,) = tree.place([_local_name(file.name)], is_folder=False)
            names[file.file_id] = name
        paths[file.file_id] = folder / name
    memory.save(names)
    return paths


def _local_name(name: str) -> str:
    # Leave room for a number, and for the suffix of a part.
    return _PART.sub(lambda match: f"{match[0]}_", shortened(safe_name(name), MAX_NAME_BYTES - 20))
