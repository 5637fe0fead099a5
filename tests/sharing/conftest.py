"""The use cases over a directory, with a clock that stands still until a test moves it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.options import Options
from shared.sharing import Record, Shares
from shared.storage.contract import ANYTHING, Condition, ObjectStore, Piece, Slice, Writer
from shared.storage.directory.data_directory import LOCKS
from shared.storage.directory.spares import SPARES
from shared.storage.directory.store import DirectoryStore
from shared.storage.multipart import Part
from shared.uploads import Upload
from tests.storage.faults import FaultyStore

START = datetime(2030, 5, 1, 12, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MAX_FILE_SIZE = 1000


class Clock:
    """Says what it was set to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, duration: timedelta) -> None:
        self.now += duration


class Crash(BaseException):
    """The process ends here, as far as storage can tell."""


class WatchedStore(FaultyStore):
    """An `ObjectStore` in front of another, which notes every change and calls `before` with how many there were."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self.changes: list[tuple[str, str]] = []
        self.before: Callable[[int], object] = lambda _number: None
        self.multipart = _WatchedMultipart(self)

    def note(self, verb: str, key: str) -> None:
        self.before(len(self.changes))
        self.changes.append((verb, key))

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        self.note("put", key)
        return super().put(key, data, when)

    def writer(self, key: str, reserve: int = 0) -> Writer:
        return _WatchedWriter(self, key, self.store.writer(key, reserve))

    def delete(self, *keys: str) -> None:
        # One by one, as a process that is killed may have got.
        for key in keys:
            self.note("delete", key)
            self.store.delete(key)

    def discard_unfinished(self, before: datetime) -> int:
        self.note("discard", "")
        return self.store.discard_unfinished(before)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        self.note("compose", key)
        self.store.compose(key, pieces, within)


class _WatchedMultipart:
    def __init__(self, store: WatchedStore) -> None:
        self._store = store
        self._multipart = store.store.multipart
        self.list = self._multipart.list
        self.writer = self._multipart.writer

    def start(self, key: str) -> str:
        self._store.note("start", key)
        return self._multipart.start(key)

    def finish(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        self._store.note("finish", key)
        return self._multipart.finish(key, upload_id, parts, allow)

    def abort(self, key: str, upload_id: str | None = None) -> None:
        self._store.note("abort", key)
        self._multipart.abort(key, upload_id)


class _WatchedWriter:
    def __init__(self, store: WatchedStore, key: str, writer: Writer) -> None:
        self._store = store
        self._key = key
        self._writer = writer
        self.write = writer.write
        self.abort = writer.abort

    def commit(self, head: bytes = b"") -> None:
        self._store.note("commit", self._key)
        self._writer.commit(head)


def dies_after(changes: int) -> Callable[[int], None]:
    """For `WatchedStore.before`: so many changes still happen, and none after them."""

    def die(number: int) -> None:
        if number >= changes:
            raise Crash

    return die


def once_after(changes: int, action: Callable[[], object]) -> Callable[[int], None]:
    """For `WatchedStore.before`: something else happens between two changes."""
    pending = [action]

    def act(number: int) -> None:
        if number >= changes and pending:
            pending.pop()()

    return act


def shares_over(store: ObjectStore, clock: Clock, **settings: Any) -> Shares:
    return Shares(store, max_file_size=MAX_FILE_SIZE, clock=clock, **settings)


def upload(shares: Shares, data: bytes = b"hello", **options: Any) -> Record:
    """Upload a file with these options; its record."""
    incoming = Upload(shares)
    incoming.write(data)
    return incoming.finish("file.bin", "application/octet-stream", Options(**options))


def download(shares: Shares, file_id: str) -> bytes:
    """Download a whole file, which counts; its bytes."""
    found = shares.find(file_id)
    with contextlib.closing(shares.download(found, 0, found.record.file_size)) as payload:
        return b"".join(iter(lambda: payload.read(3), b""))


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a data directory but its locks and spares, staged ones too."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not {LOCKS, SPARES} & {*path.parts}]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(root: Path) -> WatchedStore:
    return WatchedStore(DirectoryStore(root))


@pytest.fixture
def shares(store: WatchedStore, clock: Clock) -> Shares:
    return shares_over(store, clock)
