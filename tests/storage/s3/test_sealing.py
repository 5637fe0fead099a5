"""Sealing on S3: a direct upload always gets its blob, and no reader ever sees a wrong byte."""

from __future__ import annotations

import itertools
import pickle
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from botocore.awsrequest import AWSPreparedRequest

from shared.direct_uploads import DirectUploads
from shared.errors import Contended, DamagedFile, Preparing, StorageUnavailable, UnknownFile
from shared.options import Options
from shared.redirects import KEEP_RAW_FOR
from shared.scrub import scrub
from shared.sealing import seal
from shared.sharing import Record, Shares
from shared.storage.contract import Ambiguous, NotFound, ObjectStore
from shared.storage.keys import blob_key, raw_key
from shared.storage.multipart import MIN_PART_SIZE
from shared.storage.records import DELETED
from shared.sweeping import Sweep
from tests.clock import Clock
from tests.interposed import Around, Call, InterposedStore, undisturbed
from tests.servers import ask
from tests.sharing.shares import redirect
from tests.storage.backends import Backend, Requests

pytestmark = pytest.mark.only_s3

HOUR = timedelta(hours=1)
LAST = b"the end"


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def shares(backend: Backend, clock: Clock) -> Shares:
    return Shares(backend.store, max_file_size=1024 * MIN_PART_SIZE, clock=clock)


