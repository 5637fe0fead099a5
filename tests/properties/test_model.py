"""Compares all use cases with a model in memory, in any order, with a process that can be killed at any step.

Each rule is one use case. `_carry_out` runs it, and kills the process on demand. Then the model is updated with what
has happened, or may have happened: `File.counts` has all counts that a client would have to accept.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.direct_uploads import DirectUploads
from shared.errors import Expired, FileTooLarge, InvalidValue, UnknownFile, UsedUp
from shared.listing import list_files
from shared.options import Options
from shared.retention import KEEP_USED_UP_FOR, UPLOAD_WITHIN
from shared.scrub import scrub
from shared.sealing import seal
from shared.sharing import Record, Shares
from shared.storage.contract import ObjectStore
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import raw_key
from shared.storage.multipart import Part
from shared.storage.s3 import clients
from shared.storage.s3.store import open_s3
from shared.sweeping import Sweep
from shared.uploads import Upload
from tests.api.client import BucketObjects, DirectoryObjects, Objects
from tests.interposed import InterposedStore, Kill, Killed, undisturbed
from tests.properties.effort import examples
from tests.servers import BUCKET, SMALL_PART, S3Server, SharedClients, moto_with_small_parts
from tests.sharing.shares import receive, redirect

T = TypeVar("T")

START = datetime(2030, 5, 1, 12, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Until everything expired was looked at, and everything without a record was found and removed after its delay.
SWEEPS = (UPLOAD_WITHIN + 2 * HOUR, 25 * HOUR, 25 * HOUR, 25 * HOUR)

MAX_FILE_SIZE = 5000

DATA = st.binary(max_size=40) | st.sampled_from([b"", b".", b"\x80\x04\x8e", bytes(3000)])
LIFETIMES = st.none() | st.sampled_from([1, 3600, 100_000])
CAPS = st.none() | st.integers(1, 3)
# None, or the number of a store call, and whether the process ends before or after it.
KILLS = st.none() | st.tuples(st.integers(0, 9), st.booleans())
# A multiple of `SMALL_PART`, and additional bytes.
SIZES = st.sampled_from([(1, 0), (1, 3), (1, 3), (0, 0), (0, 3)])
FIRST_PARTS = st.sampled_from([[], [(0, 3)], [(1, 0)], [(1, 3), (0, 0)], [(1, 0), (1, 3)], [(1, 3), (1, 3), (1, 0)]])
# None, or how many bytes more than the first parts have.
ANNOUNCED = st.sampled_from([None, None, 0, 0, 1])
NUMBERS = st.integers(1, 3)

Moment = tuple[int, bool] | None
Size = tuple[int, int]


@dataclass
class File:
    """What a client knows about a file that it has seen."""

    file_id: str
    data: bytes
    expires_at: datetime | None
    cap: int | None
    counts: set[int] = field(default_factory=lambda: {0})
    gone: bool = False
    """Known to be gone; otherwise it can be gone only once it is over."""
    doubtful: bool = False
    """A deletion was killed, so the file may be gone."""
    used_up_at: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        if self.expires_at is not None and self.expires_at <= now:
            return True
        return self.used_up_at is not None and self.used_up_at + KEEP_USED_UP_FOR <= now


@dataclass
class DirectUpload:
    """What a client knows about a direct upload that it has started."""

    file_id: str
    upload_id: str
    begun_at: datetime
    lifetime: int | None
    cap: int | None
    announced: int | None
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """ETag and bytes by part number."""
    sealed_data: bytes | None = None
    """A completion was killed, but so late that every other one will create this file."""
    is_complete: bool = False
    """The file is part of the model."""
    gone: bool = False
    doubtful: bool = False
    """A completion or abort was killed, so the upload may be gone."""

    def may_be_over(self, now: datetime) -> bool:
        return self.is_complete or self.gone or self.doubtful or self.begun_at + UPLOAD_WITHIN <= now


@dataclass(frozen=True)
class Place:
    """The storage of a machine: a store, and its objects."""

    store: ObjectStore
    objects: Objects


def _size(size: Size) -> int:
    parts, more = size
    return parts * SMALL_PART + more


class Files(RuleBasedStateMachine):
    """One store, used by one process after another."""

    make_place: Callable[[], Place]

    def __init__(self) -> None:
        super().__init__()
        place = type(self).make_place()
        self.store = InterposedStore(place.store)
        self.objects = place.objects
        self.now = START
        self.model: dict[str, File] = {}
        self.uploads: dict[str, DirectUpload] = {}
        self.kills = 0
        self._restart()

    file_ids = Bundle("file_ids")
    begun = Bundle("begun")

    @rule(target=file_ids, data=DATA, lifetime=LIFETIMES, cap=CAPS, kill=KILLS, cut=st.integers(0, 40))
    def upload(self, data: bytes, lifetime: int | None, cap: int | None, kill: Moment, cut: int) -> object:
        ids: list[str] = []

        def act() -> None:
            incoming = Upload(self.shares)
            ids.append(incoming.file_id)
            incoming.write(data[:cut])
            incoming.write(data[cut:])
            incoming.finish("a.bin", "text/plain", Options(expires_in=lifetime, max_downloads=cap))

        finished = self._carry_out(act, kill)
        expires_at = None if lifetime is None else self.now + timedelta(seconds=lifetime)
        if ids and not finished:
            # Either the complete file exists, or nothing.
            with contextlib.suppress(UnknownFile):
                self.shares.find(ids[0])
                finished = True
        if not finished:
            return multiple()
        self.model[ids[0]] = File(ids[0], data, expires_at, cap)
        self._check(ids[0])
        return ids[0]

    @rule(target=begun, lifetime=LIFETIMES, cap=CAPS, announced=ANNOUNCED, sizes=FIRST_PARTS, kill=KILLS)
    def begin(
        self, lifetime: int | None, cap: int | None, announced: int | None, sizes: Sequence[Size], kill: Moment
    ) -> object:
        upload = self._begin(Options(expires_in=lifetime, max_downloads=cap), announced, sizes, kill)
        return multiple() if upload is None else upload.file_id

    @rule(target=file_ids, lifetime=LIFETIMES, cap=CAPS, sizes=FIRST_PARTS, kill=KILLS)
    def upload_in_parts(self, lifetime: int | None, cap: int | None, sizes: Sequence[Size], kill: Moment) -> object:
        upload = self._begin(Options(expires_in=lifetime, max_downloads=cap), 0, sizes, None)
        assert upload is not None
        return self._complete(upload, sorted(upload.parts), "", kill)

    def _begin(
        self, options: Options, announced: int | None, sizes: Sequence[Size], kill: Moment
    ) -> DirectUpload | None:
        datas = [bytes([number]) * _size(size) for number, size in enumerate(sizes, 1)]
        size = None if announced is None else min(MAX_FILE_SIZE, sum(map(len, datas)) + announced)
        records: list[Record] = []
        if not self._carry_out(lambda: records.append(self.direct.start("a.bin", "text/plain", options, size)), kill):
            return None
        [record] = records
        assert record.upload_id is not None
        upload = DirectUpload(
            record.file_id, record.upload_id, self.now, options.expires_in, options.max_downloads, size
        )
        self.uploads[record.file_id] = upload
        assert self._goes_on(upload)
        for number, data in enumerate(datas, 1):
            self._send(upload, number, data, None)
        return upload

    @rule(file_id=begun, number=NUMBERS, letter=st.sampled_from(b"abc"), size=SIZES, broken=st.booleans(), kill=KILLS)
    def send(self, file_id: str, number: int, letter: int, size: Size, broken: bool, kill: Moment) -> None:
        self._send(self.uploads[file_id], number, bytes([letter]) * _size(size), kill, broken=broken)

    def _send(self, upload: DirectUpload, number: int, data: bytes, kill: Moment, *, broken: bool = False) -> None:
        if self.store.links is not None:
            self._send_to_storage(upload, number, data)
            return
        stored: list[Part] = []

        def act() -> None:
            part = self.direct.begin_part(upload.file_id, upload.upload_id, number)
            try:
                part.write(data[:7])
                part.write(data[7:])
            except FileTooLarge:
                part.abort()
                raise
            if broken:
                part.abort()
            else:
                stored.append(part.finish())

        whole = sum(len(other) for at, (_, other) in upload.parts.items() if at != number) + len(data)
        limit = MAX_FILE_SIZE if upload.announced is None else upload.announced
        try:
            finished = self._carry_out(act, kill)
        except UnknownFile:
            assert upload.may_be_over(self.now) or upload.sealed_data is not None
            return
        except FileTooLarge:
            assert whole > limit
        else:
            if finished:
                assert whole <= limit
            else:
                with contextlib.suppress(UnknownFile):
                    stored += (part for part in self._stored(upload) if part.number == number)
            if stored and stored[0].etag != upload.parts.get(number, ("", b""))[0]:
                upload.parts[number] = stored[0].etag, data
        assert self._goes_on(upload) or upload.may_be_over(self.now) or upload.sealed_data is not None

    def _send_to_storage(self, upload: DirectUpload, number: int, data: bytes) -> None:
        """This does not involve the process, so there is nothing to kill."""
        try:
            url = self.direct.part_url(upload.file_id, upload.upload_id, number)
        except UnknownFile:
            assert upload.may_be_over(self.now)
            return
        assert url is not None
        answer = httpx.put(url, content=data, trust_env=False)
        if upload.sealed_data is not None:
            assert answer.status_code == 404
            return
        assert answer.status_code == 200
        upload.parts[number] = answer.headers["etag"].strip('"'), data
        assert self._goes_on(upload)

    @rule(
        target=file_ids,
        file_id=begun,
        left_out=st.none() | st.none() | NUMBERS,
        wrong=st.sampled_from(["", "", "", "", "order", "etag"]),
        kill=KILLS,
    )
    def complete(self, file_id: str, left_out: int | None, wrong: str, kill: Moment) -> object:
        upload = self.uploads[file_id]
        return self._complete(upload, [number for number in sorted(upload.parts) if number != left_out], wrong, kill)

    def _complete(self, upload: DirectUpload, numbers: Sequence[int], wrong: str, kill: Moment) -> object:
        file_id = upload.file_id
        parts = [(number, upload.parts[number][0]) for number in numbers]
        datas = [upload.parts[number][1] for number in numbers]
        whole = b"".join(datas)
        fits = bool(parts) and all(len(data) >= SMALL_PART for data in datas[:-1])
        if wrong == "order" and len(parts) > 1:
            parts.reverse()
            fits = False
        if wrong == "etag" and parts:
            parts[0] = parts[0][0], "0" * 32
            fits = False
        too_large = len(whole) > MAX_FILE_SIZE
        fits_announced = upload.announced in (None, len(whole))
        records: list[Record] = []
        try:
            finished = self._carry_out(
                lambda: records.append(self.direct.complete(file_id, upload.upload_id, parts)[0]), kill
            )
        except InvalidValue:
            assert not upload.may_be_over(self.now)
            assert upload.sealed_data is None
            assert not fits or not (too_large or fits_announced)
            assert self._goes_on(upload)
            return multiple()
        except FileTooLarge:
            assert upload.sealed_data is None
            assert fits
            assert too_large
            upload.gone = True
            assert not self._goes_on(upload)
            return multiple()
        except (UnknownFile, Expired):
            if upload.is_complete:
                assert self._check(file_id) is None
            else:
                assert upload.may_be_over(self.now)
                upload.gone = True
            return multiple()
        if upload.is_complete:
            # The same answer again.
            file = self._check(file_id)
            assert not finished or (file is not None and records[0].file_size == len(file.data))
            return multiple()
        if not finished:
            with contextlib.suppress(UnknownFile):
                self.shares.find(file_id)
                finished = True
        if finished:
            assert not upload.gone
            if upload.sealed_data is None:
                assert fits
                assert fits_announced
                assert not too_large
            upload.is_complete, data = True, whole if upload.sealed_data is None else upload.sealed_data
            expires_at = None if upload.lifetime is None else self.now + timedelta(seconds=upload.lifetime)
            self.model[file_id] = File(file_id, data, expires_at, upload.cap)
            assert self._check(file_id) is not None
            return file_id
        if upload.sealed_data is None and not self._goes_on(upload) and not upload.may_be_over(self.now):
            # The killed process had already decided.
            assert fits
            assert too_large or fits_announced
            upload.gone, upload.sealed_data = too_large, None if too_large else whole
        return multiple()

    @rule(target=begun, file_id=consumes(begun), kill=KILLS)
    def abort(self, file_id: str, kill: Moment) -> str:
        upload = self.uploads[file_id]
        try:
            finished = self._carry_out(lambda: self.direct.abort(file_id, upload.upload_id), kill)
        except UnknownFile:
            assert upload.may_be_over(self.now)
            if upload.is_complete:
                self._check(file_id)
            upload.gone = not upload.is_complete
            return file_id
        if upload.is_complete:
            assert not finished
            self._check(file_id)
        elif upload.sealed_data is None:
            upload.gone = not self._goes_on(upload)
            assert upload.gone or not finished
        else:
            # Only the next completion will tell.
            upload.gone, upload.doubtful = finished, True
        return file_id

    @precondition(lambda self: self.store.links is not None)
    @rule(file_id=file_ids, kill=KILLS)
    def seal(self, file_id: str, kill: Moment) -> None:
        finished = self._carry_out(lambda: seal(self.shares, file_id), kill)
        if self._check(file_id) is not None and finished:
            assert self.shares.find(file_id).record.sealed

    @rule(file_id=file_ids, redirected=st.booleans(), kill=KILLS)
    def download(self, file_id: str, redirected: bool, kill: Moment) -> None:
        file = self.model[file_id]
        received: list[bytes] = []

        def act() -> None:
            stored = self.shares.find(file_id)
            if redirected and self.store.links is not None:
                redirect(self.shares, stored)
                received.append(self.objects.read(raw_key(file_id)))
                return
            received.append(receive(self.shares, stored))

        before = set(file.counts)
        try:
            finished = self._carry_out(act, kill)
        except (UnknownFile, Expired):
            assert file.gone or file.doubtful or file.is_over(self.now)
            file.gone = True
            return
        except UsedUp:
            assert file.cap is not None
            assert max(before) >= file.cap
            file.counts = {count for count in before if count >= file.cap}
            return
        counted = {count + 1 for count in before if file.cap is None or count < file.cap}
        if finished:
            assert received == [file.data]
            assert counted, "one download more than the cap allows"
            file.counts = counted
        else:
            file.counts = before | counted
        self._check(file_id)

    @rule(file_id=file_ids, ends=st.tuples(st.integers(0, 40), st.integers(0, 40)))
    def look_into(self, file_id: str, ends: tuple[int, int]) -> None:
        file = self.model[file_id]
        start, stop = min(*ends, len(file.data)), min(max(ends), len(file.data))
        if start == stop or self._check(file_id) is None:
            return
        with contextlib.closing(self.shares.open(self.shares.find(file_id), start, stop)) as payload:
            assert b"".join(iter(lambda: payload.read(7), b"")) == file.data[start:stop]
        self._check(file_id)

    @rule(
        file_id=file_ids,
        lifetime=LIFETIMES,
        cap=CAPS,
        option=st.sampled_from(["expires_in", "max_downloads"]),
        kill=KILLS,
    )
    def change(self, file_id: str, lifetime: int | None, cap: int | None, option: str, kill: Moment) -> None:
        file = self.model[file_id]
        options = Options(expires_in=lifetime, max_downloads=cap)
        try:
            self._carry_out(lambda: self.shares.change(file_id, options, frozenset({option})), kill)
        except (UnknownFile, Expired):
            assert file.gone or file.doubtful or file.is_over(self.now)
            file.gone = True
            return
        with contextlib.suppress(UnknownFile, Expired):
            record = self.shares.find(file_id).record
            expires_at = None if lifetime is None else self.now + timedelta(seconds=lifetime)
            changed = (expires_at, file.cap) if option == "expires_in" else (file.expires_at, cap)
            # The old or the new values.
            allowed = {changed} if not self.killed else {changed, (file.expires_at, file.cap)}
            assert (record.expires_at, record.max_downloads) in allowed
            file.expires_at, file.cap = record.expires_at, record.max_downloads
        self._check(file_id)

    @rule(file_id=consumes(file_ids), kill=KILLS)
    def delete(self, file_id: str, kill: Moment) -> None:
        file = self.model[file_id]
        try:
            finished = self._carry_out(lambda: self.shares.delete(file_id), kill)
        except (UnknownFile, Expired):
            assert file.gone or file.doubtful or file.is_over(self.now)
            finished = True
        file.gone, file.doubtful = finished, True
        self._check(file_id)

    @rule(hours=st.sampled_from([0.1, 0.1, 1, 1, 3, 3, 30, 200]))
    def wait(self, hours: float) -> None:
        self.now += hours * HOUR

    @rule(kill=KILLS)
    def sweep(self, kill: Moment) -> None:
        self._carry_out(lambda: Sweep(self.shares).run(), kill)
        for file_id in self.model:
            self._check(file_id)

    @rule(kill=KILLS)
    def list(self, kill: Moment) -> None:
        pages: list[set[str]] = []

        def visible() -> None:
            pages.append({record.file_id for record in list_files(self.shares, "", 1000).files})

        self._carry_out(visible, kill)
        for listed in pages:
            assert listed == {file_id for file_id in self.model if self._check(file_id) is not None}

    @rule()
    def restart(self) -> None:
        self._restart()

    def teardown(self) -> None:
        for wait in SWEEPS:
            self.now += wait
            assert Sweep(self.shares).run().failed == 0
        damage: list[str] = []
        assert scrub(self.shares, damage.append), damage
        kept = {file_id for file_id in self.model if self._check(file_id) is not None}
        for file_id in kept:
            assert self._read(file_id) == self.model[file_id].data
            assert self.shares.find(file_id).record.sealed
        for folder in ("files/", "metadata/"):
            assert {key.rpartition("/")[2].partition(".")[0] for key in self.store.list(folder)} == kept
        # No parts, no raw objects, no staged files, and no duplicates.
        keys = self.objects.keys()
        assert len(keys) == len(set(keys))
        assert {key.partition("/")[0] for key in keys} <= {"files", "metadata", "counts", "expiries"}
        # Entries exist only for files that will be looked at.
        entries = {key.rpartition("/")[2] for key in self.store.list("expiries/")}
        assert entries <= kept
        assert entries >= {file_id for file_id in kept if self.model[file_id].expires_at is not None}

    def _restart(self) -> None:
        self.store.release()
        self.store.begin(undisturbed)
        self.shares = Shares(self.store, max_file_size=MAX_FILE_SIZE, clock=lambda: self.now, secret="x" * 16)
        self.direct = DirectUploads(self.shares)

    def _stored(self, upload: DirectUpload) -> Sequence[Part]:
        return self.direct.parts(upload.file_id, upload.upload_id)

    def _goes_on(self, upload: DirectUpload) -> bool:
        """Whether its parts can be listed. If so, they must match those that were sent."""
        if not upload.is_complete:
            with pytest.raises(UnknownFile):
                self.shares.find(upload.file_id)
        try:
            stored = self._stored(upload)
        except UnknownFile:
            return False
        assert not upload.gone
        assert [(part.number, part.size, part.etag) for part in stored] == [
            (number, len(data), etag) for number, (etag, data) in sorted(upload.parts.items())
        ]
        return True

    def _read(self, file_id: str) -> bytes:
        stored = self.shares.find(file_id)
        with contextlib.closing(self.shares.open(stored, 0, stored.record.file_size)) as payload:
            return b"".join(iter(lambda: payload.read(10**6), b""))

    def _carry_out(self, act: Callable[[], object], kill: Moment) -> bool:
        """Whether it finished; otherwise its process was killed, and a new one has replaced it."""
        self.killed = False
        if kill is None:
            act()
            return True
        number, after = kill
        self.store.begin(Kill(number, after=after))
        try:
            act()
        except Killed:
            self.killed = True
        finally:
            self._restart()
        return not self.killed

    def _check(self, file_id: str) -> File | None:
        """Compare a file with its model; None if it is not visible."""
        file = self.model[file_id]
        try:
            record = self.shares.find(file_id).record
        except (UnknownFile, Expired):
            assert file.gone or file.doubtful or file.is_over(self.now)
            file.gone = True
            return None
        assert not file.gone
        assert file.expires_at is None or file.expires_at > self.now
        assert record.download_count in file.counts
        assert (record.file_size, record.expires_at) == (len(file.data), file.expires_at)
        assert record.max_downloads == file.cap
        file.counts = {record.download_count}
        file.doubtful = False
        file.used_up_at = record.used_up_at
        assert (record.used_up_at is not None) == record.is_used_up
        return file


# Rules to leave out in order to run the others more often.
ORDINARY = ("upload", "change", "look_into", "list", "restart")
DIRECT = ("begin", "send", "complete", "upload_in_parts", "abort", "seal")


def prove(make_place: Callable[[], Place], effort: settings, without: Sequence[str] = ()) -> None:
    machine = type("FilesHere", (Files,), {"make_place": staticmethod(make_place), **dict.fromkeys(without)})
    run_state_machine_as_test(machine, settings=effort)


@pytest.fixture
def new_directory(small_parts: None, memory: Path) -> Iterator[Callable[[], Place]]:
    with tempfile.TemporaryDirectory(dir=memory) as place:

        def make() -> Place:
            root = Path(place) / str(uuid.uuid4())
            return Place(DirectoryStore(root), DirectoryObjects(root))

        yield make


@pytest.fixture(scope="module")
def small_parts_server() -> Iterator[S3Server]:
    with moto_with_small_parts() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture
def new_prefix(
    small_parts: None,
    small_parts_server: S3Server,
    configure: Callable[[str, str], None],
    s3_clients: SharedClients,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], Place]:
    client = small_parts_server.client()
    monkeypatch.setattr(clients, "Session", s3_clients.session)
    for name, value in small_parts_server.environment().items():
        configure(name, value)

    def make() -> Place:
        prefix = f"model/{uuid.uuid4()}"
        return Place(open_s3(BUCKET, prefix), BucketObjects(client, BUCKET, prefix))

    return make


def test_a_directory_behaves_as_the_model(new_directory: Callable[[], Place]) -> None:
    prove(new_directory, examples(40, steps=30))


def test_direct_uploads_to_a_directory_behave_as_the_model(new_directory: Callable[[], Place]) -> None:
    prove(new_directory, examples(30, steps=30), ORDINARY)


def test_a_bucket_behaves_as_the_model(new_prefix: Callable[[], Place]) -> None:
    prove(new_prefix, examples(4, steps=20))


def test_direct_uploads_to_a_bucket_behave_as_the_model(new_prefix: Callable[[], Place]) -> None:
    prove(new_prefix, examples(3, steps=20), ORDINARY)


# The first difference ends the search. With 100 examples, it was found in two of three runs: the examples depend on the
# loaded modules, because Hypothesis takes constants from them.
MANY = 3000


def _no_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("shared.storage.counting.counter.min", lambda *_numbers: 1, raising=False)
    patch.setattr(Record, "is_used_up", False)


def _every_part(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("shared.storage.directory.multipart.stored_parts", lambda _key, _parts, stored: stored)


def _no_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DirectUploads, "abort", lambda *_names: None)


def _parts_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Shares, "forget_parts", lambda *_names: None)


@pytest.mark.parametrize(
    ("spoil", "without"), [(_no_count, DIRECT), (_every_part, ORDINARY), (_no_end, ORDINARY), (_parts_left, ORDINARY)]
)
def test_what_differs_from_the_model_is_noticed(
    new_directory: Callable[[], Place],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pytest.MonkeyPatch], None],
    without: Sequence[str],
) -> None:
    # Otherwise, a state machine whose checks never run would pass.
    spoil(monkeypatch)
    with pytest.raises(AssertionError):
        prove(new_directory, examples(MANY, steps=30, shrink=False), without)
