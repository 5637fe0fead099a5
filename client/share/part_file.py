"""A file that is being downloaded: `NAME.part` next to its target until it is complete and verified."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Any

from share.faults import Exit, Fault
from share.memory import SAFELY, Memory, open_own
from share.names import MAX_NAME_BYTES, shortened
from share.sinks import CHUNK, Sink
from share.text import printable


class PartFile(Sink):
    """A sink that a later run can resume. `link` and `size` distinguish it from a part of another file."""

    resumption = "Run the same command again to resume."
    aftermath = "Nothing was saved."
    _file: BufferedRandom

    def __init__(
        self,
        target: Path,
        link: str,
        size: int,
        *,
        force: bool,
        finish: Callable[[Path], None] | None = None,
        chunk: int | None = None,
    ) -> None:
        """`finish` takes the complete file instead of renaming it.

        `chunk` is the size of the chunks of an encrypted file, which resumes only after a whole chunk.
        """
        super().__init__()
        self._finish = finish
        self._target = target
        self._link = link
        self._size = size
        self._force = force
        self._chunk = chunk
        self._path = target.with_name(f"{shortened(target.name, MAX_NAME_BYTES - 10)}.part")
        self._memory = Memory(self._path.with_name(f"{self._path.name}.json"))
        self.resumed_at = 0

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Accept bytes within the context, and give the file its name at the end. After an error, the part stays.

        Raises `Fault` if something else is in the way.
        """
        self._require_target()
        with open(self._descriptor(), "r+b") as self._file:
            self._file.truncate(self.resumed_at)
            while chunk := self._file.read(CHUNK):
                super().write(chunk)
            self.save()
            try:
                with super().open():
                    yield
            except BaseException:
                if not self.position:
                    self.discard()
                raise
        if self._finish is None:
            self._rename()
        else:
            self._finish(self._path)
            self._path.unlink()
        self._memory.forget()

    def _require_target(self) -> None:
        if os.path.lexists(self._target):
            target = printable(str(self._target))
            if not self._force:
                raise Fault(Exit.LOCAL, f"{target} already exists. Use --force, or -o to save elsewhere.")
            if self._target.exists() and not self._target.is_file():
                raise Fault(Exit.LOCAL, f"{target} is not a regular file. To write to it, use: -o - > PATH")

    def _descriptor(self) -> int:
        """Open the part from an earlier run, or a new one."""
        state, paths = self._memory.load() or {}, [self._path, self._memory.path]
        if (state.get("link"), state.get("size")) == (self._link, self._size):
            with contextlib.suppress(OSError):
                descriptor = open_own(self._path, os.O_RDWR | os.O_CREAT)
                self._resume(state, os.fstat(descriptor).st_size)
                return descriptor
            paths.remove(self._memory.path)
        for path in paths:
            if os.path.lexists(path):
                if not self._force:
                    raise Fault(
                        Exit.LOCAL,
                        f"{printable(str(path))} is in the way and does not belong to this download. "
                        "Remove it, or use --force.",
                    )
                path.unlink()
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)

    def _resume(self, state: dict[str, Any], size: int) -> None:
        self.tags = state.get("etags", {})
        self.resumed_at = size if size <= self._size else 0
        if self._chunk is not None:
            self.header = bytes.fromhex(state.get("header", ""))
            self.resumed_at -= self.resumed_at % self._chunk if self.header else self.resumed_at

    def write(self, chunk: bytes | bytearray) -> None:
        self._file.write(chunk)
        super().write(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        super().restart()

    def save(self) -> None:
        header = {"header": self.header.hex()} if self.header else {}
        self._memory.save({"link": self._link, "size": self._size, "etags": self.tags, **header})

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)
        self._memory.forget()

    def _rename(self) -> None:
        if self._force:
            os.replace(self._path, self._target)
            return
        try:
            move_to_new(self._path, self._target)
        except FileExistsError as error:
            raise Fault(
                Exit.LOCAL,
                f"{printable(str(self._target))} was created by someone else in the meantime. "
                "Run the command again with -o to save elsewhere.",
            ) from error


def move_to_new(path: Path, target: Path) -> None:
    """Unlike a rename, never replaces an existing file. Raises `FileExistsError`."""
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:
        # Without hard links, replace an empty file that we have just made.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.replace(path, target)
    else:
        path.unlink()
