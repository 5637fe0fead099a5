"""Reading archives by ranges: the positions of entries, the cost of unpacking, and limits on what strangers can
request."""

from __future__ import annotations

import contextlib
import random
import threading
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import archives as reading
from shared.archives import Inflated, find_member, list_entries
from shared.errors import ArchiveTooLarge, Contended, DamagedFile, NotAnArchive, UnknownEntry, UnsupportedEntry
from shared.options import Options
from shared.sharing import Shares, Stored
from shared.storage.contract import Reader
from shared.uploads import Upload
from shared.zip_directory import MAX_DIRECTORY_BYTES, MAX_ENTRIES
from tests import archives
from tests.clock import Clock
from tests.interposed import InterposedStore
from tests.wire.server import WITHIN


@pytest.fixture
def shares(store: InterposedStore, clock: Clock) -> Shares:
    return Shares(store, max_file_size=10**9, clock=clock)


def stored(shares: Shares, data: bytes) -> Stored:
    incoming = Upload(shares)
    incoming.write(data)
    return shares.find(incoming.finish("files.zip", "application/zip", Options()).file_id)


def extracted(shares: Shares, file: Stored, name: str, size: int = 1000) -> bytes:
    member = find_member(shares, file, name)
    payload = shares.open(file, member.start, member.stop)
    source = Inflated(payload, member, file.record.file_id) if member.deflated else payload
    with contextlib.closing(source):
        return b"".join(iter(lambda: source.read(size), b""))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_entry_is_what_was_packed(shares: Shares, compression: int) -> None:
    digits = random.Random(1).randbytes(300_000)
    files = {"a": b"", "b/c.bin": digits, "b/é 🎉": b"0" * 100_000, "d": b"x"}
    file = stored(shares, archives.packed(files, compression))
    assert {name: extracted(shares, file, name) for name in files} == files


def test_an_archive_of_more_than_its_end_is_read_in_three_requests(shares: Shares, store: InterposedStore) -> None:
    # Each one is a round trip to S3: the end, the directory, and the entry's header; the record was read before.
    file = stored(shares, archives.packed({f"file-{number:05}": b"x" for number in range(3000)}))
    opened: list[str] = []
    inner = store.open

    def note(key: str, start: int = 0, stop: int | None = None) -> Reader:
        opened.append(key)
        return inner(key, start, stop)

    store.open = note  # type: ignore[method-assign]
    find_member(shares, file, "file-00007")
    assert len(opened) == 3


def test_of_two_entries_with_one_name_the_last_counts(shares: Shares) -> None:  # as when unpacking everything
    file = stored(shares, archives.packed([("a", b"first"), ("a", b"second")]))
    assert extracted(shares, file, "a") == b"second"


@pytest.mark.parametrize("name", ["c.txt", "", "A.TXT", "folder", "folder/", "a.txt\0"])
def test_what_is_no_file_of_the_archive_is_unknown(shares: Shares, name: str) -> None:
    file = stored(shares, archives.packed({"a.txt": b"0", "folder/": b""}))
    with pytest.raises(UnknownEntry):
        find_member(shares, file, name)


@pytest.mark.parametrize(
    "archive",
    [
        archives.packed({"a": b"0" * 100}, zipfile.ZIP_BZIP2),
        archives.packed({"a": b"0" * 100}, zipfile.ZIP_LZMA),
        archives.patched(archives.packed({"a": b"0"}), archives.FLAGS, "<H", 1),
    ],
    ids=["bzip2", "lzma", "encrypted"],
)
def test_what_cannot_be_unpacked_is_listed_all_the_same(shares: Shares, archive: bytes) -> None:
    file = stored(shares, archive)
    assert [entry.name for entry in list_entries(shares, file)] == ["a"]
    with pytest.raises(UnsupportedEntry):
        find_member(shares, file, "a")


def test_a_header_of_another_name_is_refused(shares: Shares) -> None:
    # Programs that read the headers would extract another file than programs that read the directory.
    archive = archives.packed({"a.txt": b"0123456789"}).replace(b"a.txt", b"b.exe", 1)
    with pytest.raises(NotAnArchive):
        find_member(shares, stored(shares, archive), "a.txt")


