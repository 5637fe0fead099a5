"""Composing objects from other objects, on every store: exact to the byte, complete or not at all, and resumable."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import pytest
from botocore.awsrequest import AWSPreparedRequest

from shared.errors import StorageUnavailable
from shared.storage.contract import Changed, NotFound, ObjectStore, Piece, RangeNotSatisfiable, Slice, Unfinished
from shared.storage.s3 import compose as composing
from shared.storage.s3 import plan
from tests.storage.backends import Backend, Requests
from tests.storage.samples import drain, pattern, write
from tests.storage.test_contract import all_at_once

RAW = "raw/one"
BLOB = "files/on/one.pickle"
HEAD = b"hello world"
STOP = b"."

# Each size is a number of parts of the minimum size, and of additional bytes.
EDGES = [
    *((0, more) for more in (0, 1, 1000)),
    *((1, more) for more in (-13, -12, -11, -1, 0, 1)),
    *((2, more) for more in (-13, -12, -11, 0, 1)),
    (3, 1000),
]
SMALL_OR_LARGE = pytest.mark.parametrize("size", [(0, 10), (3, 1000)], indirect=True, ids=["small", "large"])


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch, part_size: int) -> None:
    """Several parts for a file that is quick to create; split evenly, none is below the minimum."""
    monkeypatch.setattr(plan, "COPY_SIZE", 2 * part_size)


@pytest.fixture
def size(request: pytest.FixtureRequest, part_size: int) -> int:
    parts, more = request.param
    return int(parts * part_size + more)


@pytest.fixture
def large(part_size: int) -> int:
    """The size of a file of which one part is sent, two are copied, and then the end is sent."""
    return 3 * part_size + 1000


def framed(store: ObjectStore, size: int) -> Sequence[Piece]:
    return [HEAD, Slice(RAW, 0, size, store.stat(RAW).etag), STOP]


def content(store: ObjectStore, key: str) -> bytes:
    return drain(store.open(key)) if store.stat(key).size else b""


@pytest.mark.parametrize("size", EDGES, indirect=True, ids=str)
def test_a_file_is_framed_and_unframed_without_the_change_of_a_byte(backend: Backend, size: int) -> None:
    store, data = backend.store, pattern(size)
    write(store, RAW, data)
    store.compose(BLOB, framed(store, size))
    assert store.stat(BLOB).size == len(HEAD) + size + len(STOP)
    assert content(store, BLOB) == HEAD + data + STOP
    store.delete(RAW)
    store.compose(RAW, [Slice(BLOB, len(HEAD), len(HEAD) + size)])
    assert content(store, RAW) == data
    assert backend.unfinished() == []


def test_an_object_is_made_of_any_pieces_in_their_order(store: ObjectStore, part_size: int) -> None:
    half = part_size + 1000
    data = pattern(2 * half)
    write(store, RAW, data)
    write(store, "raw/two", data[::-1])
    cuts = [(5, 9), (half, half), (3, half + 1), (0, 2 * half), (2 * half - 1, 2 * half)]
    pieces: list[Piece] = [b"", HEAD, *(Slice(RAW, *cut) for cut in cuts), Slice("raw/two", 1, half), STOP, STOP]
    store.compose(BLOB, pieces)
    parts = [data[start:stop] for start, stop in cuts]
    assert content(store, BLOB) == b"".join([HEAD, *parts, data[::-1][1:half], STOP, STOP])


def test_literal_bytes_alone_make_an_object(store: ObjectStore) -> None:
    store.compose(BLOB, [HEAD, STOP])
    assert content(store, BLOB) == HEAD + STOP


@SMALL_OR_LARGE
def test_what_is_there_is_replaced(store: ObjectStore, size: int) -> None:
    write(store, RAW, pattern(size))
    store.put(BLOB, b"old")
    old = store.stat(BLOB)
    store.compose(BLOB, framed(store, size))
    assert content(store, BLOB) == HEAD + pattern(size) + STOP
    assert store.stat(BLOB) != old
    store.compose(BLOB, framed(store, size))
    assert content(store, BLOB) == HEAD + pattern(size) + STOP


@SMALL_OR_LARGE
def test_two_may_compose_the_same_at_once(store: ObjectStore, size: int) -> None:
    write(store, RAW, pattern(size))
    pieces = framed(store, size)
    all_at_once([lambda: store.compose(BLOB, pieces)] * 2)
    assert content(store, BLOB) == HEAD + pattern(size) + STOP


# Unsuitable sources


@SMALL_OR_LARGE
def test_a_source_that_is_missing_leaves_nothing(backend: Backend, size: int) -> None:
    with pytest.raises(NotFound) as missing:
        backend.store.compose(BLOB, [HEAD, Slice(RAW, 0, size), STOP])
    assert missing.value.key == RAW
    require_nothing(backend)


@SMALL_OR_LARGE
def test_a_source_that_is_shorter_leaves_nothing(backend: Backend, size: int) -> None:
    write(backend.store, RAW, pattern(size))
    with pytest.raises(RangeNotSatisfiable) as short:
        backend.store.compose(BLOB, [HEAD, Slice(RAW, 1, size + 1), STOP])
    assert short.value.key == RAW
    require_nothing(backend)


@SMALL_OR_LARGE
def test_a_source_of_another_version_leaves_nothing(backend: Backend, size: int) -> None:
    store = backend.store
    write(store, RAW, pattern(size))
    pieces = framed(store, size)
    write(store, RAW, pattern(size)[::-1])
    with pytest.raises(Changed) as changed:
        store.compose(BLOB, pieces)
    assert changed.value.key == RAW
    require_nothing(backend)


@pytest.mark.only_s3
def test_a_source_that_changes_while_it_is_copied_is_noticed(backend: Backend, requests: Requests, large: int) -> None:
    store = backend.store
    write(store, RAW, pattern(large))
    lock, changes = threading.Lock(), list[object]()

    def change(_number: int, request: AWSPreparedRequest) -> None:
        if "x-amz-copy-source" not in request.headers:
            return
        # The other copies wait here, so all of them follow the change.
        with lock:
            if not changes:
                changes.append(store.put(RAW, pattern(large)[::-1]))

    pieces = framed(store, large)
    requests.before = change
    with pytest.raises(Changed) as changed:
        store.compose(BLOB, pieces)
    assert changed.value.key == RAW
    require_nothing(backend)


@pytest.mark.only_s3
def test_what_was_copied_of_an_earlier_version_is_not_continued(
    backend: Backend, requests: Requests, large: int
) -> None:
    store = backend.store
    write(store, RAW, pattern(large))
    pieces = framed(store, large)
    with pytest.raises(Unfinished):
        store.compose(BLOB, pieces, within=0)
    write(store, RAW, pattern(large)[::-1])
    with pytest.raises(Changed):
        store.compose(BLOB, pieces)
    require_nothing(backend)


def require_nothing(backend: Backend) -> None:
    assert backend.unfinished() == []
    with pytest.raises(NotFound):
        backend.store.stat(BLOB)


# Interruptions


@pytest.mark.only_s3
@pytest.mark.parametrize("framing", [True, False], ids=["framed", "unframed"])
def test_killed_between_any_two_requests_the_next_call_finishes_what_is_missing(
    backend: Backend, requests: Requests, framing: bool, large: int
) -> None:
    store, data = backend.store, pattern(large)
    write(store, RAW, data)
    pieces = framed(store, large) if framing else [Slice(RAW, 1, large)]
    expected = HEAD + data + STOP if framing else data[1:]
    requests.forget()
    store.compose(BLOB, pieces)
    steps, parts = len(requests.sent), requests.parts()
    assert parts == (4 if framing else 2)
    for step in range(steps):
        key = f"files/{step:02}/one.pickle"
        requests.forget()
        requests.before = dies_at(step)
        with pytest.raises(Crash):
            store.compose(key, pieces)
        requests.before = lambda _number, _request: None
        with pytest.raises(NotFound):
            store.stat(key)
        store.compose(key, pieces)
        # No step is repeated.
        assert requests.parts() == parts
        assert content(store, key) == expected
        assert backend.unfinished() == []


def dies_at(step: int) -> Callable[[int, AWSPreparedRequest], None]:
    def die(number: int, _request: AWSPreparedRequest) -> None:
        if number >= step:
            raise Crash

    return die


@pytest.mark.only_s3
def test_out_of_time_a_call_leaves_what_is_done_to_the_next_one(
    backend: Backend, requests: Requests, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    store = backend.store
    write(store, RAW, pattern(large))
    pieces = framed(store, large)
    seconds = itertools.count()
    monkeypatch.setattr(composing, "PARALLEL_PARTS", 1)
    monkeypatch.setattr(composing, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    requests.forget()
    with pytest.raises(Unfinished) as unfinished:
        store.compose(BLOB, pieces, within=3)
    assert unfinished.value.key == BLOB
    assert requests.parts() == 2
    with pytest.raises(NotFound):
        store.stat(BLOB)
    store.compose(BLOB, pieces, within=3)
    assert requests.parts() == 4
    assert content(store, BLOB) == HEAD + pattern(large) + STOP
    assert backend.unfinished() == []


@pytest.mark.only_s3
def test_a_part_of_another_size_is_made_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, large: int, part_size: int
) -> None:
    store = backend.store
    write(store, RAW, pattern(large))
    with monkeypatch.context() as patch:
        patch.setattr(plan, "COPY_SIZE", part_size)
        patch.setattr(composing, "PARALLEL_PARTS", 1)
        patch.setattr(composing, "time", SimpleNamespace(monotonic=itertools.count().__next__))
        with pytest.raises(Unfinished):
            store.compose(BLOB, [Slice(RAW, 0, large)], within=3)
    store.compose(BLOB, [Slice(RAW, 0, large)])
    assert content(store, BLOB) == pattern(large)
    assert backend.unfinished() == []


Step = Callable[[AWSPreparedRequest], bool]
BeforeStep = Callable[[Callable[[], None]], None]

STEPS: Mapping[str, Step] = {
    "list-parts": lambda request: request.method == "GET" and "uploadId=" in request.url,
    "send-part": lambda request: request.method == "PUT" and "partNumber=1&" in request.url,
    "copy-part": lambda request: request.method == "PUT" and "x-amz-copy-source" in request.headers,
    "complete": lambda request: request.method == "POST" and "uploadId=" in request.url,
}


@pytest.fixture
def before_step(requests: Requests, step: Step, monkeypatch: pytest.MonkeyPatch) -> BeforeStep:
    """Does something once, before the first request of a step is sent, while no other request is on its way."""
    monkeypatch.setattr(composing, "PARALLEL_PARTS", 1)

    def plan(action: Callable[[], None]) -> None:
        def act(_number: int, request: AWSPreparedRequest) -> None:
            if step(request):
                requests.before = lambda _number, _request: None
                action()

        requests.before = act

    return plan


@pytest.mark.only_s3
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_finding_the_upload_finished_by_another_is_success(
    store: ObjectStore, before_step: BeforeStep, large: int
) -> None:
    write(store, RAW, pattern(large))
    pieces = framed(store, large)
    before_step(lambda: store.compose(BLOB, pieces))
    store.compose(BLOB, pieces)
    assert content(store, BLOB) == HEAD + pattern(large) + STOP


@pytest.mark.only_s3
# SeaweedFS accepts a part even then, and makes the object.
@pytest.mark.parametrize("step", [pytest.param(STEPS[name], id=name) for name in STEPS if name != "send-part"])
def test_an_upload_that_is_taken_away_unfinished_is_a_fault(
    backend: Backend, before_step: BeforeStep, large: int
) -> None:
    store = backend.store
    write(store, RAW, pattern(large))
    pieces = framed(store, large)
    before_step(lambda: store.multipart.abort(BLOB))
    with pytest.raises(StorageUnavailable, match=f"the multipart upload to {BLOB} has disappeared"):
        store.compose(BLOB, pieces)
    require_nothing(backend)


@pytest.mark.only_s3
@pytest.mark.parametrize("size", [(2, -12), (3, 1000)], indirect=True, ids=str)
def test_few_bytes_pass_through_us(backend: Backend, requests: Requests, size: int, part_size: int) -> None:
    store = backend.store
    write(store, RAW, pattern(size))
    requests.forget()
    store.compose(BLOB, framed(store, size))
    up, down = passed(requests)
    assert up <= 2 * part_size + 1000  # for the names of the parts
    assert down <= 2 * part_size
    requests.forget()
    store.compose(RAW, [Slice(BLOB, len(HEAD), len(HEAD) + size)])
    up, down = passed(requests)
    assert up <= 1000
    assert down == 0


def passed(requests: Requests) -> tuple[int, int]:
    """The number of bytes in sent bodies, and in requested ranges."""
    up = down = 0
    for request in requests.sent:
        up += int(header(request, "Content-Length") or 0)
        if request.method == "GET" and "?" not in request.url:
            start, stop = header(request, "Range").removeprefix("bytes=").split("-")
            down += int(stop) + 1 - int(start)
    return up, down


def header(request: AWSPreparedRequest, name: str) -> str:
    value = request.headers.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)
