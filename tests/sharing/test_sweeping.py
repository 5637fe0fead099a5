"""The sweep: what it removes and when, what it leaves alone, and that no disturbance makes it do harm."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from shared.errors import StorageUnavailable, UnknownFile
from shared.listing import list_files
from shared.options import Options
from shared.sharing import Shares
from shared.storage.contract import Ambiguous
from shared.storage.directory.data_directory import STAGING
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import PROBES, blob_key, probe_key, record_key
from shared.storage.multipart import InvalidParts
from shared.storage.records import DELETED
from shared.sweeping import Sweep, Swept
from shared.uploads import Upload
from tests.clock import DAY, HOUR, START, Clock
from tests.interposed import Around, InterposedStore, Killed, before, dies_after, on_puts, once_after
from tests.sharing.shares import contents, download, shares_over, upload
from tests.staged import staged

SECOND = timedelta(seconds=1)


def sweep(shares: Shares) -> Swept:
    return Sweep(shares).run()


def kill(shares: Shares, store: InterposedStore, action: Callable[[Shares], object], after: int) -> None:
    """Let another process run the action, and die after this many changes."""
    dying = InterposedStore(store.store)
    dying.around = dies_after(after)
    with pytest.raises(Killed):
        action(shares_over(dying, Clock(shares.now())))


def blobs(store: InterposedStore) -> set[str]:
    return {key.rpartition("/")[2].removesuffix(".pickle") for key in store.list("files/")}


def blob_alone(shares: Shares, store: InterposedStore) -> str:
    """The remains of an upload that died before its record. Returns the ID."""
    before = blobs(store)
    # Its entry and its blob.
    kill(shares, store, upload, after=2)
    [file_id] = blobs(store) - before
    return file_id


def hourly(shares: Shares, clock: Clock, hours: int) -> Swept:
    """Sweep once an hour. Returns the total of all sweeps."""
    total = Swept()
    for _ in range(hours):
        clock.forward(HOUR)
        for name, number in dataclasses.asdict(sweep(shares)).items():
            setattr(total, name, getattr(total, name) + number)
    return total


def put_entry(store: InterposedStore, file_id: str, hour: str = "2030-05-01T11", data: bytes = b"") -> None:
    store.put(f"expiries/{hour}/{file_id}", data)


# Files that have ended


def test_an_expired_file_is_removed_once_its_hour_is_over(shares: Shares, clock: Clock, root: Path) -> None:
    upload(shares, expires_in=30 * 60)
    clock.now = START.replace(minute=59, second=59)
    assert sweep(shares).removed == 0
    clock.forward(SECOND)
    assert sweep(shares) == Swept(removed=1)
    assert not any(key.startswith("files/") for key in contents(root))


def test_nothing_is_left_of_a_file_that_has_expired_not_even_entries(shares: Shares, clock: Clock, root: Path) -> None:
    upload(shares, expires_in=30 * 60, max_downloads=3)
    assert hourly(shares, clock, 4) == Swept(removed=1)
    assert contents(root) == {}


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
    stored = shares.find(upload(shares, bytes(range(200)), expires_in=60).file_id)
    with contextlib.closing(shares.open(stored, 0, 200)) as payload:
        first = payload.read(50)
        clock.forward(2 * HOUR)
        assert sweep(shares).removed == 1
        assert first + payload.read(200) == bytes(range(200))


# Entries that are early, stale or foreign


def test_an_entry_of_an_earlier_expiry_is_filed_again(shares: Shares, clock: Clock, root: Path) -> None:
    file_id = upload(shares, expires_in=60).file_id
    shares.change(file_id, Options(expires_in=5 * 3600), frozenset({"expires_in"}))
    # As if the entry from the change had been lost.
    (root / f"expiries/2030-05-01T17/{file_id}").unlink()
    clock.forward(HOUR)
    assert sweep(shares) == Swept()
    assert [key for key in contents(root) if file_id in key and "expiries" in key] == [
        f"expiries/2030-05-01T17/{file_id}",
        # The entry of its upload.
        f"expiries/2030-05-03T12/{file_id}",
    ]
    clock.forward(5 * HOUR)
    assert sweep(shares).removed == 1


def test_an_entry_of_an_earlier_use_is_filed_again(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    file_id = upload(shares, max_downloads=1).file_id
    download(shares, file_id)
    store.delete(f"expiries/2030-05-02T12/{file_id}")
    put_entry(store, file_id)
    sweep(shares)
    clock.forward(DAY + HOUR)
    assert sweep(shares).removed == 1


@pytest.mark.parametrize("name", ["not-an-id", "merge", "a.b~", "inbox-", "inbox-no-id"])
def test_an_entry_of_no_file_is_dropped(shares: Shares, store: InterposedStore, root: Path, name: str) -> None:
    put_entry(store, name)
    assert sweep(shares) == Swept()
    assert contents(root) == {}


def test_an_entry_of_an_id_without_anything_is_dropped_in_the_end(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    put_entry(store, "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10")
    hourly(shares, clock, 2)
    assert contents(root) == {}


def test_what_an_older_release_filed_is_understood(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    orphan = blob_alone(shares, store)
    for key in list(store.list("expiries/")):
        store.delete(key)
    put_entry(store, orphan, data=b"orphan")
    store.put("expiries/merge", b'{"at": "2030-05-01T11:00:00+00:00"}')
    assert hourly(shares, clock, 2) == Swept(leftovers=1)
    # The time of the last full scan, which is no longer used.
    assert list(contents(root)) == ["expiries/merge"]


def test_a_file_that_an_older_release_began_to_delete_is_removed(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    file_id = upload(shares).file_id
    shares.records.update(file_id, lambda record: structs.replace(record, state=DELETED))
    put_entry(store, file_id)
    sweep(shares)
    assert contents(root) == {}


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
    # Each sweep looks at it again, and keeps its remains.
    assert sweep(shares) == Swept(failed=1)
    assert (root / blob_key(damaged)).exists()


def test_storage_that_fails_for_one_file_does_not_stop_the_others(
    shares: Shares, store: InterposedStore, clock: Clock
) -> None:
    for _ in range(3):
        upload(shares, expires_in=60)
    clock.forward(HOUR)
    store.around = on_puts({store.puts + 1: before(StorageUnavailable("a fault of one moment"))})
    assert sweep(shares) == Swept(removed=2, failed=1)
    assert sweep(shares) == Swept(removed=1)


@pytest.mark.parametrize("error", [InvalidParts("raw/x"), ZeroDivisionError(), Ambiguous("x")])
def test_no_error_of_one_file_stops_the_others(
    shares: Shares, store: InterposedStore, clock: Clock, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    ids = sorted(upload(shares, expires_in=60).file_id for _ in range(3))
    clock.forward(HOUR)
    spoilt = record_key(ids[0])
    read = store.store.read

    def fail(key: str) -> tuple[bytes, str]:
        if key == spoilt:
            raise error
        return read(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.store, "read", fail)
        assert sweep(shares) == Swept(removed=2, failed=1)
    assert type(error).__name__ in caplog.text
    assert sweep(shares) == Swept(removed=1)


def test_a_file_whose_bytes_cannot_be_removed_does_not_keep_the_others(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    stuck, *others = [upload(shares, expires_in=60).file_id for _ in range(3)]
    delete = store.store.delete

    def refuse(key: str) -> None:
        if key == blob_key(stuck):
            raise StorageUnavailable("it may not be removed")
        delete(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.store, "delete", refuse)
        swept = hourly(shares, clock, 4)
    assert swept.removed == 3
    assert swept.failed >= 2
    assert not any(other in key for other in others for key in contents(root))
    assert any(stuck in key for key in store.list("expiries/"))
    # Its record was removed, because a key that cannot be removed does not stop others. The rest is swept like an
    # abandoned upload.
    hourly(shares, clock, 2 * 24)
    assert contents(root) == {}


def test_what_a_sweep_had_not_reached_when_it_was_killed_is_reached_by_the_next(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    for _ in range(40):
        upload(shares, expires_in=60)
    clock.forward(HOUR)
    kill(shares, store, sweep, after=25)
    assert len(blobs(store)) >= 20
    sweep(shares)
    assert blobs(store) == set()
    hourly(shares, clock, 3)
    assert contents(root) == {}


def test_a_sweep_reads_the_time_when_it_uses_it(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    clock.now = START.replace(minute=40)
    upload(shares, expires_in=60)
    clock.now = START.replace(minute=59, second=59)
    # The hour has ended when the sweep reaches the entry.
    records = shares.expiries.due()
    clock.forward(SECOND)
    assert len(list(records)) == 1


# Remains of a crash


def test_a_blob_without_a_record_is_removed_two_days_after_its_upload_died(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    file_id = blob_alone(shares, store)
    clock.now = (START + 2 * DAY).replace(minute=59, second=59)
    assert sweep(shares) == Swept()
    assert (root / blob_key(file_id)).exists()
    clock.forward(SECOND)
    assert sweep(shares) == Swept(leftovers=1)
    assert blobs(store) == set()
    hourly(shares, clock, 1)
    assert contents(root) == {}


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_an_upload_that_was_killed_is_gone_within_three_days(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path, killed_after: int
) -> None:
    kill(shares, store, lambda dying: upload(dying, expires_in=60), killed_after)
    hourly(shares, clock, 72)
    assert contents(root) == {}


@pytest.mark.parametrize("silent_for", [timedelta(hours=47), timedelta(hours=49), timedelta(hours=52)])
@pytest.mark.parametrize("step", [2, 3], ids=["before its blob", "before its record"])
def test_an_upload_that_slept_for_days_fails_cleanly_or_keeps_what_it_acknowledges(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path, silent_for: timedelta, step: int
) -> None:
    def sleep() -> None:
        for _ in range(int(silent_for / HOUR)):
            clock.forward(HOUR)
            sweep(shares_over(store.store, clock))

    store.around = once_after(step - 1, sleep)
    acknowledged: set[str] = set()
    with contextlib.suppress(StorageUnavailable):
        acknowledged = {upload(shares).file_id}
    hourly(shares, clock, 72)
    assert {record.file_id for record in list_files(shares, "", 10).files} == blobs(store) == acknowledged
    assert [download(shares, file_id) for file_id in acknowledged] == [b"hello"] * len(acknowledged)
    assert silent_for < 2 * DAY or not acknowledged
    assert acknowledged or contents(root) == {}


def test_a_record_is_refused_where_the_sweep_was_faster(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    # The clock of the other process is three days ahead.
    ahead = Clock(clock.now + 3 * DAY)
    store.around = once_after(2, lambda: sweep(shares_over(store.store, ahead)))
    with pytest.raises(StorageUnavailable):
        upload(shares)
    assert blobs(store) == set()
    hourly(shares, clock, 100)
    assert contents(root) == {}


@pytest.mark.parametrize("pause", [timedelta(seconds=29), HOUR, timedelta(hours=46)])
def test_an_upload_may_last_as_long_as_it_likes(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path, pause: timedelta
) -> None:
    incoming = Upload(shares)
    until = clock.now + timedelta(hours=100)
    size = 0
    while clock.now < until and size < 900:
        incoming.write(b"x")
        size += 1
        clock.forward(pause)
        for path in staged(root):
            set_age(path, clock.now - pause)
        if pause >= HOUR or size % 100 == 0:
            assert sweep(shares_over(store.store, clock)) == Swept()
    assert download(shares, incoming.finish("slow.bin", "a/b", Options()).file_id) == b"x" * size
    # It has one entry, however long it lasted.
    assert len(list(store.list("expiries/"))) == 1


def test_a_deletion_that_was_killed_is_finished_by_the_sweep(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    file_id = upload(shares).file_id
    # Its entry and its record.
    kill(shares, store, lambda dying: dying.delete(file_id), after=2)
    assert blobs(store) == {file_id}
    hourly(shares, clock, 3)
    assert contents(root) == {}


def test_a_record_whose_blob_is_missing_is_left_alone(
    shares: Shares, clock: Clock, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready, damaged = upload(shares).file_id, upload(shares).file_id
    (root / record_key(damaged)).write_bytes(b"[]")
    for file_id in (ready, damaged):
        (root / blob_key(file_id)).unlink()
    clock.forward(2 * DAY + HOUR)
    assert sweep(shares) == Swept(failed=1)
    assert {record_key(ready), record_key(damaged)} < set(contents(root))
    assert damaged in caplog.text


@pytest.mark.parametrize("name", ["stale", "ab/stale"])
def test_only_staged_files_that_are_stale_are_removed(shares: Shares, clock: Clock, root: Path, name: str) -> None:
    running = Upload(shares)
    running.write(b"slow")
    [fresh] = staged(root)
    stale = root / STAGING / name
    stale.parent.mkdir(exist_ok=True)
    stale.write_bytes(b"left")
    set_age(fresh, clock.now - 2 * DAY)
    set_age(stale, clock.now - 2 * DAY - SECOND)
    set_age(stale.parent, clock.now - 3 * DAY)
    assert sweep(shares) == Swept(leftovers=1)
    record = running.finish("slow.txt", "text/plain", Options())
    assert download(shares, record.file_id) == b"slow"


def test_probes_are_removed_where_unfinished_writes_cannot_be_listed(
    shares: Shares,
    store: InterposedStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(_before: datetime) -> int:
        raise StorageUnavailable("ListMultipartUploads is not implemented", lasting=True)

    monkeypatch.setattr(store, "discard_unfinished", refuse)
    store.put(probe_key("one", clock.now - 2 * DAY), b"one")
    assert sweep(shares) == Swept(leftovers=1, failed=1)
    assert "ListMultipartUploads" in caplog.text
    assert list(store.list(PROBES)) == []


def set_age(path: Path, at: datetime) -> None:
    os.utime(path, (at.timestamp(), at.timestamp()))


# Records of deleted files


def test_a_deleted_record_stays_for_an_hour(shares: Shares, clock: Clock, root: Path) -> None:
    file_id = upload(shares, expires_in=10 * 365 * 86400, password="Sesame").file_id
    shares.delete(file_id)
    kept = shares.records.get(file_id).record
    assert (kept.state, kept.deleted_at) == (DELETED, START)
    # It does not reveal what the file was.
    assert (kept.original_name, kept.password_hash, kept.sha256) == ("", None, None)
    assert list_files(shares, "", 10).files == []
    clock.forward(HOUR - SECOND)
    sweep(shares)
    assert shares.records.get(file_id).record.state == DELETED
    hourly(shares, clock, 2)
    assert contents(root) == {}


def test_what_a_late_write_brought_back_goes_with_the_record(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    file_id = upload(shares).file_id
    shares.records.update(file_id, lambda record: structs.replace(record, cells=16))
    shares.delete(file_id)
    store.put(blob_key(file_id), b"late")
    store.put(f"counts/{file_id}/3.json", b"{}")
    hourly(shares, clock, 3)
    assert contents(root) == {}


@pytest.mark.parametrize("years", [1, 10, 100])
def test_entries_do_not_outlive_their_file_by_more_than_a_month(
    shares: Shares, store: InterposedStore, clock: Clock, years: int
) -> None:
    file_id = upload(shares, expires_in=years * 365 * 86400).file_id
    clock.forward(20 * DAY)
    shares.change(file_id, Options(expires_in=years * 100 * 86400), frozenset({"expires_in"}))
    month_ahead = f"expiries/{clock.now + 31 * DAY:%Y-%m-%dT%H}"
    assert all(key < month_ahead for key in store.list("expiries/"))
    hourly(shares, clock, 1)
    shares.delete(file_id)
    hourly(shares, clock, 3)
    assert list(store.list("expiries/")) == []


def test_a_file_with_a_far_expiry_is_looked_at_until_it_comes(shares: Shares, clock: Clock, root: Path) -> None:
    file_id = upload(shares, expires_in=400 * 86400).file_id
    for _ in range(399):
        clock.forward(DAY)
        assert sweep(shares) == Swept()
    assert download(shares, file_id) == b"hello"
    clock.forward(DAY + HOUR)
    assert sweep(shares) == Swept(removed=1)


@pytest.mark.parametrize("suspended_for", [timedelta(seconds=3), timedelta(minutes=11), 3 * HOUR])
def test_a_change_that_meets_a_sweep_loses_no_entry(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path, suspended_for: timedelta
) -> None:
    file_id = upload(shares).file_id
    hourly(shares, clock, 72)
    clock.now = clock.now.replace(minute=59, second=58)

    def meanwhile() -> None:
        clock.forward(suspended_for)
        sweep(shares_over(store.store, clock))

    # Between the entry and the record.
    store.around = once_after(len(store.changes) + 1, meanwhile)
    shares.change(file_id, Options(expires_in=1), frozenset({"expires_in"}))
    hourly(shares, clock, 4)
    assert contents(root) == {}


# Interrupted at every step


Disturbance = Callable[[InterposedStore, Clock, int], Around]


def _dying(_store: InterposedStore, _clock: Clock, after: int) -> Around:
    return dies_after(after)


def _meeting_another(store: InterposedStore, clock: Clock, after: int) -> Around:
    return once_after(after, lambda: sweep(shares_over(store.store, clock)))


@pytest.fixture
def household(shares: Shares, store: InterposedStore, clock: Clock, root: Path) -> set[str]:
    """A directory with work for every step of a sweep. Returns the IDs of files that must survive."""
    blob_alone(shares, store)
    kept = upload(shares).file_id
    changed = upload(shares, expires_in=60).file_id
    shares.change(changed, Options(expires_in=100 * 86400), frozenset({"expires_in"}))
    upload(shares, expires_in=60)
    download(shares, upload(shares, max_downloads=1).file_id)
    half = upload(shares).file_id
    kill(shares, store, lambda dying: dying.delete(half), after=2)
    shares.delete(upload(shares).file_id)
    clock.forward(2 * DAY)
    put_entry(store, "junk")
    stale = root / STAGING / "stale"
    stale.write_bytes(b"left")
    set_age(stale, START - 2 * DAY)
    clock.forward(HOUR)
    return {kept, changed}


def days_later(root: Path, clock: Clock, disturb: Callable[[InterposedStore, Clock], None]) -> dict[str, bytes]:
    """The contents after a disturbed sweep, and after undisturbed ones on the next three days."""
    moved = Clock(clock.now)
    store = InterposedStore(DirectoryStore(root))
    disturb(store, moved)
    with contextlib.suppress(Killed):
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
    # These tests do not simulate power cuts, and fsync would take most of the time.
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    changes: list[tuple[str, str]] = []

    def only_watch(store: InterposedStore, _clock: Clock) -> None:
        store.changes = changes

    directories = copies(root)
    expected = days_later(next(directories), clock, only_watch)
    assert {key.rpartition("/")[2].partition(".")[0] for key in expected} == household
    # The sweep found work of every kind.
    assert {verb for verb, _ in changes} == {"put", "delete", "discard", "abort parts"}
    assert len(changes) > 15

    for number, directory in zip(range(len(changes)), directories, strict=False):

        def disturb(store: InterposedStore, moved: Clock, number: int = number) -> None:
            store.around = disturbance(store, moved, number)

        assert days_later(directory, clock, disturb) == expected, f"after {changes[:number]}"