def test_a_directory_that_leads_elsewhere_is_refused(shares: Shares) -> None:
    archive = archives.patched(archives.PLAIN, archives.HEADER_OFFSET, "<I", 3)
    with pytest.raises(NotAnArchive):
        find_member(shares, stored(shares, archive), "a.txt")


@pytest.mark.parametrize(
    "archive",
    [
        archives.patched(archives.DEFLATED, archives.SIZE, "<I", 999),
        archives.patched(archives.DEFLATED, archives.SIZE, "<I", 1001),
        archives.patched(archives.DEFLATED, archives.CRC, "<I", 7),
        archives.DEFLATED.replace(zlib.compress(b"0123456789" * 100, wbits=-15)[:5], b"\xff" * 5, 1),
    ],
    ids=["shorter", "longer", "another CRC-32", "no deflate"],
)
def test_unpacking_ends_before_the_end_of_what_is_damaged(shares: Shares, archive: bytes) -> None:
    # The length was already announced, so only a shorter answer shows the error.
    assert archive != archives.DEFLATED
    file = stored(shares, archive)
    with pytest.raises(DamagedFile):
        extracted(shares, file, "a.txt")


def test_unpacking_hands_out_a_piece_at_a_time(shares: Shares) -> None:
    file = stored(shares, archives.packed({"a": b"0" * 10_000_000}, zipfile.ZIP_DEFLATED))
    member = find_member(shares, file, "a")
    with contextlib.closing(Inflated(shares.open(file, member.start, member.stop), member, "id")) as source:
        assert len(source.read(1000)) == 1000


@pytest.mark.parametrize(
    "archive",
    [archives.crowded(MAX_ENTRIES + 1), archives.with_directory_of(MAX_DIRECTORY_BYTES + 1)],
    ids=["too many entries", "too long a directory"],
)
def test_a_directory_beyond_the_bounds_is_not_read(shares: Shares, archive: bytes) -> None:
    with pytest.raises(ArchiveTooLarge):
        list_entries(shares, stored(shares, archive))


class Turns(threading.BoundedSemaphore):
    """Notes each time that a turn is asked for."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.asked = threading.Semaphore(0)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        self.asked.release()
        return super().acquire(blocking, timeout)


def test_whoever_comes_while_two_archives_are_read_waits(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages show several entries of an archive at once, and others' archives must not fail them either."""
    file, turns = stored(shares, archives.packed({"a": b"x"})), Turns(2)
    monkeypatch.setattr(reading, "_AT_ONCE", turns)
    with ThreadPoolExecutor(8) as pool:
        assert turns.acquire()
        assert turns.acquire()
        running = [pool.submit(list_entries, shares, file) for _ in range(8)]
        for _ in range(2 + len(running)):
            assert turns.asked.acquire(timeout=WITHIN)
        turns.release(2)
        assert all(len(one.result(WITHIN)) == 1 for one in running)


def test_only_two_archives_are_read_at_once(
    shares: Shares, store: InterposedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Reading a directory takes about 60 MB, so many at once would exhaust the memory.
    monkeypatch.setattr(reading, "PATIENCE", 0.01)
    file = stored(shares, archives.packed({f"file-{number:05}": b"x" for number in range(3000)}))
    inside, leave = threading.Barrier(3), threading.Event()
    inner = store.open

    def wait(key: str, start: int = 0, stop: int | None = None) -> Reader:
        if start > 0 and threading.current_thread() is not threading.main_thread() and not leave.is_set():
            inside.wait(WITHIN)
            leave.wait(WITHIN)
        return inner(key, start, stop)

    store.open = wait  # type: ignore[method-assign]
    with _readers(shares, file, 2, leave) as failures:
        inside.wait(WITHIN)
        with pytest.raises(Contended):
            list_entries(shares, file)
    assert failures == []
    assert len(list_entries(shares, file)) == 3000


@contextlib.contextmanager
def _readers(shares: Shares, file: Stored, number: int, leave: threading.Event) -> Iterator[list[BaseException]]:
    failures: list[BaseException] = []

    def read() -> None:
        try:
            list_entries(shares, file)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        leave.set()
        for thread in threads:
            thread.join(WITHIN)
