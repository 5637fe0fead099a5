"""The use cases without HTTP: the order of their steps, and what remains if they are interrupted."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import (
    DamagedFile,
    Expired,
    UnknownFile,
    UsedUp,
    WrongPassword,
)
from shared.listing import list_files
from shared.options import Options
from shared.sharing import Shares
from shared.storage.keys import blob_key, record_key
from shared.storage.records import DELETED
from shared.sweeping import Sweep
from tests.clock import HOUR, START, Clock
from tests.interposed import InterposedStore, Killed, dies_after, once_after
from tests.sharing.shares import contents, download, receive, shares_over, upload

# Download


def test_a_missing_blob_is_damage_and_counts_nothing(shares: Shares, root: Path) -> None:
    file_id = upload(shares).file_id
    (root / blob_key(file_id)).unlink()
    with pytest.raises(DamagedFile, match="missing"):
        download(shares, file_id)
    assert shares.find(file_id).record.download_count == 0


@pytest.mark.parametrize("blob", [b"", b"\x80\x04\x8e", b"cos\nsystem\n(S'echo'\ntR.", bytes(17)])
def test_a_blob_that_is_none_is_damage_and_counts_nothing(shares: Shares, root: Path, blob: bytes) -> None:
    file_id = upload(shares).file_id
    (root / blob_key(file_id)).write_bytes(blob)
    with pytest.raises(DamagedFile):
        download(shares, file_id)
    assert shares.find(file_id).record.download_count == 0


def test_a_file_deleted_before_its_blob_is_opened_is_unknown(shares: Shares) -> None:
    stored = shares.find(upload(shares).file_id)
    shares.delete(stored.record.file_id)
    with pytest.raises(UnknownFile):
        receive(shares, stored)


def test_a_count_does_not_bring_a_deleted_record_back(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    file_id = upload(shares).file_id
    elsewhere = shares_over(store.store, clock)
    # The count is the first change of a download, and the blob is already open.
    store.around = once_after(len(store.changes), lambda: elsewhere.delete(file_id))
    with pytest.raises(UnknownFile):
        download(shares, file_id)
    assert shares.records.get(file_id).record.state == DELETED
    assert not (root / blob_key(file_id)).exists()


def test_a_file_that_is_being_deleted_hands_out_nothing(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    file_id = upload(shares).file_id
    stored = shares.find(file_id)
    deleting = InterposedStore(store.store)
    # Its record says so, and its blob still exists.
    deleting.around = dies_after(2)
    with pytest.raises(Killed):
        shares_over(deleting, clock).delete(file_id)
    with pytest.raises(UnknownFile):
        receive(shares, stored)


def test_a_file_expires_at_its_very_instant(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares, expires_in=60).file_id
    stored = shares.find(file_id)
    clock.forward(timedelta(seconds=60) - timedelta(microseconds=1))
    assert download(shares, file_id) == b"hello"
    clock.forward(timedelta(microseconds=1))
    with pytest.raises(Expired):
        shares.find(file_id)
    with pytest.raises(Expired):
        receive(shares, stored)
    assert shares.records.get(file_id).record.download_count == 1
    assert list_files(shares, "", 10).files == []


def test_a_clock_that_was_put_back_hides_no_file(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares, expires_in=60).file_id
    clock.forward(-2 * HOUR)
    assert download(shares, file_id) == b"hello"


def test_the_last_download_files_its_entry_before_it_is_counted(shares: Shares, store: InterposedStore) -> None:
    file_id = upload(shares, max_downloads=1).file_id
    store.changes.clear()
    download(shares, file_id)
    assert store.changes == [("put", f"expiries/2030-05-02T12/{file_id}"), ("put", record_key(file_id))]
    assert shares.find(file_id).record.used_up_at == START


def test_a_used_up_file_stays_visible_and_changes_no_more(shares: Shares) -> None:
    file_id = upload(shares, max_downloads=1).file_id
    stale = shares.find(file_id)
    download(shares, file_id)
    used_up = shares.find(file_id)
    for stored in (used_up, stale):
        with pytest.raises(UsedUp):
            receive(shares, stored)
    assert shares.find(file_id) == used_up


@pytest.mark.parametrize("before", [None, "old"])
def test_a_download_is_not_counted_once_another_password_holds(shares: Shares, before: str | None) -> None:
    seen = shares.find(upload(shares, password=before).file_id)
    shares.change(seen.record.file_id, Options(password="new"), frozenset({"password"}))

    with pytest.raises(WrongPassword):
        shares.count(seen)

    assert shares.describe(seen.record.file_id).download_count == 0


def test_a_download_is_counted_after_the_password_is_removed(shares: Shares) -> None:
    seen = shares.find(upload(shares, password="old").file_id)
    shares.change(seen.record.file_id, Options(), frozenset({"password"}))

    assert shares.count(seen).granted == 1


def test_a_password_is_asked_for_only_where_there_is_one(shares: Shares) -> None:
    shares.authorise(shares.find(upload(shares).file_id), None)
    locked = shares.find(upload(shares, password="Sesame").file_id)
    shares.authorise(locked, "Sesame")
    for wrong in (None, "", "sesame"):
        with pytest.raises(WrongPassword):
            shares.authorise(locked, wrong)


@pytest.mark.parametrize(
    "file_id", ["", "..", "../../secret", "secret", "A" * 36, "3f0b6f0e-6d0c-1a5e-9b43-0d6c3b7c8f10"]
)
def test_an_id_of_another_form_is_unknown_and_never_looked_up(
    shares: Shares, store: InterposedStore, file_id: str
) -> None:
    with pytest.raises(UnknownFile):
        shares.find(file_id)
    assert store.count("read") == 0


# Deletion


def old_file(shares: Shares) -> str:
    """A file with every kind of entry."""
    file_id = upload(shares, expires_in=10 * 3600, max_downloads=1).file_id
    download(shares, file_id)
    return file_id


def test_deleting_marks_the_record_which_then_stays_for_a_while(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    file_id = old_file(shares)
    store.changes.clear()
    shares.delete(file_id)
    assert store.changes == [
        ("put", f"expiries/2030-05-01T13/{file_id}"),
        ("put", record_key(file_id)),
        ("delete", blob_key(file_id)),
    ]
    clock.forward(2 * HOUR)
    Sweep(shares).run()
    assert contents(root) == {}


@pytest.mark.parametrize("killed_after", range(2))
def test_a_deletion_killed_before_the_record_says_so_has_not_happened(
    shares: Shares, store: InterposedStore, clock: Clock, killed_after: int
) -> None:
    file_id = upload(shares).file_id
    store.around = dies_after(len(store.changes) + killed_after)
    with pytest.raises(Killed):
        shares.delete(file_id)
    clock.forward(2 * HOUR)
    again = shares_over(store.store, clock)
    assert Sweep(again).run().removed == 0
    assert download(again, file_id) == b"hello"


@pytest.mark.parametrize("killed_after", range(2, 4))
def test_a_deletion_killed_later_holds_and_is_finished_by_the_sweep(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path, killed_after: int
) -> None:
    file_id = old_file(shares)
    store.around = dies_after(len(store.changes) + killed_after)
    with contextlib.suppress(Killed):
        shares.delete(file_id)
    again = shares_over(store.store, clock)
    with pytest.raises(UnknownFile):
        again.find(file_id)
    clock.forward(2 * HOUR)
    Sweep(again).run()
    assert contents(root) == {}


def test_a_file_can_be_deleted_once(shares: Shares) -> None:
    file_id = upload(shares).file_id
    shares.delete(file_id)
    with pytest.raises(UnknownFile):
        shares.delete(file_id)
