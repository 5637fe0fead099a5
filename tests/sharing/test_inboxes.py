"""Inboxes without HTTP: their limits hold, and reservations of uploads that never end are released."""

from __future__ import annotations

import collections
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from shared.direct_uploads import DirectUploads
from shared.errors import (
    FileTooLarge,
    InboxClosed,
    InboxFull,
    InvalidValue,
    StorageUnavailable,
    TooLargeForInbox,
    UnknownFile,
)
from shared.inbox_options import InboxOptions
from shared.inboxes import Inbox, Inboxes
from shared.options import Lifetimes, Options
from shared.places import SOON, Delivery
from shared.sharing import Record, Shares
from shared.storage.contract import ObjectStore
from shared.storage.keys import INBOXES
from shared.storage.multipart import MIN_PART_SIZE
from shared.uploads import Upload
from tests.clock import DAY, Clock
from tests.interposed import Call, InterposedStore, before, undisturbed
from tests.sharing.shares import MAX_FILE_SIZE, shares_over
from tests.sharing.test_sweeping import sweep
from tests.wire.server import until

HOUR = timedelta(hours=1)


class SizedLinks:
    """Links that contain the size that they allow."""

    def download(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        raise NotImplementedError

    def upload_part(self, key: str, expires_in: int, *, upload_id: str, number: int, size: int | None = None) -> str:
        return str(size)


@pytest.fixture
def inboxes(shares: Shares) -> Inboxes:
    return Inboxes(shares)


def send(shares: Shares, inbox: Inbox, data: bytes = b"hello", **sizes: int) -> Record:
    incoming = Upload(shares, Delivery(inbox.inbox_id, "Ada", **sizes))
    try:
        incoming.write(data)
        return incoming.finish("file.bin", "application/octet-stream", Options())
    except BaseException:
        incoming.abort()
        raise


def inbox_writes(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if call.verb == "put if" and call.key.startswith(INBOXES)]


def left(inboxes: Inboxes, inbox: Inbox) -> tuple[int, int]:
    return inboxes.left(inboxes.find(inbox.inbox_id))


def test_a_file_takes_the_place_of_its_size_and_a_failed_one_none(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions(max_files=3, max_bytes=100))
    record = send(shares, inbox, b"12345")
    assert (record.inbox_id, record.sender, record.is_private) == (inbox.inbox_id, "Ada", True)
    assert left(inboxes, inbox) == (2, 95)
    incoming = Upload(shares, Delivery(inbox.inbox_id, least=50, most=50))
    assert left(inboxes, inbox) == (1, 45)
    incoming.abort()
    assert left(inboxes, inbox) == (2, 95)
    assert [record.file_id for record in inboxes.files(inboxes.find(inbox.inbox_id))] == [record.file_id]


def test_an_unknown_length_reserves_the_most_that_a_file_may_have(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions(max_bytes=100, max_file_size=70))
    first, second = (Upload(shares, Delivery(inbox.inbox_id)) for _ in range(2))
    assert left(inboxes, inbox) == (98, 0)
    with pytest.raises(InboxFull):
        Upload(shares, Delivery(inbox.inbox_id))
    first.write(b"x" * 70)
    with pytest.raises(TooLargeForInbox) as too_large:
        first.write(b"x")
    assert too_large.value.limit == 70
    second.write(b"x" * 30)
    with pytest.raises(InboxFull):
        second.write(b"x")


def test_a_size_that_cannot_fit_is_refused_before_the_first_byte(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions(max_bytes=100, max_file_size=70))
    with pytest.raises(TooLargeForInbox):
        Upload(shares, Delivery(inbox.inbox_id, None, 71, 71))
    send(shares, inbox, b"x" * 60)
    with pytest.raises(InboxFull) as full:
        Upload(shares, Delivery(inbox.inbox_id, None, 41, 41))
    assert full.value.limit == 40
    # The length of a form is only slightly more than that of its file.
    assert send(shares, inbox, b"x" * 40, least=0, most=45).file_size == 40
    # There is always room for an empty file.
    assert send(shares, inbox, b"", least=0, most=0).file_size == 0


def test_a_reservation_that_a_crash_left_is_free_again_within_an_hour(
    shares: Shares, inboxes: Inboxes, clock: Clock
) -> None:
    inbox = inboxes.create(InboxOptions(max_files=1, max_bytes=100))
    crashed = Upload(shares, Delivery(inbox.inbox_id))
    crashed.write(b"never finished")
    with pytest.raises(InboxFull):
        send(shares, inbox)
    clock.forward(HOUR)
    assert left(inboxes, inbox) == (1, 100)
    send(shares, inbox)
    # The upload was only suspended. Its place now belongs to another file.
    with pytest.raises(StorageUnavailable):
        crashed.finish("late.bin", "application/octet-stream", Options())
    assert left(inboxes, inbox) == (0, 0)
    clock.forward(5 * HOUR)
    sweep(shares)
    assert len(inboxes.files(inboxes.find(inbox.inbox_id))) == 1


def test_a_file_that_arrived_just_before_a_crash_keeps_its_place(
    shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock
) -> None:
    inbox = inboxes.create(InboxOptions(max_files=1))
    refuse = before(StorageUnavailable("down"))
    incoming = Upload(shares, Delivery(inbox.inbox_id))
    incoming.write(b"hello")
    store.around = lambda call, proceed: refuse(proceed) if call.key.startswith(INBOXES) else proceed()
    incoming.finish("file.bin", "application/octet-stream", Options())
    store.around = undisturbed
    clock.forward(HOUR)
    with pytest.raises(InboxFull):
        send(shares, inbox)


def test_a_file_of_the_size_that_was_reserved_takes_one_write(
    shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock
) -> None:
    """Its reservation already counts as the file will. The next write to the inbox makes it permanent."""
    inbox = inboxes.create(InboxOptions())
    before_all = len(store.calls)
    records = []
    for _ in range(3):
        records.append(send(shares, inbox, b"hello", least=5, most=5))
        clock.forward(SOON)
    assert len(inbox_writes(store.calls[before_all:])) == 3
    places = inboxes.find(inbox.inbox_id).places
    assert [places[record.file_id].until is None for record in records] == [True, True, False]


@pytest.mark.parametrize("end", ["stays", "is deleted", "expires and is swept", "is deleted elsewhere"])
def test_a_file_keeps_its_place_though_nothing_was_written_after_it(
    shares: Shares, store: InterposedStore, clock: Clock, end: str
) -> None:
    inbox = Inboxes(shares).create(InboxOptions(max_files=1, file_expires_in=1800))
    record = send(shares, inbox, b"hello", least=5, most=5)
    # Another process, which knows nothing of what this one wants to write.
    other = shares_over(store, clock)
    if end == "is deleted":
        shares.delete(record.file_id)
    elif end == "is deleted elsewhere":
        other.delete(record.file_id)
    clock.forward(2 * HOUR)
    if end == "expires and is swept":
        sweep(other)
        assert Inboxes(other).files(inbox) == []
    assert left(Inboxes(other), inbox)[0] == 0
    for each in (other, shares):
        with pytest.raises(InboxFull):
            send(each, inbox)


def test_what_another_process_did_to_an_inbox_counts_at_once(
    shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock
) -> None:
    other = shares_over(store, clock)
    inbox = inboxes.create(InboxOptions(max_files=2))
    send(shares, inbox, b"hello", least=5, most=5)
    send(other, inbox)
    with pytest.raises(InboxFull):
        send(shares, inbox)
    Inboxes(other).change(inbox.inbox_id, InboxOptions(max_files=3), frozenset({"max_files"}))
    send(shares, inbox)
    Inboxes(other).close(inbox.inbox_id)
    with pytest.raises(InboxClosed):
        send(shares, inbox)


def test_many_senders_at_once_each_get_what_they_would_alone(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions(max_files=5, max_bytes=100, max_file_size=10))
    start = threading.Barrier(24)

    def attempt(number: int) -> type[BaseException] | None:
        size = 11 if number % 4 == 0 else 5
        start.wait()
        try:
            send(shares, inbox, b"x" * size, least=size, most=size)
        except (InboxFull, TooLargeForInbox) as error:
            return type(error)
        return None

    with ThreadPoolExecutor(24) as pool:
        outcomes = collections.Counter(pool.map(attempt, range(24)))
    assert outcomes == {None: 5, InboxFull: 13, TooLargeForInbox: 6}
    assert left(inboxes, inbox)[0] == 0


def test_a_failed_write_keeps_no_later_upload_out(shares: Shares, inboxes: Inboxes, store: InterposedStore) -> None:
    inbox = inboxes.create(InboxOptions(max_files=1))
    refuse = before(StorageUnavailable("down"))
    store.around = lambda call, proceed: refuse(proceed) if call.key.startswith(INBOXES) else proceed()
    with pytest.raises(StorageUnavailable):
        send(shares, inbox)
    store.around = undisturbed
    send(shares, inbox)


def test_changes_that_meet_are_written_together_and_refused_one_by_one(
    shares: Shares, inboxes: Inboxes, store: InterposedStore
) -> None:
    inbox = inboxes.create(InboxOptions(max_files=3))
    entered, go = threading.Event(), threading.Event()
    writes = 0

    def hold(call: Call, proceed: Callable[[], Any]) -> Any:
        nonlocal writes
        if call.verb == "put if" and call.key.startswith(INBOXES):
            writes += 1
            entered.set()
            assert go.wait(60)
        return proceed()

    def reserve() -> bool:
        try:
            inboxes.places.reserve(str(uuid.uuid4()), Delivery(inbox.inbox_id, None, 1, 1))
        except InboxFull:
            return False
        return True

    store.around = hold
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(reserve)
        assert entered.wait(60)
        others = [pool.submit(reserve) for _ in range(5)]
        # Nothing else shows that a thread waits for another.
        until(lambda: len(shares.inboxes._queues[inbox.inbox_id].waiting) == 5)
        go.set()
        assert first.result()
        assert sorted(other.result() for other in others) == [False, False, False, True, True]
    assert writes == 2
    assert left(inboxes, inbox)[0] == 0


def test_a_long_upload_keeps_its_place_while_bytes_arrive(shares: Shares, inboxes: Inboxes, clock: Clock) -> None:
    inbox = inboxes.create(InboxOptions(max_files=1))
    incoming = Upload(shares, Delivery(inbox.inbox_id))
    for _ in range(20):
        incoming.write(b"x")
        clock.forward(HOUR / 4)
        with pytest.raises(InboxFull):
            send(shares, inbox)
    assert incoming.finish("file.bin", "application/octet-stream", Options()).file_size == 20


def test_a_closed_inbox_takes_nothing_and_keeps_what_came(shares: Shares, inboxes: Inboxes, clock: Clock) -> None:
    inbox = inboxes.create(InboxOptions(expires_in=3600))
    record = send(shares, inbox)
    inboxes.close(inbox.inbox_id)
    inboxes.close(inbox.inbox_id)
    with pytest.raises(InboxClosed):
        send(shares, inbox)
    with pytest.raises(InboxClosed):
        inboxes.change(inbox.inbox_id, InboxOptions(expires_in=7200), frozenset({"expires_in"}))
    clock.forward(DAY)
    sweep(shares)
    assert [file.file_id for file in inboxes.files(inboxes.find(inbox.inbox_id))] == [record.file_id]


def test_an_expired_inbox_can_be_opened_again_until_it_is_removed(
    shares: Shares, inboxes: Inboxes, clock: Clock
) -> None:
    inbox = inboxes.create(InboxOptions(expires_in=3600))
    clock.forward(HOUR)
    with pytest.raises(InboxClosed):
        send(shares, inbox)
    inboxes.change(inbox.inbox_id, InboxOptions(expires_in=3600), frozenset({"expires_in"}))
    send(shares, inbox)


def test_the_sweep_removes_an_inbox_once_it_has_ended_and_its_files_are_gone(
    shares: Shares, inboxes: Inboxes, store: ObjectStore, clock: Clock
) -> None:
    inbox = inboxes.create(InboxOptions(expires_in=3600, file_expires_in=2 * 24 * 3600))
    record = send(shares, inbox)
    assert record.expires_at == record.created_at + 2 * DAY
    for _ in range(24):
        clock.forward(HOUR)
        sweep(shares)
    assert inboxes.find(inbox.inbox_id).closed_at is None
    for _ in range(4 * 24):
        clock.forward(HOUR)
        sweep(shares)
    with pytest.raises(UnknownFile):
        inboxes.find(inbox.inbox_id)
    assert [*store.list("inboxes/"), *store.list("expiries/"), *store.list("metadata/")] == []


def test_lifetimes_and_limits_are_checked(store: InterposedStore, clock: Clock) -> None:
    inboxes = Inboxes(shares_over(store, clock, lifetimes=Lifetimes(longest=100)))
    for options in (
        InboxOptions(max_files=0),
        InboxOptions(max_files=1001),
        InboxOptions(max_bytes=0),
        InboxOptions(file_expires_in=101),
        InboxOptions(title="x" * 201),
        InboxOptions(note="x" * 2001),
    ):
        with pytest.raises(InvalidValue):
            inboxes.create(options)
    inbox = inboxes.create(InboxOptions(title=" Photos\x00\u202e ", note="one\r\ntwo\x07", max_file_size=10**9))
    assert (inbox.title, inbox.note) == ("Photos", "one\ntwo")
    assert inboxes.places.largest(inbox) == MAX_FILE_SIZE
    assert list(store.list("inboxes/")) == [f"inboxes/{inbox.inbox_id[:2]}/{inbox.inbox_id}.json"]


def test_parts_never_exceed_the_reservation(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions(max_bytes=100, max_file_size=70))
    uploads = DirectUploads(shares)
    for announced in (None, 60):
        record = uploads.start(
            "a.bin", "text/plain", Options(), announced, Delivery(inbox.inbox_id, None, 0, announced)
        )
        assert record.upload_id is not None
        limit = announced or 70
        with pytest.raises(FileTooLarge):
            uploads.begin_part(record.file_id, record.upload_id, 1, limit + 1)
        part = uploads.begin_part(record.file_id, record.upload_id, 1)
        part.write(b"x" * limit)
        with pytest.raises(FileTooLarge):
            part.write(b"x")
        part.abort()
        uploads.abort(record.file_id, record.upload_id)
        assert left(inboxes, inbox) == (100, 100)


@pytest.mark.parametrize("announced", [None, 2 * MIN_PART_SIZE, 2 * MIN_PART_SIZE + 1, 0])
def test_links_for_all_parts_together_allow_the_reservation(
    store: InterposedStore, clock: Clock, announced: int | None
) -> None:
    """On S3, parts pass nobody who could count their bytes, so each link allows a fixed number."""
    store.links = SizedLinks()
    shares = Shares(store, max_file_size=10**9, clock=clock)
    inbox = Inboxes(shares).create(InboxOptions(max_bytes=2 * MIN_PART_SIZE + 3))
    uploads = DirectUploads(shares)
    delivery = Delivery(inbox.inbox_id, None, announced or 0, announced)
    record = uploads.start("a.bin", "text/plain", Options(), announced, delivery)
    file_id, upload_id, limit = record.file_id, str(record.upload_id), record.reserved_size
    assert limit == (2 * MIN_PART_SIZE + 3 if announced is None else announced)
    assert uploads.part_size(record) == MIN_PART_SIZE
    rooms = []
    for number in (1, 2, 3):
        size = max(0, min(MIN_PART_SIZE, limit - (number - 1) * MIN_PART_SIZE))
        if size == 0 and number > 1:
            with pytest.raises(FileTooLarge):
                uploads.part_url(file_id, upload_id, number)
            continue
        with pytest.raises(FileTooLarge):
            uploads.part_url(file_id, upload_id, number, size + 1)
        if announced is None:
            # Otherwise, the last link could not fit, since nobody knows where the file ends.
            with pytest.raises(InvalidValue):
                uploads.part_url(file_id, upload_id, number)
            assert uploads.part_url(file_id, upload_id, number, 1) == "1"
        rooms.append(int(str(uploads.part_url(file_id, upload_id, number, size if announced is None else None))))
    assert sum(rooms) == limit
    with pytest.raises(FileTooLarge):
        uploads.part_url(file_id, upload_id, 10_000, 1)


def test_links_for_parts_outside_inboxes_allow_any_size(store: InterposedStore, clock: Clock) -> None:
    store.links = SizedLinks()
    uploads = DirectUploads(shares_over(store, clock))
    record = uploads.start("a.bin", "text/plain", Options(), 100)
    assert uploads.part_size(record) is None
    assert uploads.part_url(record.file_id, str(record.upload_id), 2) == "None"


def test_a_direct_upload_settles_at_its_size(shares: Shares, inboxes: Inboxes) -> None:
    inbox = inboxes.create(InboxOptions(max_bytes=100))
    uploads = DirectUploads(shares)
    record = uploads.start("a.bin", "text/plain", Options(), None, Delivery(inbox.inbox_id))
    assert record.upload_id is not None
    part = uploads.begin_part(record.file_id, record.upload_id, 1)
    part.write(b"hello")
    etag = part.finish().etag
    uploads.complete(record.file_id, record.upload_id, [(1, etag)])
    assert left(inboxes, inbox) == (99, 95)


def test_a_closed_inbox_takes_no_more_parts(
    shares: Shares, inboxes: Inboxes, store: InterposedStore, clock: Clock
) -> None:
    """Every part asks, so also if another process closed it a moment ago."""
    inbox = inboxes.create(InboxOptions())
    uploads = DirectUploads(shares)
    record = uploads.start("a.bin", "text/plain", Options(), None, Delivery(inbox.inbox_id))
    assert record.upload_id is not None
    uploads.begin_part(record.file_id, record.upload_id, 1).abort()
    Inboxes(shares_over(store, clock)).close(inbox.inbox_id)
    for attempt in (
        lambda: uploads.begin_part(record.file_id, str(record.upload_id), 1),
        lambda: uploads.part_url(record.file_id, str(record.upload_id), 1),
        lambda: uploads.complete(record.file_id, str(record.upload_id), [(1, "x")]),
    ):
        with pytest.raises(InboxClosed):
            attempt()


@pytest.mark.parametrize("swept", [True, False])
def test_a_direct_upload_that_was_given_up_ends_within_an_hour(
    shares: Shares, inboxes: Inboxes, clock: Clock, swept: bool
) -> None:
    inbox = inboxes.create(InboxOptions(max_files=1))
    uploads = DirectUploads(shares)
    record = uploads.start("a.bin", "text/plain", Options(), None, Delivery(inbox.inbox_id))
    assert record.upload_id is not None
    clock.forward(2 * HOUR)
    if swept:
        sweep(shares)
    else:
        send(shares, inbox)
    with pytest.raises(UnknownFile):
        uploads.begin_part(record.file_id, record.upload_id, 1)
    with pytest.raises(UnknownFile):
        uploads.complete(record.file_id, record.upload_id, [(1, "x")])


def test_a_direct_upload_in_use_is_not_swept(shares: Shares, inboxes: Inboxes, clock: Clock) -> None:
    inbox = inboxes.create(InboxOptions(max_files=1))
    uploads = DirectUploads(shares)
    record = uploads.start("a.bin", "text/plain", Options(), None, Delivery(inbox.inbox_id))
    assert record.upload_id is not None
    for number in range(1, 20):
        clock.forward(HOUR / 2)
        sweep(shares)
        uploads.begin_part(record.file_id, record.upload_id, number).abort()
