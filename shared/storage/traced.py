"""An object store whose calls show up in X-Ray traces, each as a subsegment of its own.

A subsegment is named after the call and the kind of key, `put metadata`, and an error by its class: IDs and names are
no business of whoever reads traces.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from shared.storage.contract import (
    ANYTHING,
    Condition,
    Info,
    ObjectStore,
    Part,
    PartWriter,
    Piece,
    Reader,
    Slice,
    Writer,
)

# Keys on one page of an S3 listing, and so about what one request brings.
PAGE = 1000


class TracedStore:
    """An `ObjectStore` in front of another. `recorder` is the X-Ray SDK's, which may be called from any thread."""

    def __init__(self, store: ObjectStore, recorder: Any) -> None:
        self._store = store
        self._recorder = recorder

    def read(self, key: str) -> tuple[bytes, str]:
        with self.subsegment("read", key):
            return self._store.read(key)

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        # Read at once: a subsegment that is open while others begin and end would be taken for their parent.
        wanted = list(keys)
        if not wanted:
            return
        with self.subsegment("read_many", wanted[0]):
            found = list(self._store.read_many(wanted))
        yield from found

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        with self.subsegment("put", key):
            return self._store.put(key, data, when)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        with self.subsegment("open", key):
            return _TracedReader(self, key, self._store.open(key, start, stop))

    def writer(self, key: str, reserve: int = 0) -> Writer:
        with self.subsegment("writer", key):
            return _TracedWriter(self, key, self._store.writer(key, reserve))

    def delete(self, key: str) -> None:
        with self.subsegment("delete", key):
            self._store.delete(key)

    def delete_many(self, keys: Sequence[str]) -> None:
        with self.subsegment("delete_many", keys[0] if keys else ""):
            self._store.delete_many(keys)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        keys = self._store.list(prefix, after)
        while True:
            with self.subsegment("list", prefix):
                page = tuple(itertools.islice(keys, PAGE))
            yield from page
            if len(page) < PAGE:
                return

    def discard_unfinished(self, before: datetime) -> int:
        with self.subsegment("discard_unfinished"):
            return self._store.discard_unfinished(before)

    def stat(self, key: str) -> Info:
        with self.subsegment("stat", key):
            return self._store.stat(key)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        with self.subsegment("compose", key):
            self._store.compose(key, pieces, within)

    @property
    def signs(self) -> bool:
        return self._store.signs

    def start_parts(self, key: str) -> str:
        with self.subsegment("start_parts", key):
            return self._store.start_parts(key)

    def list_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        with self.subsegment("list_parts", key):
            return self._store.list_parts(key, upload_id)

    def finish_parts(self, key: str, upload_id: str, parts: Sequence[Part]) -> Sequence[Slice]:
        with self.subsegment("finish_parts", key):
            return self._store.finish_parts(key, upload_id, parts)

    def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        with self.subsegment("abort_parts", key):
            self._store.abort_parts(key, upload_id)

    # Signing calls nobody, and whoever does not sign is no place where traces go.

    def signed_part_url(self, key: str, upload_id: str, number: int, expires_in: int) -> str:
        return self._store.signed_part_url(key, upload_id, number, expires_in)

    def signed_url(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        return self._store.signed_url(key, expires_in, disposition=disposition, content_type=content_type, range=range)

    def part_writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        return self._store.part_writer(key, upload_id, number, limit)

    def check(self) -> None:
        with self.subsegment("check"):
            self._store.check()

    @contextlib.contextmanager
    def subsegment(self, call: str, key: str = "") -> Iterator[None]:
        """A subsegment for as long as the context lasts."""
        subsegment = self._recorder.begin_subsegment(f"{call} {key.partition('/')[0]}".rstrip())
        try:
            yield
        except Exception as error:
            # There is none while a function still initialises.
            if subsegment is not None:
                subsegment.put_annotation("error", type(error).__name__)
            raise
        finally:
            self._recorder.end_subsegment()


class _TracedReader:
    def __init__(self, store: TracedStore, key: str, reader: Reader) -> None:
        self._store = store
        self._key = key
        self._reader = reader

    @property
    def object_size(self) -> int:
        return self._reader.object_size

    def read(self, size: int) -> bytes:
        with self._store.subsegment("Reader.read", self._key):
            return self._reader.read(size)

    def read_ready(self, size: int) -> memoryview | None:
        # Nothing that anybody waits for.
        return self._reader.read_ready(size)

    def close(self) -> None:
        self._reader.close()


class _TracedWriter:
    def __init__(self, store: TracedStore, key: str, writer: Writer) -> None:
        self._store = store
        self._key = key
        self._writer = writer

    def write(self, data: bytes) -> None:
        with self._store.subsegment("Writer.write", self._key):
            self._writer.write(data)

    def commit(self, head: bytes = b"") -> None:
        with self._store.subsegment("Writer.commit", self._key):
            self._writer.commit(head)

    def abort(self) -> None:
        with self._store.subsegment("Writer.abort", self._key):
            self._writer.abort()
