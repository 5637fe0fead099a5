"""Everything that can be done with files, in any order and with a process that may be killed at any step, compared with
a model of it in memory.

A rule is one use case. It is carried out by `_carry_out`, which kills the process where the test wants it, and then the
model is told what has happened, or may have: `File.counts` are all the counts that a client could have to accept.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    multiple,
    rule,
    run_state_machine_as_test,
)

from shared.errors import Expired, UnknownFile, UsedUp
from shared.options import Options
from shared.scrub import scrub
from shared.sharing import KEEP_USED_UP_FOR, Shares, is_used_up
from shared.storage.local import LocalStore
from shared.storage.objects import ObjectStore
from shared.storage.s3 import open_s3
from shared.sweeping import Sweep
from tests.api.client import Objects
from tests.conftest import BUCKET
from tests.faults.interposed import InterposedStore, Kill, Killed, undisturbed
from tests.properties.effort import examples

T = TypeVar("T")

START = datetime(2030, 5, 1, 12, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Until all that is over has been looked at, what has no record been found, waited for and removed.
SWEEPS = (2 * HOUR, 25 * HOUR, 25 * HOUR, 25 * HOUR)

DATA = st.binary(max_size=40) | st.sampled_from([b"", b".", b"\x80\x04\x8e", bytes(3000)])
LIFETIMES = st.none() | st.sampled_from([1, 3600, 100_000])
CAPS = st.none() | st.integers(1, 3)
# Nothing, or the number of a call to the store and whether the process ends before or after it.
KILLS = st.none() | st.tuples(st.integers(0, 7), st.booleans())

Moment = tuple[int, bool] | None


@dataclass
class File:
    """What a client knows of a file that it has seen."""

    file_id: str
    data: bytes
    expires_at: datetime | None
    cap: int | None
    counts: set[int] = field(default_factory=lambda: {0})
    gone: bool = False
    """Known to be; else it may be only once it is `over`."""
    doubtful: bool = False
    """A deletion was killed, so it may be gone."""
    used_up_at: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        if self.expires_at is not None and self.expires_at <= now:
            return True
        return self.used_up_at is not None and self.used_up_at + KEEP_USED_UP_FOR <= now


class Files(RuleBasedStateMachine):
    """One store, used by one process after another."""

    make_store: Callable[[], ObjectStore]

    def __init__(self) -> None:
        super().__init__()
        self.store = InterposedStore(type(self).make_store())
        self.now = START
        self.model: dict[str, File] = {}
        self.kills = 0
        self._restart()

    known = Bundle("known")

    @rule(target=known, data=DATA, lifetime=LIFETIMES, cap=CAPS, kill=KILLS, cut=st.integers(0, 40))
    def upload(self, data: bytes, lifetime: int | None, cap: int | None, kill: Moment, cut: int) -> object:
        ids: list[str] = []

        def act() -> None:
            incoming = self.shares.begin_upload()
            ids.append(incoming.file_id)
            incoming.write(data[:cut])
            incoming.write(data[cut:])
            incoming.finish("a.bin", "text/plain", Options(expires_in=lifetime, max_downloads=cap))

        finished = self._carry_out(act, kill)
        expires_at = None if lifetime is None else self.now + timedelta(seconds=lifetime)
        if ids and not finished:
            # Whole, or not there at all.
            with contextlib.suppress(UnknownFile):
                self.shares.find(ids[0])
                finished = True
        if not finished:
            return multiple()
        self.model[ids[0]] = File(ids[0], data, expires_at, cap)
        self._check(ids[0])
        return ids[0]

    @rule(file_id=known, kill=KILLS)
    def download(self, file_id: str, kill: Moment) -> None:
        file = self.model[file_id]
        received: list[bytes] = []

        def act() -> None:
            found = self.shares.find(file_id)
            with contextlib.closing(self.shares.download(found, 0, len(file.data))) as payload:
                received.append(b"".join(iter(lambda: payload.read(16), b"")))

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

    @rule(file_id=known, ends=st.tuples(st.integers(0, 40), st.integers(0, 40)))
    def look_into(self, file_id: str, ends: tuple[int, int]) -> None:
        file = self.model[file_id]
        start, stop = min(*ends, len(file.data)), min(max(ends), len(file.data))
        if start == stop or self._check(file_id) is None:
            return
        with contextlib.closing(self.shares.open(self.shares.find(file_id), start, stop)) as payload:
            assert b"".join(iter(lambda: payload.read(7), b"")) == file.data[start:stop]
        self._check(file_id)

    @rule(
        file_id=known, lifetime=LIFETIMES, cap=CAPS, given=st.sampled_from(["expires_in", "max_downloads"]), kill=KILLS
    )
    def change(self, file_id: str, lifetime: int | None, cap: int | None, given: str, kill: Moment) -> None:
        file = self.model[file_id]
        options = Options(expires_in=lifetime, max_downloads=cap)
        try:
            self._carry_out(lambda: self.shares.change(file_id, options, frozenset({given})), kill)
        except (UnknownFile, Expired):
            assert file.gone or file.doubtful or file.is_over(self.now)
            file.gone = True
            return
        with contextlib.suppress(UnknownFile, Expired):
            record = self.shares.find(file_id).record
            expires_at = None if lifetime is None else self.now + timedelta(seconds=lifetime)
            wanted = (expires_at, file.cap) if given == "expires_in" else (file.expires_at, cap)
            # The old or the new.
            allowed = {wanted} if not self.killed else {wanted, (file.expires_at, file.cap)}
            assert (record.expires_at, record.max_downloads) in allowed
            file.expires_at, file.cap = record.expires_at, record.max_downloads
        self._check(file_id)

    @rule(file_id=consumes(known), kill=KILLS)
    def delete(self, file_id: str, kill: Moment) -> None:
        file = self.model[file_id]
        try:
            finished = self._carry_out(lambda: self.shares.delete(file_id), kill)
        except (UnknownFile, Expired):
            assert file.gone or file.doubtful or file.is_over(self.now)
            finished = True
        file.gone, file.doubtful = finished, True
        self._check(file_id)

    @rule(hours=st.sampled_from([0.1, 1, 3, 30]))
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
        self._carry_out(lambda: pages.append({record.file_id for record in self.shares.page("", 1000).files}), kill)
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
        for folder in ("files/", "metadata/"):
            assert {key.rpartition("/")[2].partition(".")[0] for key in self.store.list(folder)} == kept
        # Entries are of files that will be looked at.
        entries = {key.rpartition("/")[2] for key in self.store.list("expiries/")} - {"merge"}
        assert entries <= kept
        assert entries >= {file_id for file_id in kept if self.model[file_id].expires_at is not None}

    def _restart(self) -> None:
        self.store.release()
        self.store.begin(undisturbed)
        self.shares = Shares(self.store, max_file_size=10_000, clock=lambda: self.now, secret="x" * 16)

    def _carry_out(self, act: Callable[[], object], kill: Moment) -> bool:
        """Whether it was done; else the process was killed while doing it, and another one has taken its place."""
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
        """Compare a file with its model; None if it is not to be seen."""
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
        assert (record.used_up_at is not None) == is_used_up(record)
        return file


def prove(make_store: Callable[[], ObjectStore], effort: settings) -> None:
    machine = type("FilesHere", (Files,), {"make_store": staticmethod(make_store)})
    run_state_machine_as_test(machine, settings=effort)


def test_a_directory_behaves_as_the_model(tmp_path: Path) -> None:
    prove(lambda: LocalStore(tmp_path / str(uuid.uuid4())), examples(40, steps=30))


def test_a_bucket_behaves_as_the_model(in_bucket: Objects) -> None:
    prove(lambda: open_s3(BUCKET, f"model/{uuid.uuid4()}"), examples(4, steps=20))


def test_what_differs_from_the_model_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Else a machine whose checks never run would pass as well.
    monkeypatch.setattr("shared.storage.counts.min", lambda *_numbers: 1, raising=False)
    monkeypatch.setattr("shared.sharing.is_used_up", lambda _record: False)
    with pytest.raises(AssertionError):
        prove(lambda: LocalStore(tmp_path / str(uuid.uuid4())), examples(100, steps=30, shrink=False))
