"""What to upload: the bytes of a file or stream, and its options."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mimetypes
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from share.faults import Exit, Fault
from share.private.keys import Key
from share.text import as_utf8, printable, reason_of


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The options of an upload. It goes to the inbox with the ID `inbox`, if any."""

    expires_in: int | None
    max_downloads: int | None
    password: str | None
    encryption: dict[str, str] | None = None  # of a private file, whose metadata it contains, encrypted
    inbox: str | None = None
    sender: str | None = None

    def public(self) -> dict[str, int | str]:
        names = ("expires_in", "max_downloads", "inbox", "sender")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def credentials(self) -> dict[str, str]:
        """A header with the password, which must not be in a URL."""
        return {} if self.password is None else {"X-Password": self.password}

    def fingerprint(self, salt: str) -> str:
        """Shows whether an upload was started with the same options, without revealing the password."""
        options = json.dumps([self.public(), self.password]).encode()
        return hashlib.scrypt(options, salt=salt.encode(), n=2**14, r=8, p=1).hex()


class Blocks:
    """Blocks that are made while you read them, once and in order."""

    def __init__(self, blocks: Iterator[bytes | bytearray]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> memoryview:
        """Read at most `size` bytes; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


class Source:
    """Bytes to upload, read once and in order. `size` is None for a stream.

    `identity` changes whenever the bytes change; it is None if they cannot be read twice. `position` is the number of
    bytes read so far.
    """

    def __init__(
        self, file: BinaryIO | Blocks, name: str, size: int | None = None, identity: Callable[[], str] | None = None
    ) -> None:
        self.name = as_utf8(name)
        self.content_type = guess_type(self.name)
        self.size = size
        self.identity = identity
        self.position = 0
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str, name: str | None) -> Iterator[Self]:
        """Open a file, or standard input for `-`. Raises `Fault`."""
        if path == "-":
            yield cls(sys.stdin.buffer, name or "stdin")
            return
        try:
            file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise Fault(Exit.LOCAL, f"{printable(path)} cannot be read: {reason_of(error)}.") from error

        def identity() -> str:
            status = os.fstat(file.fileno())
            return f"{Path(path).resolve()}\n{status.st_size}\n{status.st_mtime_ns}"

        with file:
            status = os.fstat(file.fileno())
            name = name or Path(path).name
            if stat.S_ISREG(status.st_mode):
                yield cls(file, name, status.st_size, identity)
            else:
                yield cls(file, name)

    def blocks(self, size: int) -> Iterator[bytes]:
        """All bytes, in blocks of this size; the last one may be shorter. Without bytes, there is no block."""
        while block := self.read(size):
            yield block

    def read(self, size: int) -> bytes:
        # Reading from a pipe may return fewer bytes than requested.
        pieces, missing = [], size
        try:
            while missing and (data := self._file.read(missing)):
                pieces.append(data)
                missing -= len(data)
        except OSError as error:
            raise Fault(Exit.LOCAL, f"{printable(self.name)} cannot be read: {reason_of(error)}.") from error
        # Makes no copy of a single piece.
        block = b"".join(pieces)
        self.position += len(block)
        return block


class HashedSource(Source):
    """What the user uploads. `digest` and `sha256` (hex) are those of the bytes read so far."""

    def __init__(
        self, file: BinaryIO | Blocks, name: str, size: int | None = None, identity: Callable[[], str] | None = None
    ) -> None:
        super().__init__(file, name, size, identity)
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = super().read(size)
        self._hash.update(block)
        return block

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent, and the key that decrypts it if it is encrypted."""

    source: Source
    options: Options
    key: Key | None = None


def guess_type(name: str) -> str:
    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, "application/octet-stream"
        )
    return kind or "application/octet-stream"
