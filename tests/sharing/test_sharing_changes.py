"""Changing the options of a file, and listing pages, while others do the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Expired, InvalidValue, UnknownFile, UsedUp
from shared.listing import list_files
from shared.options import Lifetimes, Options
from shared.sharing import Record, Shares
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import record_key
from shared.storage.records import DELETED
from shared.sweeping import Sweep
from tests.clock import DAY, HOUR, START, Clock
from tests.interposed import InterposedStore, once_after
from tests.sharing.shares import download, shares_over, upload


def change(shares: Shares, file_id: str, **values: Any) -> Record:
    return shares.change(file_id, Options(**values), frozenset(values))


# Change


def test_no_number_of_changes_keeps_a_file_longer_than_is_allowed(root: Path, clock: Clock) -> None:
    shares = shares_over(DirectoryStore(root), clock, lifetimes=Lifetimes(longest=60))
    record = upload(shares)
    for _ in range(3):
        clock.forward(timedelta(seconds=15))
        changed = change(shares, record.file_id, expires_in=60)
    assert changed.expires_at == record.created_at + timedelta(seconds=60)


def test_a_change_files_its_entry_before_the_record(shares: Shares, store: InterposedStore) -> None:
    file_id = upload(shares).file_id
    store.changes.clear()
    change(shares, file_id, expires_in=3600, max_downloads=3)
    assert store.changes == [
        ("put", f"expiries/2030-05-01T13/{file_id}"),
        ("put", f"expiries/2030-05-02T12/{file_id}"),
        ("put", record_key(file_id)),
    ]


def test_a_change_keeps_what_was_not_given(shares: Shares) -> None:
    before = upload(shares, expires_in=3600, max_downloads=3, password="Sesame")
    changed = change(shares, before.file_id, max_downloads=5)
    assert changed.max_downloads == 5
    assert (changed.expires_at, changed.password_hash) == (before.expires_at, before.password_hash)


def test_a_change_to_none_removes_an_option(shares: Shares) -> None:
    file_id = upload(shares, expires_in=3600, max_downloads=3, password="Sesame").file_id
    changed = change(shares, file_id, expires_in=None, max_downloads=None, password=None)
    assert (changed.expires_at, changed.max_downloads, changed.password_hash) == (None, None, None)
    assert shares.find(file_id).record == changed


def test_a_new_expiry_counts_from_the_change(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares, expires_in=60).file_id
    clock.forward(timedelta(seconds=59))
    assert change(shares, file_id, expires_in=60).expires_at == START + timedelta(seconds=119)


def test_an_expired_file_cannot_be_changed(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares, expires_in=60).file_id
    clock.forward(timedelta(seconds=60))
    with pytest.raises(Expired):
        change(shares, file_id, expires_in=None)


def test_an_expiry_stays_within_what_the_service_allows(store: InterposedStore, clock: Clock) -> None:
    shares = shares_over(store, clock, lifetimes=Lifetimes(longest=3600))
    before = upload(shares)
    assert before.expires_at == START + HOUR
    for expires_in in (None, 3601):
        with pytest.raises(InvalidValue, match="expires_in"):
            change(shares, before.file_id, expires_in=expires_in)
    assert shares.find(before.file_id).record == before


def test_a_cap_lowered_to_the_count_uses_the_file_up_now(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares).file_id
    for _ in range(3):
        download(shares, file_id)
    assert change(shares, file_id, max_downloads=4).used_up_at is None
    clock.forward(HOUR)
    assert change(shares, file_id, max_downloads=2).used_up_at == START + HOUR
    with pytest.raises(UsedUp):
        download(shares, file_id)


def test_a_file_that_stays_used_up_is_not_kept_longer(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares, max_downloads=2).file_id
    for _ in range(2):
        download(shares, file_id)
    clock.forward(HOUR)
    assert change(shares, file_id, max_downloads=1).used_up_at == START
    assert change(shares, file_id, expires_in=DAY.total_seconds()).used_up_at == START


@pytest.mark.parametrize("cap", [2, None])
def test_a_raised_or_removed_cap_gives_downloads_again(shares: Shares, clock: Clock, cap: int | None) -> None:
    file_id = upload(shares, max_downloads=1).file_id
    download(shares, file_id)
    assert change(shares, file_id, max_downloads=cap).used_up_at is None
    clock.forward(2 * DAY)
    assert Sweep(shares).run().removed == 0
    assert download(shares, file_id) == b"hello"


def test_a_download_counted_during_a_change_is_kept(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    file_id = upload(shares).file_id
    elsewhere = shares_over(store.store, clock)
    store.around = once_after(len(store.changes) + 1, lambda: download(elsewhere, file_id))
    changed = change(shares, file_id, max_downloads=1)
    assert (changed.download_count, changed.max_downloads, changed.used_up_at) == (1, 1, START)


def test_two_changes_at_once_both_hold(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    file_id = upload(shares).file_id
    elsewhere = shares_over(store.store, clock)
    store.around = once_after(len(store.changes) + 1, lambda: change(elsewhere, file_id, expires_in=60))
    changed = change(shares, file_id, max_downloads=1)
    assert (changed.max_downloads, changed.expires_at) == (1, START + timedelta(seconds=60))


def test_a_change_does_not_bring_a_deleted_file_back(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    file_id = upload(shares).file_id
    elsewhere = shares_over(store.store, clock)
    store.around = once_after(len(store.changes) + 1, lambda: elsewhere.delete(file_id))
    with pytest.raises(UnknownFile):
        change(shares, file_id, max_downloads=1)
    assert shares.records.get(file_id).record.state == DELETED


# Pages


def all_pages(shares: Shares, limit: int, between: Callable[[], object] = lambda: None) -> list[list[str]]:
    """The IDs of each page. `between` runs after each page."""
    pages: list[list[str]] = []
    more = True
    while more:
        page = list_files(shares, pages[-1][-1] if pages else "", limit)
        pages.append([record.file_id for record in page.files])
        more = page.more
        between()
    return pages


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])])
def test_a_page_says_whether_another_follows(shares: Shares, count: int, sizes: list[int]) -> None:
    file_ids = sorted(upload(shares).file_id for _ in range(count))
    pages = all_pages(shares, 3)
    assert [len(page) for page in pages] == sizes
    assert [file_id for page in pages for file_id in page] == file_ids


def test_what_is_there_all_the_time_is_listed_once(shares: Shares) -> None:
    file_ids = sorted(upload(shares).file_id for _ in range(12))
    # In each pause, one file of the first page and one of a later page are deleted, and a new one is uploaded.
    doomed = [file_ids[0], file_ids[11], file_ids[1], file_ids[10]]

    def disturb() -> None:
        upload(shares)
        if doomed:
            shares.delete(doomed.pop(0))
            shares.delete(doomed.pop(0))

    listed = [file_id for page in all_pages(shares, 3, disturb) for file_id in page]
    assert listed == sorted(set(listed))
    assert [file_id for file_id in listed if file_id in file_ids] == file_ids[:10]


def test_a_page_continues_after_a_file_that_is_gone(shares: Shares) -> None:
    file_ids = sorted(upload(shares).file_id for _ in range(3))
    shares.delete(file_ids[1])
    assert [record.file_id for record in list_files(shares, file_ids[1], 10).files] == [file_ids[2]]


def test_what_is_not_visible_does_not_shorten_a_page(
    shares: Shares, clock: Clock, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file_ids = sorted(upload(shares, expires_in=60).file_id for _ in range(9))
    for file_id in (file_ids[0], file_ids[4], file_ids[8]):
        change(shares, file_id, expires_in=None)
    (root / record_key(file_ids[3])).write_bytes(b"{")
    clock.forward(timedelta(seconds=60))
    # Between the three files, and after the last, there are only expired files and one damaged record.
    assert all_pages(shares, 1) == [[file_ids[0]], [file_ids[4]], [file_ids[8]]]
    assert file_ids[3] in caplog.text


@pytest.mark.parametrize("expired", [100, 400])
def test_a_page_before_many_invisible_files_takes_few_batches(
    shares: Shares, store: InterposedStore, clock: Clock, expired: int
) -> None:
    """Each batch waits for storage, and on S3 that takes long."""
    file_ids = sorted(upload(shares, expires_in=60).file_id for _ in range(100 + expired))
    for file_id in file_ids[:100]:
        change(shares, file_id, expires_in=None)
    clock.forward(timedelta(seconds=60))
    store.calls.clear()
    page = list_files(shares, "", 100)
    assert ([record.file_id for record in page.files], page.more) == (file_ids[:100], False)
    assert store.count("read many") <= 4