@pytest.fixture
def first(part_size: int) -> bytes:
    """The first of two parts: the blob copies some of its bytes, and some pass through us."""
    return bytes(range(250)) * (part_size * 2 // 250)


@pytest.fixture
def whole(first: bytes) -> bytes:
    return first + LAST


def uploaded(shares: Shares, *datas: bytes) -> Record:
    uploads = DirectUploads(shares)
    record = uploads.start("file.bin", "application/octet-stream", Options())
    assert record.upload_id is not None
    for number, data in enumerate(datas, 1):
        url = uploads.part_url(record.file_id, record.upload_id, number)
        assert url is not None
        ask("PUT", url, content=data).raise_for_status()
    stored = uploads.parts(record.file_id, record.upload_id)
    return uploads.complete(record.file_id, record.upload_id, [(part.number, part.etag) for part in stored])[0]


def read(shares: Shares, file_id: str) -> bytes:
    stored_file = shares.find(file_id)
    payload = shares.open(stored_file, 0, stored_file.record.file_size)
    return b"".join(iter(lambda: payload.read(MIN_PART_SIZE), b""))


def blob(store: ObjectStore, file_id: str) -> bytes:
    reader = store.open(blob_key(file_id))
    return b"".join(iter(lambda: reader.read(MIN_PART_SIZE), b""))


def is_sealed(shares: Shares, file_id: str) -> bool:
    return shares.find(file_id).record.sealed


@pytest.mark.parametrize("small", [b"", b"small", None])
def test_the_sealed_object_is_a_pickle_of_the_file(shares: Shares, small: bytes | None, first: bytes) -> None:
    datas = [first, LAST] if small is None else [small]
    file_id = uploaded(shares, *datas).file_id
    assert read(shares, file_id) == b"".join(datas)
    assert not is_sealed(shares, file_id)
    assert seal(shares, file_id) is True
    assert is_sealed(shares, file_id)
    assert pickle.loads(blob(shares.store, file_id)) == b"".join(datas)
    assert read(shares, file_id) == b"".join(datas)
    # The same event again.
    assert seal(shares, file_id) is False
    assert scrub(shares, print)


class Killed(BaseException):
    pass


def kill_at(step: int) -> Callable[[int, AWSPreparedRequest], None]:
    def die(number: int, _request: AWSPreparedRequest) -> None:
        if number >= step:
            raise Killed

    return die


def test_killed_between_any_two_requests_the_next_run_finishes(
    shares: Shares, backend: Backend, requests: Requests, first: bytes, whole: bytes
) -> None:
    file_id = uploaded(shares, first, LAST).file_id
    for step in itertools.count():
        requests.forget()
        requests.before = kill_at(step)
        try:
            done = seal(shares, file_id)
        except Killed:
            done = False
        requests.before = lambda _number, _request: None
        # Readers get the file, whether or not it is sealed.
        assert read(shares, file_id) == whole
        if done:
            break
    # The record, the raw object, the parts and their sources, and the record again.
    assert step >= 8
    assert is_sealed(shares, file_id)
    assert pickle.loads(blob(shares.store, file_id)) == whole
    assert backend.unfinished() == []


def test_an_upload_that_dies_while_it_begins_is_forgotten(
    shares: Shares, backend: Backend, clock: Clock, requests: Requests
) -> None:
    for step in range(3):
        requests.forget()
        requests.before = kill_at(step)
        with pytest.raises(Killed):
            DirectUploads(shares).start("file.bin", "application/octet-stream", Options())
    requests.before = lambda _number, _request: None
    for wait in (7 * 24 + 2, 25, 25):
        clock.now += wait * HOUR
        Sweep(shares).run()
    assert backend.unfinished() == []
    assert list(shares.store.list("expiries/")) == []


def test_two_at_once_make_one_blob(shares: Shares, backend: Backend, clock: Clock, first: bytes, whole: bytes) -> None:
    file_id = uploaded(shares, first, LAST).file_id
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            seal(Shares(backend.store, max_file_size=1, clock=clock), file_id)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert read(shares, file_id) == whole
    # If they interfered, the event is sent again.
    seal(shares, file_id)
    assert is_sealed(shares, file_id)
    assert pickle.loads(blob(shares.store, file_id)) == whole
    assert {type(error) for error in failures} <= {StorageUnavailable, Contended}


def test_a_file_deleted_while_it_is_sealed_leaves_nothing(
    shares: Shares, backend: Backend, requests: Requests, first: bytes
) -> None:
    for step in itertools.count():
        file_id = uploaded(shares, first, LAST).file_id
        requests.forget()
        deleted: list[int] = []

        def delete(
            number: int, _request: AWSPreparedRequest, at: int = step, file_id: str = file_id, done: list[int] = deleted
        ) -> None:
            if number == at and not done:
                done.append(number)
                shares.delete(file_id)

        requests.before = delete
        try:
            seal(shares, file_id)
        except (DamagedFile, UnknownFile):
            pytest.fail("a file that is gone is no fault")
        finally:
            requests.before = lambda _number, _request: None
        if not deleted:
            break
        assert [key for key in shares.store.list("files/") if file_id in key] == []
        assert shares.records.get(file_id).record.state == DELETED
    assert step >= 8


def test_an_event_that_was_lost_is_made_up_for_by_the_sweep(shares: Shares, clock: Clock, first: bytes) -> None:
    file_id = uploaded(shares, first, LAST).file_id
    clock.now += 2 * HOUR
    assert Sweep(shares).run().sealed == 1
    assert is_sealed(shares, file_id)


def test_the_raw_object_goes_after_a_day_and_comes_back_when_needed(
    shares: Shares, clock: Clock, first: bytes, whole: bytes
) -> None:
    file_id = uploaded(shares, first, LAST).file_id
    for _ in range(24):
        clock.now += HOUR
        Sweep(shares).run()
        assert shares.store.stat(raw_key(file_id)).size == len(whole)
    clock.now += 2 * HOUR
    Sweep(shares).run()
    with pytest.raises(NotFound):
        shares.store.stat(raw_key(file_id))
    assert read(shares, file_id) == whole

    url = redirect(shares, shares.find(file_id))
    assert ask("GET", url).content == whole
    # It stays for a day after its last use.
    clock.now += KEEP_RAW_FOR - HOUR
    Sweep(shares).run()
    shares.store.stat(raw_key(file_id))
    clock.now += 2 * HOUR + KEEP_RAW_FOR
    Sweep(shares).run()
    with pytest.raises(NotFound):
        shares.store.stat(raw_key(file_id))
    assert shares.find(file_id).record.download_count == 1


def test_a_copy_that_takes_too_long_is_continued_by_the_next_request(
    shares: Shares, requests: Requests, monkeypatch: pytest.MonkeyPatch, first: bytes, whole: bytes, part_size: int
) -> None:
    file_id = uploaded(shares, first, LAST).file_id
    seal(shares, file_id)
    shares.store.delete(raw_key(file_id))
    compose = shares.store.compose
    with monkeypatch.context() as patch:
        patch.setattr("shared.storage.s3.plan.COPY_SIZE", part_size)
        patch.setattr(shares.store, "compose", lambda key, pieces, _within: compose(key, pieces, 0))
        with pytest.raises(Preparing):
            redirect(shares, shares.find(file_id))
    assert shares.find(file_id).record.download_count == 0
    url = redirect(shares, shares.find(file_id))
    assert ask("GET", url).content == whole
    assert shares.find(file_id).record.download_count == 1


def test_a_raw_object_that_nobody_knows_is_removed(shares: Shares, clock: Clock) -> None:
    file_id = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
    shares.store.put(raw_key(file_id), b"left")
    shares.store.put(f"expiries/2026-01-01T00/{file_id}", b"")
    for _ in range(50):
        Sweep(shares).run()
        clock.now += HOUR
    assert list(shares.store.list("raw/")) == []


def test_an_upload_that_is_over_is_aborted(shares: Shares, backend: Backend, clock: Clock) -> None:
    uploads = DirectUploads(shares)
    record = uploads.start("file.bin", "a/b", Options())
    assert record.upload_id is not None
    assert backend.unfinished() != []
    clock.now += timedelta(days=7, hours=1)
    assert Sweep(shares).run().removed == 1
    assert backend.unfinished() == []
    with pytest.raises(UnknownFile):
        uploads.parts(record.file_id, record.upload_id)


def test_a_completion_that_went_no_further_than_storage_is_repeated(
    shares: Shares, requests: Requests, first: bytes, whole: bytes
) -> None:
    uploads = DirectUploads(shares)
    record = uploads.start("file.bin", "a/b", Options(), len(whole))
    assert record.upload_id is not None
    for number, data in ((1, first), (2, LAST)):
        ask("PUT", uploads.part_url(record.file_id, record.upload_id, number) or "", content=data)
    parts = [(part.number, part.etag) for part in uploads.parts(record.file_id, record.upload_id)]
    for step in itertools.count():
        requests.forget()
        requests.before = kill_at(step)
        try:
            ready, _ = uploads.complete(record.file_id, record.upload_id, parts)
        except Killed:
            continue
        finally:
            requests.before = lambda _number, _request: None
        break
    assert step >= 5
    assert ready.file_size == len(whole)
    assert read(shares, record.file_id) == whole


def test_two_who_complete_at_once_get_the_same_file(shares: Shares, requests: Requests) -> None:
    uploads = DirectUploads(shares)
    for step in itertools.count():
        record = uploads.start("file.bin", "a/b", Options())
        assert record.upload_id is not None
        ask("PUT", uploads.part_url(record.file_id, record.upload_id, 1) or "", content=LAST)
        parts = [(part.number, part.etag) for part in uploads.parts(record.file_id, record.upload_id)]
        requests.forget()
        others: list[Record] = []

        def other(
            number: int,
            _request: AWSPreparedRequest,
            at: int = step,
            record: Record = record,
            parts: list[tuple[int, str]] = parts,
            others: list[Record] = others,
        ) -> None:
            if number == at and not others:
                others.append(record)
                others[0], _ = uploads.complete(record.file_id, record.upload_id or "", parts)

        requests.before = other
        mine, _ = uploads.complete(record.file_id, record.upload_id, parts)
        requests.before = lambda _number, _request: None
        assert read(shares, record.file_id) == LAST
        if not others:
            break
        assert (others[0].file_size, others[0].created_at) == (mine.file_size, mine.created_at)
    assert step >= 6


def test_whatever_call_fails_a_file_is_sealed_and_sent_to_in_the_end(backend: Backend, clock: Clock) -> None:
    store = InterposedStore(backend.store)
    shares = Shares(store, max_file_size=1024 * MIN_PART_SIZE, clock=clock)

    def failing(at: int, *, done: bool) -> tuple[Around, list[Call]]:
        struck: list[Call] = []

        def fail(call: Call, proceed: Callable[[], object]) -> object:
            if call.number != at:
                return proceed()
            struck.append(call)
            if done:
                proceed()
            raise Ambiguous(call.key) if call.verb == "put if" else StorageUnavailable("said so")

        return fail, struck

    for done, at in itertools.product((False, True), range(30)):
        store.begin(undisturbed)
        file_id = uploaded(shares, b"small").file_id
        around, struck = failing(at, done=done)
        store.begin(around)
        try:
            seal(shares, file_id)
            shares.store.delete(raw_key(file_id))
            redirect(shares, shares.find(file_id))
            counted = 1
        except StorageUnavailable:
            counted = 0
        store.begin(undisturbed)
        if not counted:
            seal(shares, file_id)
        stored = shares.find(file_id)
        assert counted <= stored.record.download_count <= 1
        assert stored.record.sealed
        url = redirect(shares, stored)
        assert ask("GET", url).content == b"small"
        assert pickle.loads(blob(backend.store, file_id)) == b"small"
        if not struck:
            break
    assert at > 8
