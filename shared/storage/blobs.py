"""Files as pickles, which are written and read without the pickle module.

A blob is the pickle of one `bytes` object, in a form whose offsets never depend on the size:

    80 04           PROTO 4
    8e              BINBYTES8
    8 bytes         length, little-endian
    length bytes    the file
    2e              STOP

Anyone can get the file with `pickle.load`, but nothing here unpickles. The first three bytes, and a length that fills
the object up to the last byte, leave no room for another opcode. A blob that claims to be shorter could hide some after
the payload, so the size is checked every time.

Beside its blob a file may have a raw object, its bytes alone: where it landed if its sender uploaded it straight to
storage, and what redirects lead to. Storage makes the one out of the other itself.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

from shared.errors import DamagedFile
from shared.storage.contract import ObjectStore, RangeNotSatisfiable, Reader, Slice
from shared.storage.keys import blob_key, raw_key

PROLOGUE = b"\x80\x04\x8e"
STOP = b"."
HEAD_SIZE = 11
FRAME_SIZE = HEAD_SIZE + len(STOP)
CHUNK_SIZE = 1024 * 1024
# Ranges up to here are read together with the head.
READ_AT_ONCE = 64 * 1024


def head(file_size: int) -> bytes:
    """The 11 bytes before a file of this size."""
    return PROLOGUE + file_size.to_bytes(8, "little")


class BlobWriter:
    """Writes a file into a blob, and hashes it in the same pass."""

    def __init__(self, store: ObjectStore, file_id: str) -> None:
        self._writer = store.writer(blob_key(file_id), HEAD_SIZE)
        self.abort = self._writer.abort
        self._hash = hashlib.sha256()
        self.file_size = 0

    def write(self, data: bytes) -> None:
        self._writer.write(data)
        self._hash.update(data)
        self.file_size += len(data)

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of the bytes written so far."""
        return self._hash.hexdigest()

    def commit(self) -> None:
        """Make the blob durable."""
        self._writer.write(STOP)
        self._writer.commit(head(self.file_size))


class Payload:
    """Reads bytes `[start, stop)` of a file, of which the `first` are already read. Close it when done."""

    def __init__(self, file_id: str, reader: Reader | None, length: int, first: bytes = b"") -> None:
        self._file_id = file_id
        self._reader = reader
        self._left = length - len(first)
        self._first = first

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty only at the end. Raises `DamagedFile`, `StorageUnavailable`."""
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        if self._left == 0 or self._reader is None:
            return b""
        data = self._reader.read(min(size, self._left))
        if not data:
            raise DamagedFile(self._file_id, f"the blob ends {self._left} bytes early")
        self._left -= len(data)
        return data

    def read_ready(self, size: int) -> memoryview | None:
        """The next bytes that are available without waiting, at most `size`, perhaps fewer than there are; else None.

        None can also mean the end or an error: only `read` tells these apart.
        """
        if self._first or self._left == 0 or self._reader is None:
            return None
        data = self._reader.read_ready(min(size, self._left))
        self._left -= len(data or b"")
        return data

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def open_payload(store: ObjectStore, file_id: str, file_size: int, start: int, stop: int) -> Payload:
    """Open the bytes `[start, stop)` of a file, after checking as much of the frame as the read covers.

    Raises `NotFound` and `DamagedFile`.
    """
    from_head = start == 0
    try:
        reader = store.open(blob_key(file_id), 0 if from_head else HEAD_SIZE + start, HEAD_SIZE + stop)
    except RangeNotSatisfiable as error:
        raise DamagedFile(file_id, "the blob is shorter than its record says") from error
    try:
        if reader.object_size != file_size + FRAME_SIZE:
            raise DamagedFile(file_id, f"the blob has {reader.object_size} bytes instead of {file_size + FRAME_SIZE}")
        begin = _exactly(reader, HEAD_SIZE + (stop if stop <= READ_AT_ONCE else 0)) if from_head else b""
        if from_head and not begin.startswith(head(file_size)):
            raise DamagedFile(file_id, "the blob does not begin like a pickle of its length")
    except BaseException:
        reader.close()
        raise
    return Payload(file_id, reader, stop - start, begin[HEAD_SIZE:])


def open_raw(store: ObjectStore, file_id: str, file_size: int, start: int, stop: int) -> Payload:
    """Like `open_payload`, but from the raw object of a file."""
    if start == stop:
        # An empty object has no range to read.
        require_raw(store, file_id, file_size)
        return Payload(file_id, None, 0)
    try:
        reader = store.open(raw_key(file_id), start, stop)
    except RangeNotSatisfiable as error:
        raise DamagedFile(file_id, "the raw object is shorter than its record says") from error
    if reader.object_size != file_size:
        reader.close()
        raise DamagedFile(file_id, f"the raw object has {reader.object_size} bytes instead of {file_size}")
    return Payload(file_id, reader, stop - start)


def require_raw(store: ObjectStore, file_id: str, file_size: int) -> Slice:
    """The whole raw object of a file, in its current version. Raises `NotFound` and `DamagedFile`."""
    info = store.stat(raw_key(file_id))
    if info.size != file_size:
        raise DamagedFile(file_id, f"the raw object has {info.size} bytes instead of {file_size}")
    return Slice(raw_key(file_id), 0, info.size, info.etag)


def make_blob(store: ObjectStore, file_id: str, sources: Sequence[Slice]) -> None:
    """Make the blob of a file out of objects that hold its bytes, in their order. Raises as `ObjectStore.compose`."""
    file_size = sum(source.size for source in sources)
    store.compose(blob_key(file_id), [head(file_size), *sources, STOP])


def require_blob(store: ObjectStore, file_id: str, file_size: int) -> Slice:
    """The bytes of a file in its blob, in its current version. Raises `NotFound` and `DamagedFile`."""
    info = store.stat(blob_key(file_id))
    if info.size != file_size + FRAME_SIZE:
        raise DamagedFile(file_id, f"the blob has {info.size} bytes instead of {file_size + FRAME_SIZE}")
    return Slice(blob_key(file_id), HEAD_SIZE, HEAD_SIZE + file_size, info.etag)


def hash_blob(store: ObjectStore, file_id: str, file_size: int) -> str:
    """SHA-256 in hex of the file in a blob, whose frame is checked to the last byte. Raises as `open_payload`."""
    digest = hashlib.sha256()
    payload = open_payload(store, file_id, file_size, 0, file_size)
    with contextlib.closing(payload):
        while data := payload.read(CHUNK_SIZE):
            digest.update(data)
    with contextlib.closing(store.open(blob_key(file_id), HEAD_SIZE + file_size)) as tail:
        if tail.read(len(STOP)) != STOP:
            raise DamagedFile(file_id, "the blob does not end like a pickle")
    return digest.hexdigest()


def _exactly(reader: Reader, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := reader.read(size - len(data))):
        data += more
    return data
