"""Uploads into an inbox that end at any step: sweeps alone remove what they left, without another upload."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.inbox_options import InboxOptions
from shared.inboxes import Inbox, Inboxes
from shared.options import Options
from shared.places import Delivery
from shared.sharing import Record, Shares
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import FILES, blob_key, inbox_key, record_key
from shared.uploads import Upload
from tests.clock import Clock
from tests.interposed import InterposedStore, Killed, before, dies_after, on_puts, once_after
from tests.sharing.shares import contents, shares_over
from tests.sharing.test_sweeping import sweep

HOUR = timedelta(hours=1)


@pytest.fixture
def inbox(shares: Shares) -> Inbox:
    return Inboxes(shares).create(InboxOptions(max_files=2))


def send(shares: Shares, inbox: Inbox) -> Record:
    incoming = Upload(shares, Delivery(inbox.inbox_id, None, 5, 5))
    try:
        incoming.write(b"hello")
        return incoming.finish("file.bin", "application/octet-stream", Options())
    except StorageUnavailable:
        incoming.abort()
        raise


def hourly(shares: Shares, clock: Clock) -> None:
    for _ in range(6):
        clock.forward(HOUR)
        sweep(shares)


def kept(shares: Shares, inbox: Inbox, root: Path) -> set[str]:
    """The keys of everything but the inbox and its one entry. All its places must be settled."""
    places = Inboxes(shares).find(inbox.inbox_id).places
    assert all(place.until is None for place in places.values())
    keys = set(contents(root)) - {inbox_key(inbox.inbox_id)}
    entries = {key for key in keys if key.startswith("expiries/")}
    assert [key.partition("inbox-")[2] for key in entries] == [inbox.inbox_id]
    return keys - entries


def test_uploads_into_an_inbox_within_an_hour_share_its_entry(
    shares: Shares, store: InterposedStore, inbox: Inbox, clock: Clock
) -> None:
    send(shares, inbox)
    for later, entries in ((timedelta(), []), (HOUR, [("put", f"expiries/2030-05-01T14/inbox-{inbox.inbox_id}")])):
        clock.forward(later)
        done = len(store.changes)
        incoming = Upload(shares, Delivery(inbox.inbox_id, None, 1, 1))
        assert store.changes[done:] == [*entries, ("put", inbox_key(inbox.inbox_id))]
        incoming.abort()


@pytest.mark.parametrize("after", range(5))
def test_sweeps_remove_what_a_crash_left_of_an_upload(
    shares: Shares, store: InterposedStore, inbox: Inbox, clock: Clock, root: Path, after: int
) -> None:
    dying = InterposedStore(store.store)
    dying.around = dies_after(after)
    try:
        send(shares_over(dying, Clock(clock.now)), inbox)
    except Killed:
        assert after < 4
    hourly(shares, clock)
    [*records] = store.list("metadata/")
    # The entry of the inbox, the inbox, the blob, and only then the record.
    assert len(records) == (after == 4)
    assert len(kept(shares, inbox, root)) == 2 * len(records)
    assert len(Inboxes(shares).find(inbox.inbox_id).places) == len(records)


@pytest.mark.parametrize("suspended_for", [timedelta(minutes=50), HOUR, 3 * HOUR, 6 * HOUR])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_an_upload_that_was_suspended_meanwhile_is_whole_or_gone(
    store: InterposedStore,
    inbox: Inbox,
    clock: Clock,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    suspended_for: timedelta,
    done: int,
) -> None:
    # The file system tells another time than the clock, by which all staged files are old.
    monkeypatch.setattr(DirectoryStore, "discard_unfinished", lambda *_: 0)
    shares, other = shares_over(store, clock), shares_over(store.store, clock)

    def meanwhile() -> None:
        for _ in range(6):
            clock.forward(suspended_for / 6)
            sweep(other)

    # Before the inbox, the blob or the record is written.
    store.around = once_after(len(store.changes) + done, meanwhile)
    try:
        file_id = send(shares, inbox).file_id
    except StorageUnavailable:
        file_id = None
    hourly(other, clock)
    left = kept(other, inbox, root)
    assert left == (set() if file_id is None else {blob_key(file_id), record_key(file_id)})
    assert (file_id is None) == (suspended_for > timedelta(minutes=50) and done > 1)


def test_a_blob_whose_upload_failed_is_removed_though_its_place_is_free_at_once(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    inbox = Inboxes(shares).create(InboxOptions(file_expires_in=60))
    incoming = Upload(shares, Delivery(inbox.inbox_id, None, 5, 5))
    incoming.write(b"hello")
    # The entry of its expiry.
    store.around = on_puts({store.puts + 1: before(StorageUnavailable("down"))})
    with pytest.raises(StorageUnavailable):
        incoming.finish("file.bin", "application/octet-stream", Options())
    incoming.abort()
    assert Inboxes(shares).find(inbox.inbox_id).places == {}
    assert list(store.list(FILES)) == [blob_key(incoming.file_id)]
    hourly(shares, clock)
    assert kept(shares, inbox, root) == set()
