"""IDs that a process reserves ahead for small files: they save entries, and a crash leaves nothing for good."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import DigestMismatch, StorageUnavailable
from shared.ids_ahead import MOST, SMALL
from shared.options import Options
from shared.retention import KEEP_UNFINISHED_FOR, REFILE_EVERY
from shared.sharing import FILE_ID, Record, Shares
from shared.storage.expiries import several
from shared.storage.keys import EXPIRIES, FILES, METADATA, entry_key, file_id_of
from shared.uploads import Upload
from tests.clock import Clock
from tests.interposed import Call, InterposedStore, Proceed
from tests.sharing.shares import download
from tests.sharing.test_sweeping import set_age, sweep
from tests.staged import staged

HOUR = timedelta(hours=1)
# In this hour, the sweep looks at what was left of uploads.
DUE = KEEP_UNFINISHED_FOR + HOUR


def begin(shares: Shares, most: int | None = 5) -> Upload:
    incoming = Upload(shares, most=most)
    incoming.write(b"hello")
    return incoming


def finish(incoming: Upload) -> Record:
    return incoming.finish("file.bin", "application/octet-stream", Options())


def send(shares: Shares, most: int | None = 5) -> Record:
    return finish(begin(shares, most))


def names(store: InterposedStore) -> list[str]:
    """The names of all entries."""
    return [file_id_of(key) for key in store.list(EXPIRIES)]


def ahead(store: InterposedStore) -> set[str]:
    """The IDs that were reserved ahead."""
    return {file_id for name in names(store) if name.startswith("several-") for file_id in several(name)}


def test_small_files_one_after_the_other_write_few_entries(
    shares: Shares, store: InterposedStore, clock: Clock
) -> None:
    sent = {send(shares).file_id for _ in range(50)}
    # 2, 4, 8, 16 and 16 IDs, each after a file with an entry of its own; and the first file.
    assert sorted(len(several(name)) for name in names(store) if name.startswith("several-")) == [2, 4, 8, 16, 16]
    assert len(sent - ahead(store)) == 6
    clock.forward(DUE)
    sweep(shares)
    assert names(store) == []
    assert {file_id_of(key) for key in store.list(METADATA)} == sent
    assert len([*store.list(FILES)]) == 50
    assert all(download(shares, file_id) == b"hello" for file_id in sent)


def test_ids_ahead_are_those_of_files(shares: Shares, store: InterposedStore) -> None:
    for _ in range(30):
        send(shares)
    assert len(ahead(store)) == 30
    assert all(FILE_ID.fullmatch(file_id) for file_id in ahead(store))


@pytest.mark.parametrize("most", [None, SMALL + 1])
def test_files_that_may_be_large_have_entries_of_their_own(
    shares: Shares, store: InterposedStore, most: int | None
) -> None:
    """A crash can leave parts of them in a bucket, which nothing tells from those that still arrive."""
    for _ in range(2):
        send(shares)
    sent = {send(shares, most).file_id for _ in range(5)}
    assert sent <= set(names(store))


def test_what_a_crash_leaves_of_them_is_removed(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    kept = [send(shares) for _ in range(2)]
    left = begin(shares)
    assert left.file_id in ahead(store)
    left._blob.commit()
    clock.forward(DUE)
    for _ in range(4):
        sweep(shares)
        clock.forward(2 * HOUR)
    assert len([*store.list(FILES)]) == len([*store.list(METADATA)]) == len(kept)
    assert names(store) == []


def test_an_upload_that_takes_days_keeps_its_id(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    for _ in range(2):
        send(shares)
    slow = Upload(shares, most=3 * 24)
    assert slow.file_id in ahead(store)
    for _ in range(3 * 24):
        clock.forward(REFILE_EVERY)
        for path in staged(root):
            set_age(path, clock.now - REFILE_EVERY)
        sweep(shares)
        slow.write(b"x")
    assert download(shares, finish(slow).file_id) == b"x" * 3 * 24


def test_an_upload_that_pauses_for_days_fails(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    for _ in range(2):
        send(shares)
    paused = begin(shares)
    assert paused.file_id in ahead(store)
    clock.forward(KEEP_UNFINISHED_FOR)
    with pytest.raises(StorageUnavailable):
        finish(paused)
    paused.abort()
    assert len([*store.list(METADATA)]) == 2


def test_ids_are_not_used_after_an_hour(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    for _ in range(2):
        send(shares)
    clock.forward(HOUR)
    assert send(shares).file_id not in ahead(store)
    # It counts as the first one again.
    assert len(ahead(store)) == 2
    send(shares)
    assert len(ahead(store)) == 4


def test_a_failed_upload_reserves_none(shares: Shares, store: InterposedStore) -> None:
    send(shares)
    before = names(store)
    incoming = begin(shares)
    with pytest.raises(DigestMismatch):
        incoming.finish("file.bin", "text/plain", Options(), sha256="0" * 64)
    incoming.abort()
    assert names(store) == before


def test_files_arrive_even_if_no_ids_can_be_reserved(shares: Shares, store: InterposedStore) -> None:
    def refuse(call: Call, proceed: Proceed) -> Any:
        if "several-" in call.key:
            raise StorageUnavailable("not now")
        return proceed()

    store.begin(refuse)
    sent = [send(shares) for _ in range(3)]
    assert [download(shares, record.file_id) for record in sent] == [b"hello"] * 3
    assert set(names(store)) == {record.file_id for record in sent}


def test_no_more_than_a_few_are_reserved_at_once(shares: Shares, store: InterposedStore) -> None:
    for _ in range(200):
        send(shares)
    assert max(len(several(name)) for name in names(store) if name.startswith("several-")) == MOST == 16


@pytest.mark.parametrize("name", ["several-", "several-2", "several-two-files", "several--2-files"])
def test_an_entry_of_somebody_else_is_removed(shares: Shares, store: InterposedStore, clock: Clock, name: str) -> None:
    store.put(entry_key(name, clock.now), b"")
    clock.forward(HOUR)
    assert sweep(shares).failed == 0
    assert names(store) == []
