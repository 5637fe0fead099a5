"""An upload whose record got no answer, and then a refusal: nothing is removed that may have become visible."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.direct_uploads import DirectUploads
from shared.errors import OutcomeUnknown, StorageFull
from shared.options import Options
from shared.sharing import Shares
from shared.storage.contract import ABSENT, Ambiguous, NotSent
from shared.storage.keys import METADATA, blob_key
from tests.clock import Clock
from tests.interposed import Fault, InterposedStore, after, before, on_puts
from tests.sharing.shares import download, shares_over, upload

LOST = Ambiguous("metadata")


@pytest.fixture
def patient(store: InterposedStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Shares:
    """Waits between its tries, but takes no time for it."""
    shares = shares_over(store, clock)
    monkeypatch.setattr(shares.records, "_sleep", lambda _seconds: None)
    return shares


@pytest.mark.parametrize(("fault", "visible"), [(before, False), (after, True)], ids=["not in", "in"])
def test_the_blob_stays_where_the_record_may_be(
    patient: Shares, store: InterposedStore, fault: Callable[..., Fault], visible: bool
) -> None:
    # After its entry.
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
    # After its entry.
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
    """It sent nothing, whatever came before it: 40 MiB of body are not to be sent again for it."""
    store.around = on_puts({2: before(NotSent("metadata", "connection refused"))})
    assert download(patient, upload(patient, b"hello").file_id) == b"hello"


def test_the_signing_key_is_made_in_spite_of_a_refused_connection(patient: Shares, store: InterposedStore) -> None:
    store.around = on_puts({1: before(NotSent("secret", "connection refused"))})
    assert patient.signing.delete_token("x")
    assert store.store.read("secret")[0]
    with pytest.raises(Exception, match="secret"):
        store.store.put("secret", b"another", ABSENT)
