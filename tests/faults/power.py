"""The possible states of a directory after a power cut.

A `Recorder` records every call that changes something below a directory, and what each `fsync` made durable. From
these, a `Disk` derives the states that a power cut can leave. It allows more than any single file system does: each
unsynced name and each unsynced file is there or not, independent of all others and of the order of calls.
"""

from __future__ import annotations

import itertools
import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

_OPEN, _FSTAT, _STAT = os.open, os.fstat, os.stat

# How unsynced file contents can be lost: completely, by half, or all except their length.
_TEARS: tuple[Callable[[bytes], bytes], ...] = (
    lambda _data: b"",
    lambda data: data[: len(data) // 2],
    lambda data: bytes(len(data)),
)


@dataclass(eq=False)
class File:
    """A file, with every content that the disk can have: the last synced one, and all later ones."""

    contents: list[bytes]

    def may_be(self) -> list[bytes]:
        if len(self.contents) == 1:
            return self.contents
        synced, torn = self.contents[0], []
        for data in self.contents[1:]:
            # Appending does not lose synced bytes again.
            size = len(synced) if data.startswith(synced) else 0
            torn += [data[:size] + tear(data[size:]) for tear in _TEARS]
        return list(dict.fromkeys([*self.contents, *torn]))

    def sync(self) -> None:
        del self.contents[:-1]


@dataclass(eq=False)
class Folder:
    """A folder, with everything that each name in it can refer to: its target at the last sync, and all later ones."""

    names: dict[str, list[File | Folder | None]] = field(default_factory=dict)

    def set(self, name: str, node: File | Folder | None) -> None:
        self.names.setdefault(name, [None]).append(node)

    def sync(self) -> None:
        self.names = {name: nodes[-1:] for name, nodes in self.names.items() if nodes[-1] is not None}


Node = File | Folder


@dataclass(frozen=True)
class Leaf:
    """A file after a power cut. The same file can have two names if neither of them was synced."""

    number: int
    data: bytes


# A tree after a power cut: a leaf for each file, and a dictionary of names for each folder.
Tree = dict[str, Any]


def read(path: Path) -> Folder:
    """A directory that is completely on the disk."""
    names: dict[str, list[Node | None]] = {
        entry.name: [read(entry) if entry.is_dir() else File([entry.read_bytes()])] for entry in sorted(path.iterdir())
    }
    return Folder(names)


def write(tree: Tree, path: Path, written: dict[int, Path] | None = None) -> None:
    written = {} if written is None else written
    path.mkdir()
    for name, node in tree.items():
        if isinstance(node, dict):
            write(node, path / name, written)
        elif node.number in written:
            os.link(written[node.number], path / name)
        else:
            (path / name).write_bytes(node.data)
            written[node.number] = path / name


def states(root: Folder, limit: int, seed: int) -> Iterator[Tree]:
    """The states that a power cut can leave of this folder. If there are more than the limit, a random selection."""
    choices = _choices(root)
    sizes = [len(options) for options in choices.values()]
    if math.prod(sizes) <= limit:
        picks: Iterator[tuple[int, ...]] = itertools.product(*map(range, sizes))
    else:
        source = random.Random(seed)
        last = tuple(size - 1 for size in sizes)
        some = (tuple(source.randrange(size) for size in sizes) for _ in range(limit))
        # Random states: everything except a few things, nothing except a few things, and any mixture.
        picks = itertools.chain(
            [(0,) * len(sizes), last],
            (_mixed(source, last, pick) for pick in itertools.islice(some, limit // 3)),
            (_mixed(source, (0,) * len(sizes), pick) for pick in itertools.islice(some, limit // 3)),
            some,
        )
    for pick in picks:
        outcome = {key: options[number] for (key, options), number in zip(choices.items(), pick, strict=True)}
        yield _tree(root, outcome)


def _mixed(source: random.Random, most: tuple[int, ...], few: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(b if source.random() < 0.2 else a for a, b in zip(most, few, strict=True))


_Key = tuple[int, str]


def _choices(root: Folder) -> dict[_Key, list[Any]]:
    """All that is uncertain below a folder: names, and contents of files."""
    choices: dict[_Key, list[Any]] = {}
    seen: set[int] = set()
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, File):
            if len(contents := node.may_be()) > 1:
                choices[id(node), ""] = contents
            continue
        for name, nodes in node.names.items():
            options = list(dict.fromkeys(nodes))
            waiting += [below for below in options if below is not None]
            if len(options) > 1:
                choices[id(node), name] = options
    return choices


def _tree(node: Node, outcome: dict[_Key, Any]) -> Any:
    if isinstance(node, File):
        return Leaf(id(node), outcome.get((id(node), ""), node.contents[-1]))
    below = ((name, outcome.get((id(node), name), nodes[-1])) for name, nodes in node.names.items())
    return {name: _tree(child, outcome) for name, child in below if child is not None}


class Recorder:
    """Records changes below `root` during its `with` block. `steps` apply them to a `Folder` that was read before."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.disk = read(root)
        self.steps: list[Callable[[], None]] = []
        # All open or named files and folders, by their inode numbers in the real file system.
        self._nodes: dict[int, Node] = {}
        self._know(root, self.disk)

    def _know(self, path: Path, node: Node) -> None:
        self._nodes[_STAT(path).st_ino] = node
        if isinstance(node, Folder):
            for name, nodes in node.names.items():
                assert nodes[-1] is not None
                self._know(path / name, nodes[-1])

    def __enter__(self) -> Recorder:
        self._patches = [mock.patch.object(os, name, self._wrapped(name)) for name in _WATCHED]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_error: object) -> None:
        for patch in self._patches:
            patch.stop()

    def _wrapped(self, name: str) -> Callable[..., Any]:
        function, note = getattr(os, name), _WATCHED[name]

        def call(*arguments: Any, **options: Any) -> Any:
            return note(self, function, *arguments, **options)

        return call

    def _place(self, path: Any, folder: int | None) -> tuple[Folder, str] | None:
        """The folder and the name that a path refers to; None outside `root`."""
        above, name = os.path.split(os.fspath(path))
        status = _STAT(above or ".", dir_fd=folder)
        node = self._nodes.get(status.st_ino)
        return (node, name) if isinstance(node, Folder) else None

    def _set(self, place: tuple[Folder, str] | None, node: Node | None) -> None:
        if place is not None:
            self.steps.append(lambda: place[0].set(place[1], node))

    def _open(self, call: Callable[..., int], path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        new = flags & os.O_CREAT and not os.access(path, os.F_OK, dir_fd=dir_fd)
        file = call(path, flags, *rest, dir_fd=dir_fd)
        if new:
            self._created(path, dir_fd, File([b""]), _FSTAT(file))
        elif flags & os.O_TRUNC:
            self._grown(file)
        return file

    def _mkdir(self, call: Callable[..., None], path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        call(path, mode, dir_fd=dir_fd)
        self._created(path, dir_fd, Folder(), _STAT(path, dir_fd=dir_fd))

    def _created(self, path: Any, folder: int | None, node: Node, status: os.stat_result) -> None:
        if (place := self._place(path, folder)) is not None:
            self._nodes[status.st_ino] = node
            self._set(place, node)

    def _rename(
        self,
        call: Callable[..., None],
        source: Any,
        target: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        node = self._nodes.get(_STAT(source, dir_fd=src_dir_fd, follow_symlinks=False).st_ino)
        places = self._place(source, src_dir_fd), self._place(target, dst_dir_fd)
        call(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        # One step, because rename is atomic.
        self.steps.append(lambda: _renamed(*places, node))

    def _unlink(self, call: Callable[..., None], path: Any, *, dir_fd: int | None = None) -> None:
        place = self._place(path, dir_fd)
        call(path, dir_fd=dir_fd)
        self._set(place, None)

    def _write(self, call: Callable[..., int], file: int, *rest: Any, **options: Any) -> int:
        done = call(file, *rest, **options)
        self._grown(file)
        return done

    def _copied(self, call: Callable[..., int], source: int, target: int, *rest: Any, **options: Any) -> int:
        done = call(source, target, *rest, **options)
        self._grown(target)
        return done

    def _grown(self, file: int) -> None:
        node = self._nodes.get(_FSTAT(file).st_ino)
        if isinstance(node, File):
            again = _OPEN(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(again, _FSTAT(file).st_size, 0)
            os.close(again)
            self.steps.append(lambda: node.contents.append(data))

    def _sync(self, call: Callable[[int], None], file: int) -> None:
        call(file)
        if (node := self._nodes.get(_FSTAT(file).st_ino)) is not None:
            self.steps.append(node.sync)


def _renamed(source: tuple[Folder, str] | None, target: tuple[Folder, str] | None, node: Node | None) -> None:
    if source is not None:
        source[0].set(source[1], None)
    if target is not None:
        target[0].set(target[1], node)


_WATCHED: dict[str, Callable[..., Any]] = {
    "open": Recorder._open,
    "mkdir": Recorder._mkdir,
    "rename": Recorder._rename,
    "replace": Recorder._rename,
    "unlink": Recorder._unlink,
    "rmdir": Recorder._unlink,
    "write": Recorder._write,
    "pwrite": Recorder._write,
    "ftruncate": Recorder._write,
    "copy_file_range": Recorder._copied,
    "fsync": Recorder._sync,
    "fdatasync": Recorder._sync,
}
