"""Uploads without HTTP: the order of their steps, and what remains of uploads that fail or get no answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from shared.direct_uploads import DirectUploads
from shared.errors import (
    DigestMismatch,
    FileTooLarge,
    InvalidValue,
    OutcomeUnknown,
    StorageFull,
    StorageUnavailable,
)
from shared.listing import list_files
from shared.options import Lifetimes, Options
from shared.sharing import Shares
from shared.storage.contract import ABSENT, Ambiguous, NotSent
from shared.storage.keys import METADATA, blob_key, record_key
from shared.uploads import Upload
from tests.clock import DAY, START, Clock
from tests.interposed import Fault, InterposedStore, Killed, after, before, dies_after, on_puts, once_after
from tests.sharing.shares import MAX_FILE_SIZE, contents, download, shares_over, upload
from tests.sharing.test_sweeping import sweep

LOST = Ambiguous("metadata")


@pytest.fixture
def patient(store: InterposedStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Shares:
    """The use cases with pauses between retries that take no time."""
    shares = shares_over(store, clock)
    monkeypatch.setattr(shares.records, "_sleep", lambda _seconds: None)
    return shares


@pytest.mark.parametrize(("fault", "visible"), [(before, False), (after, True)], ids=["not in", "in"])
def test_the_blob_stays_where_the_record_may_be(
    patient: Shares, store: InterposedStore, fault: Callable[..., Fault], visible: bool
) -> None:
    # The put after its entry.
    store.around = on_puts({2: fault(LOST), 3: before(StorageFull())})
    with pytest.raises(OutcomeUnknown) as unknown:
        upload(patient, b"hello")
    file_id = unknown.value.file_id
    assert list(store.store.list("files/")) == [blob_key(file_id)]
    assert len(list(store.store.list(METADATA))) == visible
    if visible:
        assert download(patient, file_id) == b"hello"


def test_the_parts_of_a_direct_upload_stay_where_its_record_may_be(patient: Shares, store: InterposedStore) -> None:
    store.around = on_puts({2: after(LOST), 3: before(StorageFull())})
    with pytest.raises(OutcomeUnknown):
        DirectUploads(patient).start("big.bin", "application/octet-stream", Options())
    assert "abort parts" not in [verb for verb, _ in store.changes]


def test_a_file_that_is_complete_stays_where_its_record_may_say_so(patient: Shares, store: InterposedStore) -> None:
    uploads = DirectUploads(patient)
    started = uploads.start("big.bin", "application/octet-stream", Options())
    assert started.upload_id is not None
    part = uploads.begin_part(started.file_id, started.upload_id, 1)
    part.write(b"hello")
    stored = part.finish()
    # The put after its entry.
    store.around = on_puts({store.puts + 2: after(LOST), store.puts + 3: before(StorageFull())})
    with pytest.raises(OutcomeUnknown):
        uploads.complete(started.file_id, started.upload_id, [(stored.number, stored.etag)])
    assert download(patient, started.file_id) == b"hello"


def test_a_refusal_alone_leaves_nothing_behind(patient: Shares, store: InterposedStore) -> None:
    store.around = on_puts({2: before(StorageFull())})
    with pytest.raises(StorageFull):
        upload(patient)
    assert list(store.store.list("files/")) == list(store.store.list(METADATA)) == []


def test_one_refused_connection_does_not_fail_an_upload(patient: Shares, store: InterposedStore) -> None:
    """It sent nothing, so there is no need to send the whole body again."""
    store.around = on_puts({2: before(NotSent("metadata", "connection refused"))})
    assert download(patient, upload(patient, b"hello").file_id) == b"hello"


def test_the_signing_key_is_made_in_spite_of_a_refused_connection(patient: Shares, store: InterposedStore) -> None:
    store.around = on_puts({1: before(NotSent("secret", "connection refused"))})
    assert patient.signing.delete_token("x")
    assert store.store.read("secret")[0]
    with pytest.raises(Exception, match="secret"):
        store.store.put("secret", b"another", ABSENT)


def test_an_upload_makes_its_entry_then_the_blob_then_the_entry_of_its_expiry_then_the_record(
    shares: Shares, store: InterposedStore
) -> None:
    file_id = upload(shares, expires_in=3600).file_id
    assert store.changes == [
        ("put", f"expiries/2030-05-03T12/{file_id}"),
        ("commit", blob_key(file_id)),
        ("put", f"expiries/2030-05-01T13/{file_id}"),
        ("put", record_key(file_id)),
    ]


def test_a_file_without_expiry_has_no_other_entry(shares: Shares, store: InterposedStore) -> None:
    file_id = upload(shares, max_downloads=1).file_id
    assert store.changes == [
        ("put", f"expiries/2030-05-03T12/{file_id}"),
        ("commit", blob_key(file_id)),
        ("put", record_key(file_id)),
    ]


def test_an_upload_stores_what_it_was_told(shares: Shares) -> None:
    file_id = upload(shares, b"abc", expires_in=60, max_downloads=2).file_id
    record = shares.find(file_id).record
    assert (record.original_name, record.content_type, record.file_size) == ("file.bin", "application/octet-stream", 3)
    assert record.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert (record.created_at, record.expires_at) == (START, START + timedelta(seconds=60))
    assert (record.max_downloads, record.download_count, record.used_up_at) == (2, 0, None)


@pytest.mark.parametrize("killed_after", range(4))
def test_an_upload_that_is_killed_is_not_visible(shares: Shares, store: InterposedStore, killed_after: int) -> None:
    store.around = dies_after(killed_after)
    with pytest.raises(Killed):
        upload(shares, expires_in=3600)
    assert list(shares.records.ids()) == []
    assert list_files(shares, "", 10).files == []


def test_another_digest_than_announced_leaves_nothing(shares: Shares, root: Path) -> None:
    incoming = Upload(shares)
    incoming.write(b"hello")
    with pytest.raises(DigestMismatch):
        incoming.finish("a", "text/plain", Options(expires_in=60), hashlib.sha256(b"hullo").hexdigest())
    incoming.abort()
    assert contents(root) == {}


def test_a_digest_may_be_written_in_upper_case(shares: Shares) -> None:
    incoming = Upload(shares)
    incoming.write(b"hello")
    record = incoming.finish("a", "text/plain", Options(), hashlib.sha256(b"hello").hexdigest().upper())
    assert download(shares, record.file_id) == b"hello"


def test_options_that_are_not_possible_here_leave_nothing(store: InterposedStore, clock: Clock, root: Path) -> None:
    incoming = Upload(shares_over(store, clock, lifetimes=Lifetimes(longest=60)))
    incoming.write(b"hello")
    with pytest.raises(InvalidValue, match="expires_in"):
        incoming.finish("a", "text/plain", Options(expires_in=61))
    incoming.abort()
    assert contents(root) == {}


def test_a_file_may_be_as_large_as_the_limit_and_not_a_byte_larger(shares: Shares) -> None:
    incoming = Upload(shares)
    incoming.write(bytes(MAX_FILE_SIZE))
    with pytest.raises(FileTooLarge) as refusal:
        incoming.write(b"x")
    assert refusal.value.limit == MAX_FILE_SIZE
    incoming.abort()
    file_id = upload(shares, bytes(MAX_FILE_SIZE)).file_id
    assert download(shares, file_id) == bytes(MAX_FILE_SIZE)


def test_a_process_that_slept_after_its_blob_makes_no_record(
    shares: Shares, store: InterposedStore, clock: Clock
) -> None:
    store.around = once_after(1, lambda: clock.forward(2 * DAY))
    with pytest.raises(StorageUnavailable):
        upload(shares)
    assert [verb for verb, _ in store.changes] == ["put", "commit"]


def test_a_full_storage_keeps_no_blob_without_its_record(shares: Shares, store: InterposedStore, root: Path) -> None:
    # The put after its entry.
    store.around = on_puts({2: before(StorageFull())})
    incoming = Upload(shares)
    with pytest.raises(StorageFull):
        incoming.finish("file.bin", "application/octet-stream", Options())
    incoming.abort()
    assert contents(root) == {}


def test_a_record_whose_answer_was_lost_keeps_its_blob(shares: Shares, store: InterposedStore) -> None:
    # The put after its entry.
    store.around = on_puts({2: after(Ambiguous("metadata"))})
    file_id = upload(shares, b"kept").file_id
    assert download(shares, file_id) == b"kept"


def test_an_entry_met_before_its_record_was_made_is_not_lost(
    shares: Shares, store: InterposedStore, clock: Clock, root: Path
) -> None:
    sweep(shares)
    clock.now = START.replace(minute=59, second=58)

    def meanwhile() -> None:
        clock.forward(timedelta(seconds=3))
        sweep(shares_over(store.store, clock))

    store.around = once_after(len(store.changes) + 3, meanwhile)  # between the entries and the record
    upload(shares, expires_in=1)
    for _ in range(5):
        clock.forward(DAY)
        sweep(shares)
    assert contents(root) == {}
