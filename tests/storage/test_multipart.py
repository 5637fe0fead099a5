"""Objects that clients send in parts, on every store, and what clients fetch directly from storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import botocore.auth
import httpx
import pytest

from shared.storage.contract import Changed, Links, NotFound, ObjectStore, Slice
from shared.storage.directory.store import DirectoryStore
from shared.storage.multipart import InvalidParts, Part
from shared.storage.s3 import writer as s3
from tests.storage.backends import Backend
from tests.storage.samples import drain, pattern, write

KEY = "raw/one"
WHOLE = "files/on/whole"
LIFETIME = 300


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def data(part_size: int) -> bytes:
    return pattern(2 * part_size + 7)


@pytest.fixture
def chunks(data: bytes, part_size: int) -> Sequence[bytes]:
    return [data[:part_size], data[part_size : 2 * part_size], data[2 * part_size :]]


@pytest.fixture
def upload_id(store: ObjectStore) -> str:
    return store.multipart.start(KEY)


class Sender:
    """A client that sends parts to the addresses that it gets, and knows only what it is told."""

    def __init__(self, store: ObjectStore, upload_id: str, http: httpx.Client) -> None:
        self._store = store
        self._upload_id = upload_id
        self._http = http

    def send(self, number: int, data: bytes) -> Part:
        if self._store.links is not None:
            url = self._store.links.upload_part(KEY, LIFETIME, upload_id=self._upload_id, number=number)
            answer = self._http.put(url, content=data)
            assert answer.status_code == 200, answer.text
            return Part(number, len(data), answer.headers["ETag"].strip('"'))
        writer = self._store.multipart.writer(KEY, self._upload_id, number, 10**9)
        for start in range(0, len(data), 1000):
            writer.write(data[start : start + 1000])
        part = writer.commit()
        assert part.size == len(data)
        return part


@pytest.fixture
def sender(store: ObjectStore, upload_id: str, http: httpx.Client) -> Sender:
    return Sender(store, upload_id, http)


def joined(store: ObjectStore, slices: Sequence[Slice]) -> bytes:
    store.compose(WHOLE, slices)
    return drain(store.open(WHOLE))


def test_parts_in_any_order_make_one_object(
    backend: Backend, store: ObjectStore, sender: Sender, upload_id: str, chunks: Sequence[bytes], data: bytes
) -> None:
    parts = {number: sender.send(number, chunks[number - 1]) for number in (3, 1, 2)}
    assert list(store.multipart.list(KEY, upload_id)) == [parts[1], parts[2], parts[3]]
    slices = store.multipart.finish(KEY, upload_id, [parts[1], parts[2], parts[3]])
    assert sum(piece.stop - piece.start for piece in slices) == len(data)
    assert joined(store, slices) == data
    assert backend.unfinished() == []


def test_numbers_may_have_gaps_and_parts_may_be_left_out(
    store: ObjectStore, sender: Sender, upload_id: str, chunks: Sequence[bytes]
) -> None:
    parts = [sender.send(number, chunk) for number, chunk in zip((2, 700, 10_000), chunks, strict=True)]
    slices = store.multipart.finish(KEY, upload_id, [parts[0], parts[2]])
    assert joined(store, slices) == chunks[0] + chunks[2]


def test_of_a_part_sent_twice_the_later_one_counts(store: ObjectStore, sender: Sender, upload_id: str) -> None:
    old = sender.send(1, b"old")
    new = sender.send(1, b"newer")
    assert list(store.multipart.list(KEY, upload_id)) == [new]
    with pytest.raises(InvalidParts):
        store.multipart.finish(KEY, upload_id, [old])
    assert joined(store, store.multipart.finish(KEY, upload_id, [new])) == b"newer"


def test_an_empty_part_alone_makes_an_empty_object(store: ObjectStore, sender: Sender, upload_id: str) -> None:
    slices = store.multipart.finish(KEY, upload_id, [sender.send(1, b"")])
    store.compose(WHOLE, slices)
    assert store.stat(WHOLE).size == 0


def test_an_upload_may_be_finished_again(
    store: ObjectStore, sender: Sender, upload_id: str, chunks: Sequence[bytes], data: bytes
) -> None:
    parts = [sender.send(number, chunk) for number, chunk in enumerate(chunks, 1)]
    slices = store.multipart.finish(KEY, upload_id, parts)
    assert store.multipart.finish(KEY, upload_id, parts) == slices
    assert joined(store, slices) == data


def test_a_part_replaced_after_the_end_is_noticed(directory: DirectoryStore) -> None:
    first, second = directory.multipart.writer(KEY, "1", 1, 10**9), directory.multipart.writer(KEY, "1", 1, 10**9)
    first.write(b"one")
    second.write(b"two")
    slices = directory.multipart.finish(KEY, "1", [first.commit()])
    second.commit()
    with pytest.raises(Changed):
        directory.compose(WHOLE, slices)


def test_a_finished_upload_takes_no_parts_and_keeps_those_it_has(directory: DirectoryStore) -> None:
    writer = directory.multipart.writer(KEY, "1", 1, 10**9)
    writer.write(b"one")
    slices = directory.multipart.finish(KEY, "1", [writer.commit()])
    with pytest.raises(NotFound):
        directory.multipart.writer(KEY, "1", 2, 10**9)
    with pytest.raises(NotFound):
        directory.multipart.list(KEY, "1")
    # As on S3, the part list has no effect then.
    assert directory.multipart.finish(KEY, "1", [Part(7, 0, "of nothing")]) == slices


def test_parts_that_are_not_those_stored_make_no_object(
    store: ObjectStore, sender: Sender, upload_id: str, chunks: Sequence[bytes]
) -> None:
    one, two = sender.send(1, chunks[0]), sender.send(2, chunks[2])
    small = sender.send(3, b"x")
    wrong: dict[str, list[Part]] = {
        "no parts": [],
        "another etag": [Part(1, one.size, two.etag), two],
        "never sent": [one, Part(4, 1, one.etag)],
        "out of order": [two, one],
        "one twice": [one, one],
        "too small": [one, two, small],
    }
    for reason, parts in wrong.items():
        with pytest.raises(InvalidParts) as refusal:
            store.multipart.finish(KEY, upload_id, parts)
        assert refusal.value.key == KEY, reason
    assert list(store.multipart.list(KEY, upload_id)) == [one, two, small]
    assert joined(store, store.multipart.finish(KEY, upload_id, [one, two])) == chunks[0] + chunks[2]


def test_parts_whose_total_size_is_refused_make_no_object(
    store: ObjectStore, sender: Sender, upload_id: str, chunks: Sequence[bytes], data: bytes
) -> None:
    parts = [sender.send(number, chunk) for number, chunk in enumerate(chunks, 1)]

    def refuse(size: int) -> None:
        raise ZeroDivisionError(size)

    with pytest.raises(ZeroDivisionError, match=str(len(data))):
        store.multipart.finish(KEY, upload_id, parts, refuse)
    assert list(store.multipart.list(KEY, upload_id)) == parts
    assert joined(store, store.multipart.finish(KEY, upload_id, parts)) == data


def test_an_upload_is_aborted_once_and_for_all(
    backend: Backend, store: ObjectStore, sender: Sender, upload_id: str
) -> None:
    part = sender.send(1, b"one")
    for _ in range(2):
        store.multipart.abort(KEY, upload_id)
    with pytest.raises((NotFound, InvalidParts)):
        store.multipart.finish(KEY, upload_id, [part])
    with pytest.raises(NotFound):
        store.stat(KEY)
    assert list(store.list("raw/")) == []
    assert backend.unfinished() == []


@pytest.mark.only_s3
def test_nobody_has_parts_in_an_upload_that_never_began(store: ObjectStore, upload_id: str) -> None:
    store.multipart.abort(KEY, upload_id)
    with pytest.raises(NotFound) as missing:
        store.multipart.list(KEY, upload_id)
    assert missing.value.key == KEY
    store.multipart.abort(KEY, "0" * 32)


def test_an_upload_without_parts_has_none(store: ObjectStore, upload_id: str) -> None:
    assert list(store.multipart.list(KEY, upload_id)) == []


def test_the_parts_of_a_directory_go_after_the_end_too(directory: DirectoryStore) -> None:
    upload_id = directory.multipart.start(KEY)
    writer = directory.multipart.writer(KEY, upload_id, 1, 10**9)
    writer.write(b"one")
    slices = directory.multipart.finish(KEY, upload_id, [writer.commit()])
    directory.compose(WHOLE, slices)
    directory.multipart.abort(KEY, upload_id)
    assert list(directory.list("raw/")) == []
    assert list((directory.root / "raw").iterdir()) == []
    # The directory is recreated.
    writer = directory.multipart.writer(KEY, upload_id, 1, 10**9)
    writer.write(b"two")
    assert list(directory.multipart.list(KEY, upload_id)) == []
    assert [writer.commit()] == directory.multipart.list(KEY, upload_id)


def test_a_part_given_up_leaves_the_one_before(directory: DirectoryStore) -> None:
    upload_id = directory.multipart.start(KEY)
    writer = directory.multipart.writer(KEY, upload_id, 1, 10**9)
    writer.write(b"one")
    part = writer.commit()
    writer = directory.multipart.writer(KEY, upload_id, 1, 10**9)
    writer.write(b"two")
    writer.abort()
    writer.abort()
    assert directory.multipart.list(KEY, upload_id) == [part]


@pytest.mark.only_s3
def test_uploads_of_clients_are_not_what_writers_left(
    backend: Backend, upload_id: str, monkeypatch: pytest.MonkeyPatch, part_size: int
) -> None:
    monkeypatch.setattr(s3, "PART_SIZE", part_size)
    store = backend.store
    writer = store.writer("files/on/one.pickle")
    writer.write(bytes(2 * part_size + 1))  # enough to have sent a part
    soon = datetime.now(UTC) + timedelta(minutes=5)
    assert store.discard_unfinished(soon) == 1
    assert list(store.multipart.list(KEY, upload_id)) == []


def test_all_that_was_begun_for_a_key_can_be_aborted_at_once(backend: Backend, store: ObjectStore) -> None:
    # Whatever their IDs are, because those of a `compose` are unknown.
    for _ in range(2):
        store.multipart.start(KEY)
    store.multipart.start(KEY + "0")
    store.multipart.abort(KEY)
    assert [key for key in backend.unfinished() if key == KEY] == []


# Results of `stat`


def test_an_object_is_described_without_being_read(store: ObjectStore) -> None:
    store.put(KEY, b"12345")
    first = store.stat(KEY)
    assert first.size == 5
    assert store.stat(KEY) == first
    store.put(KEY, b"54321")
    assert store.stat(KEY).etag != first.etag


def test_what_is_not_there_has_no_description(store: ObjectStore) -> None:
    store.put(KEY, b"1")
    for key in ("raw/two", "raw"):
        with pytest.raises(NotFound) as missing:
            store.stat(key)
        assert missing.value.key == key


# Signed links


def links_of(store: ObjectStore) -> Links:
    assert store.links is not None
    return store.links


@pytest.fixture
def url(store: ObjectStore) -> str:
    write(store, KEY, b"0123456789")
    return links_of(store).download(
        KEY, LIFETIME, disposition="attachment; filename*=UTF-8''%C3%A9.txt", content_type="text/plain; charset=utf-8"
    )


@pytest.mark.only_s3
def test_a_signed_url_gives_the_object_the_headers_asked_for(url: str, http: httpx.Client) -> None:
    answer = http.get(url)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%A9.txt"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert http.get(url, headers={"Range": "bytes=3-5"}).content == b"345"


@pytest.mark.only_s3
def test_a_signed_range_is_given(url: str, store: ObjectStore, http: httpx.Client) -> None:
    ranged = links_of(store).download(KEY, LIFETIME, disposition="inline", content_type="text/plain", range="bytes=3-5")
    answer = http.get(ranged, headers={"Range": "bytes=3-5"})
    assert (answer.status_code, answer.content) == (206, b"345")


@pytest.mark.only_s3
def test_a_signed_url_is_good_for_what_was_signed_only(url: str, store: ObjectStore, http: httpx.Client) -> None:
    ranged = links_of(store).download(KEY, LIFETIME, disposition="inline", content_type="text/plain", range="bytes=3-5")
    assert http.get(ranged, headers={"Range": "bytes=0-5"}).status_code == 403
    assert http.get(ranged).status_code == 403
    assert http.put(url, content=b"x").status_code == 403
    assert http.get(url.replace("filename", "fliename")).status_code == 403


@pytest.mark.only_s3
def test_a_signed_url_for_a_part_is_good_for_its_size_only(
    store: ObjectStore, upload_id: str, http: httpx.Client
) -> None:
    send = links_of(store).upload_part(KEY, LIFETIME, upload_id=upload_id, number=1, size=3)
    assert http.put(send, content=b"1234").status_code == 403
    assert http.put(send, content=b"12").status_code == 403
    assert http.put(send, content=iter([b"123", b"4"])).status_code >= 400
    assert list(store.multipart.list(KEY, upload_id)) == []
    assert http.put(send, content=b"123").status_code == 200


@pytest.mark.only_s3
def test_a_signed_url_expires(
    store: ObjectStore, upload_id: str, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, KEY, b"0123456789")
    signed_at = datetime.now(UTC) - timedelta(seconds=LIFETIME + 60)
    with monkeypatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_args, **_options: signed_at.replace(tzinfo=None))
        fetch = links_of(store).download(KEY, LIFETIME, disposition="inline", content_type="text/plain")
        send = links_of(store).upload_part(KEY, LIFETIME, upload_id=upload_id, number=1)
        longer = links_of(store).download(KEY, LIFETIME + 600, disposition="inline", content_type="text/plain")
    assert http.get(fetch).status_code == 403
    assert http.put(send, content=b"x").status_code == 403
    assert http.get(longer).status_code == 200
