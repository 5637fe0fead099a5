"""Places that a process reserves ahead for small files: they save writes, and keep nobody out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.errors import (
    InboxClosed,
    InboxFull,
    StorageUnavailable,
    TooLargeForInbox,
)
from shared.ids_ahead import SMALL
from shared.inbox_options import InboxOptions
from shared.inboxes import Inboxes
from shared.options import Options
from shared.places import Delivery
from shared.sharing import Shares
from shared.storage.keys import FILES, METADATA
from shared.uploads import Upload
from tests.clock import Clock
from tests.interposed import InterposedStore
from tests.sharing.shares import MAX_FILE_SIZE, shares_over
from tests.sharing.test_inboxes import HOUR, inbox_writes, left, send
from tests.sharing.test_sweeping import sweep


@pytest.fixture
def inboxes(shares: Shares) -> Inboxes:
    return Inboxes(shares)


def test_small_files_one_after_the_other_take_few_writes(
    shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock
) -> None:
    """The second one reserves eight places more."""
    inbox = inboxes.create(InboxOptions(max_files=100))
    before_all = len(store.calls)
    for number in range(1, 21):
        send(shares, inbox, b"hello", most=5)
        assert left(inboxes, inbox) == (100 - number, 10 * 2**30 - 5 * number)
    assert len(inbox_writes(store.calls[before_all:])) == 4
    clock.forward(HOUR)
    sweep(shares)
    assert left(inboxes, inbox)[0] == 80
    assert len(inboxes.files(inboxes.find(inbox.inbox_id))) == 20
    for _ in range(5):
        clock.forward(HOUR)
        sweep(shares)
    # Nothing is left of the places for which no file came.
    assert len([*store.list(METADATA)]) == len([*store.list(FILES)]) == 20


def test_places_ahead_keep_nobody_out(shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock) -> None:
    other = shares_over(store, clock)
    inbox = inboxes.create(InboxOptions(max_files=50))
    for _ in range(3):
        send(shares, inbox, b"hello", most=5)
    assert len(inboxes.find(inbox.inbox_id).ahead) == 8
    for _ in range(47):
        send(other, inbox, b"hello", most=5)
    for each in (other, shares):
        with pytest.raises(InboxFull):
            send(each, inbox, b"hello", most=5)
    assert left(inboxes, inbox)[0] == 0
    assert len(inboxes.files(inboxes.find(inbox.inbox_id))) == 50


def test_places_ahead_keep_no_bytes(store: InterposedStore, clock: Clock) -> None:
    shares = Shares(store, max_file_size=100 * SMALL, clock=clock)
    inboxes = Inboxes(shares)
    inbox = inboxes.create(InboxOptions(max_bytes=40 * SMALL))
    for _ in range(3):
        send(shares, inbox, b"hello", most=5)
    assert len(inboxes.find(inbox.inbox_id).ahead) == 8
    rest = 40 * SMALL - 15
    with pytest.raises(InboxFull):
        Upload(shares, Delivery(inbox.inbox_id, None, rest + 1, rest + 1))
    # The next small file takes none of the places that were ended for the one that did not fit.
    send(shares, inbox, b"hello", most=5)
    rest -= 5
    Upload(shares, Delivery(inbox.inbox_id, None, rest, rest)).abort()
    for _ in range(2):
        send(shares, inbox, b"hello", most=5)
    assert inboxes.find(inbox.inbox_id).ahead
    # Of unknown length, so it reserves all that is left.
    Upload(shares, Delivery(inbox.inbox_id))
    assert left(inboxes, inbox)[1] == 0


def test_an_upload_keeps_its_place_ahead_when_the_inbox_is_full(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions(max_files=50))
    for _ in range(3):
        send(shares, inbox, b"hello", most=5)
    slow = Upload(shares, Delivery(inbox.inbox_id, None, 5, 5))
    assert slow.file_id in inboxes.find(inbox.inbox_id).ahead
    Upload(shares, Delivery(inbox.inbox_id)).abort()
    for _ in range(46):
        send(shares, inbox, b"hello", most=5)
    with pytest.raises(InboxFull):
        send(shares, inbox, b"hello", most=5)
    slow.write(b"hello")
    assert slow.finish("slow.bin", "application/octet-stream", Options()).file_size == 5
    assert left(inboxes, inbox)[0] == 0
    assert len(inboxes.files(inboxes.find(inbox.inbox_id))) == 50


def test_a_place_ahead_that_somebody_else_needed_takes_no_file(
    shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock
) -> None:
    inbox = inboxes.create(InboxOptions(max_files=50))
    for _ in range(3):
        send(shares, inbox, b"hello", most=5)
    delayed = Upload(shares, Delivery(inbox.inbox_id, None, 5, 5))
    delayed.write(b"hello")
    other = shares_over(store, clock)
    for _ in range(47):
        send(other, inbox, b"hello", most=5)
    with pytest.raises(StorageUnavailable):
        delayed.finish("late.bin", "application/octet-stream", Options())
    delayed.abort()
    assert left(inboxes, inbox)[0] == 0
    assert len(inboxes.files(inboxes.find(inbox.inbox_id))) == 50
    assert len([*store.list(FILES)]) == 50


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"max_files": 3}, InboxFull),
        ({"max_bytes": 15}, InboxFull),
        ({"max_file_size": 4}, TooLargeForInbox),
        (None, InboxClosed),
    ],
)
def test_an_inbox_that_was_closed_or_made_smaller_gives_no_place_ahead(
    shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock, change: dict[str, Any] | None, error: Any
) -> None:
    inbox = inboxes.create(InboxOptions())
    for _ in range(3):
        send(shares, inbox, b"hello", most=5)
    others = Inboxes(shares_over(store, clock))
    if change is None:
        others.close(inbox.inbox_id)
    else:
        others.change(inbox.inbox_id, InboxOptions(**change), frozenset(change))
    with pytest.raises(error):
        send(shares, inbox, b"hello", least=5, most=5)
    if change == {"max_file_size": 4}:
        with pytest.raises(TooLargeForInbox):
            send(shares, inbox, b"hello", most=5)


@pytest.mark.parametrize("sizes", [{}, {"most": SMALL + 1}])
def test_only_small_files_take_places_ahead(shares: Shares, inboxes: Inboxes, sizes: dict[str, int]) -> None:
    inbox = inboxes.create(InboxOptions(max_bytes=1000 * MAX_FILE_SIZE))
    for _ in range(3):
        send(shares, inbox, b"hello", most=5)
    held = inboxes.find(inbox.inbox_id).ahead
    assert send(shares, inbox, b"hello", **sizes).file_id not in held


def test_files_are_listed_as_they_arrived_whenever_their_places_were_reserved(
    shares: Shares, inboxes: Inboxes, clock: Clock
) -> None:
    inbox = inboxes.create(InboxOptions())
    arrived = []
    for sizes in ({"most": 5}, {"most": 5}, {}, {"most": 5}):
        arrived.append(send(shares, inbox, b"hello", **sizes).file_id)
        clock.forward(timedelta(seconds=1))
    assert arrived[-1] in inboxes.find(inbox.inbox_id).ahead
    assert [record.file_id for record in inboxes.files(inboxes.find(inbox.inbox_id))] == arrived


def test_a_failed_upload_frees_its_place_ahead(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions())
    for _ in range(2):
        send(shares, inbox, b"hello", most=5)
    failed = Upload(shares, Delivery(inbox.inbox_id, None, 5, 5))
    assert failed.file_id in inboxes.find(inbox.inbox_id).ahead
    failed.abort()
    assert failed.file_id not in inboxes.find(inbox.inbox_id).places
    assert left(inboxes, inbox)[0] == 98


def test_a_deleted_file_counts_although_its_place_was_ahead(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions())
    records = [send(shares, inbox, b"hello", most=5) for _ in range(3)]
    assert records[-1].file_id in inboxes.find(inbox.inbox_id).ahead
    shares.delete(records[-1].file_id)
    assert left(inboxes, inbox)[0] == 97
