"""The sweep: what it removes and when, what it leaves alone, and that nothing it meets or suffers does harm."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable, UnknownFile
from shared.options import Options
from shared.sharing import Shares
from shared.storage.blobs import blob_key
from shared.storage.local import STAGING, LocalStore
from shared.storage.records import record_key
from shared.sweeping import MERGE_KEY, ORPHANS_WAIT, Sweep, Swept
from tests.sharing.conftest import (
    DAY,
    HOUR,
    START,
    Clock,
    Crash,
    WatchedStore,
    contents,
    dies_after,
    download,
    once_after,
    shares_over,
    upload,
)
from tests.storage.faults import before

SECOND = timedelta(seconds=1)


def sweep(shares: Shares) -> Swept:
    return Sweep(shares).run()


def kill(shares: Shares, store: WatchedStore, action: Callable[[Shares], object], after: int) -> None:
    """Have a process of its own do something, and die after so many changes."""
    dying = WatchedStore(store.store)
    dying.before = dies_after(after)
    with pytest.raises(Crash):
        action(shares_over(dying, Clock(shares.now())))


def blob_alone(shares: Shares, store: WatchedStore) -> str:
    """What an upload leaves that died before its record; the ID."""
    before = set(shares.blob_ids())
    kill(shares, store, upload, after=1)
    [file_id] = set(shares.blob_ids()) - before
    return file_id


def put_entry(store: WatchedStore, file_id: str, hour: str = "2030-05-01T11", data: bytes = b"") -> None:
    store.put(f"expiries/{hour}/{file_id}", data)


# What is over


def test_an_expired_file_is_removed_once_its_hour_is_over(shares: Shares, clock: Clock, root: Path) -> None:
    upload(shares, expires_in=30 * 60)
    clock.now = START.replace(minute=59, second=59)
    assert sweep(shares).removed == 0
    clock.forward(SECOND)
    assert sweep(shares) == Swept(removed=1)
    assert list(contents(root)) == [MERGE_KEY]


@pytest.mark.parametrize("expires_in", [1, 39 * 60 + 59, 40 * 60, 3600, 86400])
def test_a_file_is_never_removed_before_it_expires(shares: Shares, clock: Clock, expires_in: int) -> None:
    file_id = upload(shares, expires_in=expires_in).file_id
    clock.forward(timedelta(seconds=expires_in) - timedelta(microseconds=1))
    assert sweep(shares).removed == 0
    assert download(shares, file_id) == b"hello"
    clock.forward(HOUR + SECOND)
    assert sweep(shares).removed == 1


def test_a_file_without_options_is_never_removed(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares).file_id
    for _ in range(4):
        clock.forward(365 * DAY)
        assert sweep(shares) == Swept()
    assert download(shares, file_id) == b"hello"


def test_a_used_up_file_is_removed_a_day_later_and_not_sooner(shares: Shares, clock: Clock) -> None:
    file_id = upload(shares, max_downloads=1).file_id
    download(shares, file_id)
    clock.now = START.replace(minute=59, second=59) + DAY
    assert sweep(shares).removed == 0
    assert shares.find(file_id).record.download_count == 1
    clock.forward(SECOND)
    assert sweep(shares).removed == 1
    with pytest.raises(UnknownFile):
        shares.find(file_id)


def test_a_running_download_reads_on_while_its_file_is_swept(shares: Shares, clock: Clock) -> None:
    found = shares.find(upload(shares, bytes(range(200)), expires_in=60).file_id)
    with contextlib.closing(shares.download(found, 0, 200)) as payload:
        first = payload.read(50)
        clock.forward(2 * HOUR)
        assert sweep(shares).removed == 1
        assert first + payload.read(200) == bytes(range(200))


# Entries that are too early, left over, or none of ours


def test_an_entry_of_an_earlier_expiry_is_filed_again(shares: Shares, clock: Clock, root: Path) -> None:
    file_id = upload(shares, expires_in=60).file_id
    shares.change(file_id, Options(expires_in=5 * 3600), frozenset({"expires_in"}))
    # As if the entry that the change made had been lost.
    (root / f"expiries/2030-05-01T17/{file_id}").unlink()
    clock.forward(HOUR)
    assert sweep(shares) == Swept()
    assert [key for key in contents(root) if file_id in key and "expiries" in key] == [
        f"expiries/2030-05-01T17/{file_id}"
    ]
    clock.forward(5 * HOUR)
    assert sweep(shares).removed == 1


def test_an_entry_of_an_earlier_use_is_filed_again(shares: Shares, store: WatchedStore, clock: Clock) -> None:
    file_id = upload(shares, max_downloads=1).file_id
    download(shares, file_id)
    store.delete(f"expiries/2030-05-02T12/{file_id}")
    put_entry(store, file_id)
    sweep(shares)
    clock.forward(DAY + HOUR)
    assert sweep(shares).removed == 1


@pytest.mark.parametrize("name", ["not-an-id", "merge", "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10", "a.b~"])
def test_an_entry_of_no_file_is_dropped(
    shares: Shares, store: WatchedStore, clock: Clock, root: Path, name: str
) -> None:
    put_entry(store, name)
    for _ in range(2):
        swept = sweep(shares)
        assert (swept.removed, swept.orphans, swept.failed) == (0, 0, 0)
        clock.forward(2 * DAY)
    assert list(contents(root)) == [MERGE_KEY]


def test_strange_files_in_the_directory_stay_and_do_no_harm(shares: Shares, clock: Clock, root: Path) -> None:
    strangers = [
        "files/.DS_Store",
        "files/ab/x.pickle~",
        "files/ab/abc.pickle",
        "metadata/ab/x.json",
        "raw/x",
        "README",
    ]
    for name in strangers:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"{")
    file_id = upload(shares, expires_in=60).file_id
    for _ in range(4):
        clock.forward(25 * HOUR)
        assert sweep(shares).failed == 0
    assert set(strangers) <= set(contents(root))
    assert not any(file_id in key for key in contents(root))


def test_a_damaged_record_does_not_stop_the_others(
    shares: Shares, clock: Clock, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, *others = sorted(upload(shares, expires_in=60).file_id for _ in range(3))
    (root / record_key(damaged)).write_bytes(b"\0" * 100)
    clock.forward(HOUR)
    assert sweep(shares) == Swept(removed=len(others), failed=1)
    assert damaged in caplog.text
    # It is looked at again each time, and what is left of it is not lost.
    assert sweep(shares) == Swept(failed=1)
    assert (root / blob_key(damaged)).exists()


def test_storage_that_fails_for_one_file_does_not_stop_the_others(
    shares: Shares, store: WatchedStore, clock: Clock
) -> None:
    for _ in range(3):
        upload(shares, expires_in=60)
    clock.forward(HOUR)
    store.script[store.puts + 1] = before(StorageUnavailable("a fault of one moment"))
    assert sweep(shares) == Swept(removed=2, failed=1)
    assert sweep(shares) == Swept(removed=1)


# What a crash left


def test_a_blob_without_a_record_is_removed_long_after_it_was_found(
    shares: Shares, store: WatchedStore, clock: Clock, root: Path
) -> None:
    file_id = blob_alone(shares, store)
    assert sweep(shares) == Swept(orphans=1)
    clock.now = (START + ORPHANS_WAIT).replace(minute=59, second=59)
    sweep(shares)
    assert (root / blob_key(file_id)).exists()
    clock.forward(SECOND)
    assert sweep(shares).leftovers == 1
    assert not any(key.startswith("files/") for key in contents(root))


def test_a_file_that_got_its_record_meanwhile_is_kept(shares: Shares, store: WatchedStore, clock: Clock) -> None:
    store.before = once_after(1, lambda: sweep(shares_over(store.store, clock)))
    file_id = upload(shares).file_id
    # The daily look fell between its blob and its record, and took it for an orphan.
    assert any(file_id in key for key in store.list("expiries/"))
    clock.forward(2 * DAY)
    assert sweep(shares).leftovers == 0
    assert download(shares, file_id) == b"hello"


@pytest.mark.parametrize("killed_after", [1, 2])
def test_an_upload_that_was_killed_is_gone_within_three_days(
    shares: Shares, store: WatchedStore, clock: Clock, root: Path, killed_after: int
) -> None:
    sweep(shares)
    # Just after the daily look, which is the worst moment.
    kill(shares, store, lambda dying: upload(dying, expires_in=60), killed_after)
    for _ in range(72):
        clock.forward(HOUR)
        sweep(shares)
    assert not any(key.startswith(("files/", "metadata/")) for key in contents(root))


def test_a_deletion_without_an_entry_is_finished_by_the_daily_look(
    shares: Shares, store: WatchedStore, root: Path
) -> None:
    file_id = upload(shares).file_id
    # Its entry, the record, its blob; the record is still to go.
    kill(shares, store, lambda dying: dying.delete(file_id), after=3)
    store.delete(f"expiries/2030-05-01T12/{file_id}")
    assert sweep(shares).removed == 1
    assert list(contents(root)) == [MERGE_KEY]


def test_a_record_whose_blob_is_missing_is_left_alone(
    shares: Shares, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready, damaged = upload(shares).file_id, upload(shares).file_id
    (root / record_key(damaged)).write_bytes(b"[]")
    for file_id in (ready, damaged):
        (root / blob_key(file_id)).unlink()
    assert sweep(shares) == Swept()
    assert {record_key(ready), record_key(damaged)} < set(contents(root))
    assert damaged in caplog.text


def test_only_staged_files_that_are_stale_are_removed(shares: Shares, clock: Clock, root: Path) -> None:
    running = shares.begin_upload()
    running.write(b"slow")
    [fresh] = (root / STAGING).iterdir()
    stale = root / STAGING / "stale"
    stale.write_bytes(b"left")
    set_age(fresh, clock.now - 2 * DAY)
    set_age(stale, clock.now - 2 * DAY - SECOND)
    assert sweep(shares) == Swept(leftovers=1)
    record = running.finish("slow.txt", "text/plain", Options())
    assert download(shares, record.file_id) == b"slow"


def set_age(path: Path, at: datetime) -> None:
    os.utime(path, (at.timestamp(), at.timestamp()))


# Once a day


def test_the_daily_look_is_taken_once_a_day(shares: Shares, store: WatchedStore, clock: Clock) -> None:
    sweep(shares)
    blob_alone(shares, store)
    clock.forward(DAY - SECOND)
    assert sweep(shares).orphans == 0
    clock.forward(SECOND)
    assert sweep(shares).orphans == 1


@pytest.mark.parametrize("last", [None, START - DAY], ids=["the first", "a later"])
def test_the_daily_look_is_taken_by_one_of_two_sweeps_at_once(
    shares: Shares, store: WatchedStore, clock: Clock, last: datetime | None
) -> None:
    if last is not None:
        sweep(shares_over(store.store, Clock(last)))
    blob_alone(shares, store)
    # Both have read when it was taken last before either says that it takes it now.
    both = threading.Barrier(2)
    stores = [WatchedStore(store.store) for _ in range(2)]
    for each in stores:
        each.before = once_after(0, lambda: both.wait(timeout=30))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda each: sweep(shares_over(each, clock)), stores))
    assert sorted(result.orphans for result in results) == [0, 1]


# Interrupted at every step


Disturbance = Callable[[WatchedStore, Clock, int], Callable[[int], None]]


def _dying(_store: WatchedStore, _clock: Clock, after: int) -> Callable[[int], None]:
    return dies_after(after)


def _meeting_another(store: WatchedStore, clock: Clock, after: int) -> Callable[[int], None]:
    return once_after(after, lambda: sweep(shares_over(store.store, clock)))


@pytest.fixture
def household(shares: Shares, store: WatchedStore, clock: Clock, root: Path) -> set[str]:
    """A directory with something for every step of a sweep; the IDs that must outlive it."""
    orphan = blob_alone(shares, store)
    sweep(shares)
    kept = upload(shares).file_id
    changed = upload(shares, expires_in=60).file_id
    shares.change(changed, Options(expires_in=100 * 86400), frozenset({"expires_in"}))
    upload(shares, expires_in=60)
    download(shares, upload(shares, max_downloads=1).file_id)
    half = upload(shares).file_id
    kill(shares, store, lambda dying: dying.delete(half), after=3)
    clock.forward(DAY)
    blob_alone(shares, store)
    lost = upload(shares).file_id
    kill(shares, store, lambda dying: dying.delete(lost), after=3)
    store.delete(f"expiries/2030-05-02T12/{lost}")
    put_entry(store, "junk")
    stale = root / STAGING / "stale"
    stale.write_bytes(b"left")
    set_age(stale, START - 2 * DAY)
    clock.forward(HOUR)
    assert any(orphan in key for key in store.list("expiries/"))
    return {kept, changed}


def days_later(root: Path, clock: Clock, disturb: Callable[[WatchedStore, Clock], None]) -> dict[str, bytes]:
    """What is there after a sweep that is disturbed, and ordinary ones on the three days from then."""
    moved = Clock(clock.now)
    store = WatchedStore(LocalStore(root))
    disturb(store, moved)
    with contextlib.suppress(Crash):
        sweep(shares_over(store, moved))
    for _ in range(4):
        sweep(shares_over(store.store, moved))
        moved.forward(25 * HOUR)
    return contents(root)


def copies(root: Path) -> Iterator[Path]:
    for number in itertools.count():
        yield Path(shutil.copytree(root, root.with_name(f"copy-{number}")))


@pytest.mark.parametrize("disturbance", [_dying, _meeting_another])
def test_a_sweep_disturbed_before_any_of_its_changes_ends_in_the_same_state(
    household: set[str], clock: Clock, root: Path, disturbance: Disturbance, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No power is lost here, and waiting for the disk would take most of the time.
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    made: list[tuple[str, str]] = []

    def only_watch(store: WatchedStore, _clock: Clock) -> None:
        store.changes = made

    directories = copies(root)
    expected = days_later(next(directories), clock, only_watch)
    assert {key.rpartition("/")[2].partition(".")[0] for key in expected} == {*household, "merge"}
    # What was there for each kind of step was found.
    assert {verb for verb, _ in made} == {"put", "delete", "discard", "abort"}
    assert len(made) > 15

    for number, directory in zip(range(len(made)), directories, strict=False):

        def disturb(store: WatchedStore, moved: Clock, number: int = number) -> None:
            store.before = disturbance(store, moved, number)

        assert days_later(directory, clock, disturb) == expected, f"after {made[:number]}"
