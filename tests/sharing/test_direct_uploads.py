"""Direct uploads as use cases: on a directory, with a fixed clock, and killed at every step."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.direct_uploads import DirectUploads, PartUpload
from shared.errors import FileTooLarge, InvalidValue, MoreThanAnnounced, StorageUnavailable, UnknownFile
from shared.options import Options
from shared.retention import UPLOAD_WITHIN
from shared.sealing import StillUploading, seal
from shared.sharing import Record, Shares
from shared.storage.directory.multipart import DirectoryMultipart
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import blob_key
from shared.storage.multipart import Part
from shared.storage.records import DELETED
from shared.sweeping import Sweep
from tests.clock import DAY, HOUR, Clock
from tests.interposed import InterposedStore, Killed, dies_after, once_after
from tests.sharing.shares import MAX_FILE_SIZE, contents, download, shares_over, upload
from tests.wire.server import WITHIN

SECOND = timedelta(seconds=1)
UNKNOWN = "00000000-0000-4000-8000-000000000000"

Parts = list[tuple[int, str]]


@pytest.fixture
def uploads(shares: Shares) -> DirectUploads:
    return DirectUploads(shares)


def start(uploads: DirectUploads, size: int | None = None, **options: Any) -> Record:
    return uploads.start("file.bin", "application/octet-stream", Options(**options), size)


def send(uploads: DirectUploads, record: Record, number: int, data: bytes) -> tuple[int, str]:
    assert record.upload_id is not None
    part = uploads.begin_part(record.file_id, record.upload_id, number)
    part.write(data)
    return number, part.finish().etag


def complete(uploads: DirectUploads, record: Record, parts: Parts) -> Record:
    assert record.upload_id is not None
    return uploads.complete(record.file_id, record.upload_id, parts)[0]


def abort(uploads: DirectUploads, record: Record) -> None:
    assert record.upload_id is not None
    uploads.abort(record.file_id, record.upload_id)


def of_files(root: Path) -> set[str]:
    """All keys in storage, except the expiry index and records with the state *deleted*."""
    return {
        key
        for key, data in contents(root).items()
        if not key.startswith("expiries/") and (not key.startswith("metadata/") or json.loads(data)["state"] != DELETED)
    }


def test_a_file_lives_from_its_completion_on(shares: Shares, uploads: DirectUploads, clock: Clock) -> None:
    record = start(uploads, expires_in=60)
    part = send(uploads, record, 1, b"hello")
    clock.forward(DAY)
    ready = complete(uploads, record, [part])
    assert (ready.created_at, ready.expires_at) == (clock.now, clock.now + 60 * SECOND)
    assert download(shares, record.file_id) == b"hello"


def test_the_blob_of_a_direct_upload_is_a_pickle(uploads: DirectUploads, root: Path) -> None:
    record = start(uploads)
    complete(uploads, record, [send(uploads, record, 1, b"hello")])
    assert pickle.loads((root / blob_key(record.file_id)).read_bytes()) == b"hello"
    assert of_files(root) == {blob_key(record.file_id), f"metadata/{record.file_id[:2]}/{record.file_id}.json"}


@pytest.mark.parametrize("late", [timedelta(0), DAY])
def test_an_upload_expires_after_a_week(
    shares: Shares, uploads: DirectUploads, clock: Clock, root: Path, late: timedelta
) -> None:
    record = start(uploads)
    assert record.upload_id is not None
    part = send(uploads, record, 1, b"hello")
    clock.forward(UPLOAD_WITHIN - SECOND)
    assert [each.number for each in uploads.parts(record.file_id, record.upload_id)] == [1]
    clock.forward(SECOND + late)
    for attempt in (
        lambda: uploads.parts(record.file_id, record.upload_id or ""),
        lambda: uploads.part_url(record.file_id, record.upload_id or "", 1),
        lambda: send(uploads, record, 2, b"more"),
        lambda: complete(uploads, record, [part]),
    ):
        with pytest.raises(UnknownFile):
            attempt()
    clock.forward(HOUR)
    assert Sweep(shares).run().removed == 1
    assert of_files(root) == set()


def test_the_sweep_leaves_an_upload_that_goes_on(shares: Shares, uploads: DirectUploads, clock: Clock) -> None:
    record = start(uploads)
    part = send(uploads, record, 1, b"hello")
    for _ in range(6 * 24 + 23):
        clock.forward(HOUR)
        assert Sweep(shares).run().removed == 0
    complete(uploads, record, [part])
    assert download(shares, record.file_id) == b"hello"


def test_a_part_that_comes_after_the_end_leaves_nothing(uploads: DirectUploads, root: Path) -> None:
    for end in (_abort, _complete):
        record = start(uploads)
        assert record.upload_id is not None
        first = send(uploads, record, 1, b"hello")
        late = uploads.begin_part(record.file_id, record.upload_id, 2)
        late.write(b"late")
        end(uploads, record, first)
        with pytest.raises(UnknownFile):
            late.finish()
    assert not any(key.startswith("raw/") for key in of_files(root))


def test_a_part_finds_no_place_only_because_its_upload_is_over(
    uploads: DirectUploads, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(*_paths: object, **_place: object) -> None:
        raise FileNotFoundError

    ended, going_on = start(uploads), start(uploads)
    parts = []
    for record in (ended, going_on):
        assert record.upload_id is not None
        parts.append(uploads.begin_part(record.file_id, record.upload_id, 1))
    abort(uploads, ended)
    # As if the folder had been removed between its creation and its use.
    monkeypatch.setattr(os, "replace", vanished)
    with pytest.raises(UnknownFile):
        parts[0].finish()
    with pytest.raises(StorageUnavailable):
        parts[1].finish()
    assert not any(key.startswith("raw/") for key in of_files(root))


def test_all_parts_together_are_bounded(uploads: DirectUploads) -> None:
    record = start(uploads)
    assert record.upload_id is not None
    send(uploads, record, 1, bytes(MAX_FILE_SIZE - 10))
    part = uploads.begin_part(record.file_id, record.upload_id, 2)
    part.write(bytes(10))
    with pytest.raises(FileTooLarge) as refused:
        part.write(b"x")
    assert refused.value.limit == MAX_FILE_SIZE
    part.abort()
    # A part that replaces the first one can have the full size.
    send(uploads, record, 1, bytes(MAX_FILE_SIZE))


@pytest.mark.parametrize("announced", [None, MAX_FILE_SIZE - 100])
def test_parts_that_arrive_together_are_bounded_together(
    shares: Shares, uploads: DirectUploads, clock: Clock, store: InterposedStore, announced: int | None
) -> None:
    """None of them sees the others when it starts, and each one alone fits. Some come through other processes."""
    record = start(uploads, announced)
    assert record.upload_id is not None
    each = (DirectUploads(shares_over(DirectoryStore(store.store.root), clock)) for _ in range(6))  # type: ignore[attr-defined]
    parts = [uploads.begin_part(record.file_id, record.upload_id, number) for number, uploads in enumerate(each, 1)]
    for part in parts:
        part.write(bytes(MAX_FILE_SIZE // 2 - 60))

    def finish(part: PartUpload) -> bool:
        try:
            part.finish()
        except FileTooLarge:
            part.abort()
            return False
        return True

    with ThreadPoolExecutor(len(parts)) as pool:
        taken = list(pool.map(finish, parts))
    assert taken.count(True) == 2
    assert len(uploads.parts(record.file_id, record.upload_id)) == 2


def test_a_part_must_fit_into_the_size_announced(uploads: DirectUploads, root: Path) -> None:
    record = start(uploads, size=10)
    assert record.upload_id is not None
    first = send(uploads, record, 1, b"hello")
    before = of_files(root)
    # Whether or not the sender announces the part's size.
    with pytest.raises(MoreThanAnnounced) as refused:
        uploads.begin_part(record.file_id, record.upload_id, 2, size=6)
    assert refused.value.limit == 10
    part = uploads.begin_part(record.file_id, record.upload_id, 2)
    with pytest.raises(MoreThanAnnounced):
        part.write(b"six...")
    part.abort()
    assert of_files(root) == before
    assert first[0] == 1


def test_a_part_that_is_given_up_leaves_the_earlier_one(shares: Shares, uploads: DirectUploads) -> None:
    record = start(uploads)
    assert record.upload_id is not None
    first = send(uploads, record, 1, b"hello")
    again = uploads.begin_part(record.file_id, record.upload_id, 1)
    again.write(b"hal")
    again.abort()
    complete(uploads, record, [first])
    assert download(shares, record.file_id) == b"hello"


def test_two_who_complete_at_once_make_one_file(store: InterposedStore, clock: Clock, shares: Shares) -> None:
    record = start(DirectUploads(shares))
    part = send(DirectUploads(shares), record, 1, b"hello")
    both = threading.Barrier(2)
    stores = [InterposedStore(store.store) for _ in range(2)]
    for each in stores:
        each.around = once_after(1, lambda: both.wait(timeout=WITHIN))
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(lambda each: complete(DirectUploads(shares_over(each, clock)), record, [part]), stores))
    assert records[0] == records[1]
    assert download(shares, record.file_id) == b"hello"


def test_a_later_completion_with_other_parts_gets_the_file_of_the_first(
    store: InterposedStore, clock: Clock, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.multipart.MIN_PART_SIZE", 1)
    uploads = DirectUploads(shares)
    record = start(uploads)
    one, two = send(uploads, record, 1, b"one"), send(uploads, record, 2, b"two")
    for step in itertools.count():
        # The second completion happens during each step of the first.
        file = start(uploads)
        one, two = send(uploads, file, 1, b"one"), send(uploads, file, 2, b"two")
        meanwhile = InterposedStore(store.store)
        records: list[Record] = []

        def other(file: Record = file, one: tuple[int, str] = one, records: list[Record] = records) -> None:
            with contextlib.suppress(InvalidValue):
                records.append(complete(uploads, file, [one]))

        meanwhile.around = once_after(step, other)
        records.append(complete(DirectUploads(shares_over(meanwhile, clock)), file, [one, two]))
        data = download(shares, file.file_id)
        assert {each.file_size for each in records} == {len(data)}
        assert data in (b"one", b"onetwo")
        if len(meanwhile.changes) <= step:
            break
    assert step > 3


@pytest.mark.parametrize("faster", ["complete", "abort"])
def test_a_completion_that_is_too_late_leaves_nothing(
    uploads: DirectUploads, root: Path, monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    record = start(uploads)
    part = send(uploads, record, 1, b"hello")
    choose = DirectoryMultipart._choose

    def late(multipart: DirectoryMultipart, key: str, parts: Sequence[Part]) -> None:
        # After it has seen the parts, and before it publishes its choice.
        monkeypatch.setattr(DirectoryMultipart, "_choose", choose)
        {"complete": _complete, "abort": _abort}[faster](uploads, record, part)
        choose(multipart, key, parts)

    monkeypatch.setattr(DirectoryMultipart, "_choose", late)
    if faster == "complete":
        assert complete(uploads, record, [part]).file_size == len(b"hello")
    else:
        with pytest.raises(UnknownFile):
            complete(uploads, record, [part])
    assert not any(key.startswith("raw/") for key in of_files(root))


def test_a_file_deleted_while_it_is_completed_stays_deleted(store: InterposedStore, clock: Clock, root: Path) -> None:
    for step in itertools.count():
        watched = InterposedStore(store.store)
        uploads, others = DirectUploads(shares_over(watched, clock)), DirectUploads(shares_over(store.store, clock))
        record = start(others)
        part = send(others, record, 1, b"hello")

        def end(record: Record = record, others: DirectUploads = others) -> None:
            with contextlib.suppress(UnknownFile):
                abort(others, record)

        watched.around = once_after(step, end)
        gone = False
        try:
            complete(uploads, record, [part])
        except (UnknownFile, InvalidValue):
            gone = True
        left = {key for key in of_files(root) if record.file_id in key}
        assert (left == set()) is gone, f"after {watched.changes[:step]}"
        if len(watched.changes) <= step:
            break
        if not gone:
            shares_over(store.store, clock).delete(record.file_id)
    assert step > 3


def copies(root: Path) -> Path:
    return Path(shutil.copytree(root, root.with_name(f"copy-{len(list(root.parent.iterdir()))}")))


def _complete(uploads: DirectUploads, record: Record, part: tuple[int, str]) -> None:
    complete(uploads, record, [part])


def _abort(uploads: DirectUploads, record: Record, _part: tuple[int, str]) -> None:
    abort(uploads, record)


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("action", [_complete, _abort])
def test_an_upload_that_dies_at_any_step_is_finished_or_forgotten(
    shares: Shares,
    uploads: DirectUploads,
    clock: Clock,
    root: Path,
    action: Callable[[DirectUploads, Record, tuple[int, str]], None],
    repeated: bool,
) -> None:
    record = start(uploads, expires_in=3 * 86400)
    assert record.upload_id is not None
    send(uploads, record, 1, b"hello")
    steps = 0
    for steps in itertools.count():
        directory = copies(root)
        moved = Clock(clock.now)
        dying = InterposedStore(DirectoryStore(directory))
        # Copying a part's file changes its ETag.
        (copied,) = DirectUploads(shares_over(dying, moved)).parts(record.file_id, record.upload_id)
        part = copied.number, copied.etag
        dying.around = dies_after(steps)
        died = True
        with contextlib.suppress(Killed):
            action(DirectUploads(shares_over(dying, moved)), record, part)
            died = False
        again = shares_over(DirectoryStore(directory), moved)
        if repeated:
            with contextlib.suppress(UnknownFile):
                action(DirectUploads(again), record, part)
            if action is _complete:
                assert download(again, record.file_id) == b"hello"
                assert again.find(record.file_id).record.download_count == 1
        for _ in range(9):
            moved.forward(25 * HOUR)
            Sweep(again).run()
        assert of_files(directory) == set(), f"after {dying.changes}"
        if not died:
            break
    assert steps > 3


@pytest.mark.parametrize("steps", range(3))
def test_an_upload_that_dies_while_it_begins_is_forgotten(
    store: InterposedStore, clock: Clock, root: Path, steps: int
) -> None:
    store.around = dies_after(steps)
    with contextlib.suppress(Killed):
        start(DirectUploads(shares_over(store, clock)))
    again = shares_over(DirectoryStore(root), clock)
    for _ in range(9):
        clock.forward(25 * HOUR)
        Sweep(again).run()
    assert of_files(root) == set()


def test_only_a_complete_upload_can_be_sealed(shares: Shares, uploads: DirectUploads) -> None:
    record = start(uploads)
    with pytest.raises(StillUploading):
        seal(shares, record.file_id)
    part = send(uploads, record, 1, b"hello")
    complete(uploads, record, [part])
    # A directory seals an upload when it is completed.
    assert seal(shares, record.file_id) is False
    assert seal(shares, upload(shares).file_id) is False
    assert seal(shares, UNKNOWN) is False
    assert seal(shares, "no ID at all") is False
