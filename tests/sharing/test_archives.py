"""Few directories of archives are read at once, because each can take much memory; others wait their turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared import archives
from shared.errors import Contended
from shared.options import Options
from shared.sharing import Shares, Stored
from shared.storage.directory.store import DirectoryStore
from shared.uploads import Upload
from tests import archives as samples


def archive_in(root: Path) -> tuple[Shares, Stored]:
    shares = Shares(DirectoryStore(root), max_file_size=10**6)
    upload = Upload(shares)
    upload.write(samples.PLAIN)
    record = upload.finish("files.zip", "application/zip", Options())
    return shares, shares.find(record.file_id)


class Asked(threading.BoundedSemaphore):
    """Notes each time that it is asked for."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.times = threading.Semaphore(0)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        self.times.release()
        return super().acquire(blocking, timeout)


def test_whoever_comes_while_others_read_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares, file = archive_in(tmp_path)
    turns = Asked(2)
    monkeypatch.setattr(archives, "_AT_ONCE", turns)
    with ThreadPoolExecutor(8) as pool:
        assert turns.acquire()
        assert turns.acquire()
        running = [pool.submit(archives.list_entries, shares, file) for _ in range(8)]
        for _ in range(2 + len(running)):
            assert turns.times.acquire(timeout=10)
        turns.release(2)
        assert all([entry.name for entry in one.result()] == ["a.txt", "b.txt"] for one in running)


def test_whoever_waits_too_long_is_told_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares, file = archive_in(tmp_path)
    monkeypatch.setattr(archives, "PATIENCE", 0.01)
    with archives._AT_ONCE, archives._AT_ONCE, pytest.raises(Contended):
        archives.list_entries(shares, file)
    assert len(archives.list_entries(shares, file)) == 2
