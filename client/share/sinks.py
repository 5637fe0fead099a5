"""Where the bytes of a download go."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
from collections.abc import Iterator

from share.faults import Damaged, Stopped

CHUNK = 256 * 1024


class Sink:
    """The destination of the bytes. `tags` are the ETags with which to resume, by origin.

    `header` is that of an encrypted file, without which the rest cannot be decrypted.
    """

    # What to tell the user if the download is interrupted, and if the file is damaged.
    resumption = ""
    aftermath = ""

    def __init__(self) -> None:
        self.position = 0
        self.digest = hashlib.sha256()
        self.tags: dict[str, str] = {}
        self.header = b""

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Accept bytes within the context. Discards damaged ones."""
        try:
            yield
        except Damaged as error:
            self.discard()
            raise Damaged(f"{error} {self.aftermath}") from error

    def write(self, chunk: bytes | bytearray) -> None:
        self.position += len(chunk)
        self.digest.update(chunk)

    def restart(self) -> None:
        """Discard all bytes. Raises `Damaged` if that is impossible."""
        self.position = 0
        self.digest = hashlib.sha256()

    def save(self) -> None:
        """Save the tags for a later run."""

    def discard(self) -> None:
        """Remove the damaged file."""


class StandardOutput(Sink):
    """Standard output. It can resume after an interruption of the network, but not of the process."""

    resumption = "Downloads to standard output cannot be resumed: start again."
    aftermath = "Do not use what was written."

    def write(self, chunk: bytes | bytearray) -> None:
        sys.stdout.buffer.write(chunk)
        super().write(chunk)

    def restart(self) -> None:
        if self.position:
            raise Damaged("The server cannot resume this download.")


class NoRange(Exception):
    """The server does not send this range of the file, perhaps because the file was replaced."""


class Piece(Sink):
    """A piece of the file for `sink`, from `position` to `end`, in memory until all bytes before it are written.

    Writing raises `Stopped` once the piece is no longer needed.
    """

    def __init__(self, sink: Sink, position: int, end: int, stopped: threading.Event) -> None:
        super().__init__()
        self.position = position
        self.end = end
        self.chunks: list[bytes | bytearray] = []
        self.tags = dict(sink.tags)
        self._stopped = stopped

    def write(self, chunk: bytes | bytearray) -> None:
        if self._stopped.is_set():
            raise Stopped
        self.position += len(chunk)
        self.chunks.append(chunk)

    def restart(self) -> None:
        """Raises `NoRange`."""
        raise NoRange
