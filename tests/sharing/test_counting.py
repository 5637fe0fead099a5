"""Files with a widened counter behave like any other file."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest
from msgspec import structs

from shared.errors import DamagedFile, UnknownFile, UsedUp
from shared.listing import list_files
from shared.options import Options
from shared.sharing import Record, Shares
from shared.storage.contract import NotFound
from shared.storage.keys import COUNTS, record_key
from shared.storage.records import CELLS, CLOSED
from shared.sweeping import Sweep
from tests.clock import DAY, HOUR, Clock
from tests.interposed import InterposedStore, dies_after, once_after, undisturbed
from tests.interposed import Killed as ProcessEnd
from tests.sharing.shares import contents, download, receive, upload

CAP = frozenset({"max_downloads"})


def hot(shares: Shares, downloads: int = 5) -> str:
    """A file that is counted in cells. Returns its ID."""
    file_id = upload(shares).file_id
    download(shares, file_id)
    widen(shares, file_id)
    for _ in range(downloads - 1):
        download(shares, file_id)
    return file_id


def widen(shares: Shares, file_id: str) -> Record:
    return shares.records.update(file_id, lambda old: structs.replace(old, cells=CELLS)).record


def counted(shares: Shares, file_id: str) -> int:
    """The download count of a file, after checking that metadata and list agree."""
    described = shares.describe(file_id)
    assert described in list_files(shares, "", 100).files
    return described.download_count


def cells(root: Path) -> list[str]:
    return [name for name in contents(root) if name.startswith(COUNTS)]


def test_metadata_and_list_show_all_downloads(shares: Shares, root: Path) -> None:
    file_id = hot(shares, downloads=5)
    assert cells(root)
    assert counted(shares, file_id) == 5


def test_a_change_that_sets_no_cap_leaves_the_cells(shares: Shares) -> None:
    file_id = hot(shares, downloads=5)
    changed = shares.change(file_id, Options(expires_in=60), frozenset({"expires_in"}))
    assert (changed.download_count, changed.cells) == (5, CELLS)


def test_a_cap_counts_what_was_downloaded_before(shares: Shares) -> None:
    file_id = hot(shares, downloads=5)
    changed = shares.change(file_id, Options(max_downloads=7), CAP)
    assert (changed.download_count, changed.max_downloads, changed.cells) == (5, 7, CLOSED)
    for _ in range(2):
        download(shares, file_id)
    with pytest.raises(UsedUp):
        download(shares, file_id)
    assert counted(shares, file_id) == 7


def test_a_cap_that_was_reached_before_it_was_set_leaves_no_download(shares: Shares, clock: Clock) -> None:
    file_id = hot(shares, downloads=5)
    assert shares.change(file_id, Options(max_downloads=4), CAP).used_up_at == clock.now
    with pytest.raises(UsedUp):
        download(shares, file_id)
    clock.forward(DAY + HOUR)
    assert Sweep(shares).run().removed == 1


def test_a_download_that_began_before_the_cap_is_held_to_it(shares: Shares) -> None:
    file_id = hot(shares, downloads=5)
    stored = shares.find(file_id)
    shares.change(file_id, Options(max_downloads=5), CAP)
    with pytest.raises(UsedUp):
        receive(shares, stored)
    assert counted(shares, file_id) == 5


def test_a_file_that_widens_while_its_cap_is_set_keeps_to_the_cap(shares: Shares, store: InterposedStore) -> None:
    file_id = upload(shares).file_id
    download(shares, file_id)

    def meanwhile() -> None:
        widen(shares, file_id)
        download(shares, file_id)

    # After the entry for a used-up file, and before the record is written.
    store.around = once_after(len(store.changes) + 1, meanwhile)
    changed = shares.change(file_id, Options(max_downloads=2), CAP)
    assert (changed.download_count, changed.max_downloads, changed.cells) == (2, 2, CLOSED)
    with pytest.raises(UsedUp):
        download(shares, file_id)


def test_without_its_cap_a_file_goes_on_being_counted(shares: Shares) -> None:
    file_id = hot(shares, downloads=5)
    shares.change(file_id, Options(max_downloads=5), CAP)
    shares.change(file_id, Options(), CAP)
    download(shares, file_id)
    assert counted(shares, file_id) == 6


@pytest.mark.parametrize("steps", range(0, CELLS + 3, 3))
def test_a_crash_while_setting_a_cap_loses_no_count(shares: Shares, store: InterposedStore, steps: int) -> None:
    file_id = hot(shares, downloads=5)
    store.around = dies_after(len(store.changes) + steps)
    with pytest.raises(ProcessEnd):
        shares.change(file_id, Options(max_downloads=7), CAP)
    store.around = undisturbed
    assert counted(shares, file_id) == 5
    download(shares, file_id)
    assert shares.change(file_id, Options(max_downloads=7), CAP).download_count == 6
    download(shares, file_id)
    with pytest.raises(UsedUp):
        download(shares, file_id)


def test_deleting_a_file_removes_its_cells(shares: Shares, root: Path) -> None:
    file_id = hot(shares)
    shares.delete(file_id)
    assert not cells(root)
    with pytest.raises(UnknownFile):
        shares.describe(file_id)


def test_cells_that_nobody_claims_are_swept(shares: Shares, store: InterposedStore, root: Path, clock: Clock) -> None:
    file_id, other = hot(shares), hot(shares)
    for key in (record_key(file_id), f"files/{file_id[:2]}/{file_id}.pickle"):
        store.delete(key)
    clock.forward(2 * DAY + HOUR)
    assert Sweep(shares).run().leftovers == 1
    assert {name.split("/")[1] for name in cells(root)} == {other}
    assert counted(shares, other) == 5


def test_a_deletion_that_died_is_finished_though_cells_are_left(
    shares: Shares, store: InterposedStore, root: Path, clock: Clock
) -> None:
    file_id = hot(shares)
    # The entry, the record, the blob.
    store.around = dies_after(len(store.changes) + 3)
    with pytest.raises(ProcessEnd):
        shares.delete(file_id)
    store.around = undisturbed
    assert cells(root)
    clock.forward(2 * HOUR)
    Sweep(shares).run()
    assert not cells(root)
    with pytest.raises(NotFound):
        store.read(record_key(file_id))


def test_a_file_with_a_damaged_cell_is_reported_and_left_out(
    shares: Shares, store: InterposedStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, sound = hot(shares), hot(shares)
    store.put(next(name for name in cells(root) if damaged in name), b"{")
    with pytest.raises(DamagedFile):
        shares.describe(damaged)
    with caplog.at_level(logging.ERROR):
        assert [record.file_id for record in list_files(shares, "", 10).files] == [sound]
    assert "the cell cannot be read" in caplog.text


def test_a_file_that_is_no_longer_hot_is_cheap_to_read(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    """It can become hot again like any other file, whatever other processes still know about its old cells."""
    file_id = hot(shares, downloads=5)
    late = shares.find(file_id)
    shares.expiries.add(file_id, clock.now)
    clock.forward(HOUR + HOUR)
    assert Sweep(shares).run().failed == 0
    record = shares.records.get(file_id).record
    assert (record.cells, record.first_cell, record.download_count) == (0, CELLS, 5)
    store.calls.clear()
    assert shares.describe(file_id).download_count == 5
    assert (store.count("read"), store.count("read many")) == (1, 0)
    receive(shares, late)
    assert counted(shares, file_id) == 6
    widen(shares, file_id)
    for _ in range(3):
        download(shares, file_id)
    receive(shares, late)
    assert counted(shares, file_id) == 10
    assert shares.change(file_id, Options(max_downloads=12), CAP).download_count == 10


def test_a_file_that_is_still_hot_keeps_its_cells(shares: Shares, clock: Clock) -> None:
    file_id = hot(shares, downloads=5)
    for _ in range(4):
        shares.expiries.add(file_id, clock.now)
        clock.forward(HOUR + HOUR)
        download(shares, file_id)
        assert Sweep(shares).run().failed == 0
        assert shares.records.get(file_id).record.cells == CELLS
    clock.forward(3 * HOUR)
    Sweep(shares).run()
    assert shares.records.get(file_id).record.cells == 0
    assert counted(shares, file_id) == 9


@pytest.mark.parametrize("steps", range(0, CELLS + 4, 3))
def test_a_crash_while_folding_loses_no_count(shares: Shares, store: InterposedStore, clock: Clock, steps: int) -> None:
    file_id = hot(shares, downloads=5)
    clock.forward(HOUR + HOUR)
    store.around = dies_after(len(store.changes) + steps)
    with contextlib.suppress(ProcessEnd):
        shares.fold_if_quiet(file_id)
    store.around = undisturbed
    assert counted(shares, file_id) == 5
    download(shares, file_id)
    assert counted(shares, file_id) == 6
    shares.fold_if_quiet(file_id)
    assert counted(shares, file_id) == 6
