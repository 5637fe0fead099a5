"""Samples for the storage tests, and helpers to write and read them."""

from __future__ import annotations

import functools
import random
from datetime import UTC, datetime

from msgspec import structs

from shared.storage.contract import ObjectStore, Reader
from shared.storage.records import READY, Record

NOW = datetime(2026, 11, 25, 8, 30, 0, 123_000, tzinfo=UTC)
FILE_ID = "0d5a9c7e-3b0f-4c2a-9f55-6a1f0c8e7b21"
OTHER_ID = "7c1b2a90-11aa-4bbb-8ccc-dddddddddddd"
LAST_ID = "f2b7c6d5-11aa-4bbb-8ccc-dddddddddddd"

MIB = 1024 * 1024


def record(file_id: str = FILE_ID, max_downloads: int | None = None) -> Record:
    """A visible file without downloads."""
    return Record(
        file_id=file_id,
        state=READY,
        original_name="é😀.txt",
        content_type="text/plain",
        file_size=10,
        sha256="84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
        created_at=NOW,
        max_downloads=max_downloads,
    )


def downloaded(old: Record) -> Record:
    """The change that counts one download."""
    return structs.replace(old, download_count=old.download_count + 1)


@functools.lru_cache(4)
def pattern(size: int) -> bytes:
    """The same bytes each time, without repetition, so that a misplaced part is noticed."""
    return random.Random(size).randbytes(size)


def write(store: ObjectStore, key: str, data: bytes, head: bytes = b"", chunk_size: int = MIB) -> None:
    """Write an object of unknown length from `head` and `data`."""
    writer = store.writer(key, len(head))
    for start in range(0, len(data), chunk_size):
        writer.write(data[start : start + chunk_size])
    writer.commit(head)


def drain(reader: Reader, size: int = MIB) -> bytes:
    """The rest of a reader, read in chunks of at most `size`."""
    chunks = list(iter(lambda: reader.read(size), b""))
    reader.close()
    assert all(len(chunk) <= size for chunk in chunks)
    return b"".join(chunks)
