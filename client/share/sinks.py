"""Where the bytes of a download go."""

from __future__ import annotations

import hashlib
import sys
import threading

from share.faults import Exit, Fault, Stopped

CHUNK = 256 * 1024


class Sink:
    """The destination of the bytes. `tags` are the ETags with which to resume, by origin.

    `header` is that of an encrypted file, without which the rest cannot be decrypted.
    """

    aftermath = ""  # what the user should know if the file is damaged

    def __init__(self) -> None:
        self.position = 0
        self.digest = hashlib.sha256()
        self.tags: dict[str, str] = {}
        self.header = b""

    def write(self, chunk: bytes | bytearray) -> None:
        self.position += len(chunk)
        self.digest.update(chunk)

    def flush(self) -> None:
        """Make sure that the bytes written so far survive the end of the process."""

    def restart(self) -> None:
        """Discard all bytes. Raises `Fault` if that is impossible."""
        self.position = 0
        self.digest = hashlib.sha256()

    def save(self) -> None:
        """Save the tags for a later run."""

    def discard(self) -> None:
        """Remove the damaged file."""


class StandardOutput(Sink):
    """Standard output. It can resume after an interruption of the network, but not of the process."""

    aftermath = "Do not use what was written."

    def write(self, chunk: bytes | bytearray) -> None:
        sys.stdout.buffer.write(chunk)
        super().write(chunk)

    def flush(self) -> None:
        sys.stdout.buffer.flush()

    def restart(self) -> None:
        if self.position:
            raise Fault(Exit.DAMAGED, f"The server cannot resume this download. {self.aftermath}")


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
        self.aftermath = sink.aftermath
        self._sink = sink
        self._stopped = stopped

    def write(self, chunk: bytes | bytearray) -> None:
        if self._stopped.is_set():
            raise Stopped
        self.position += len(chunk)
        self.chunks.append(chunk)

    def restart(self) -> None:
        """Raises `NoRange`."""
        raise NoRange

    def discard(self) -> None:
        self._sink.discard()
