"""Records with contention and lost answers: changed exactly once, or reported with the correct outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec import structs

from shared.errors import Contended, OutcomeUnknown, StorageFull, StorageUnavailable, UnknownFile
from shared.storage import documents as module
from shared.storage.contract import AlreadyExists, Ambiguous, Changed, NotFound, NotSent
from shared.storage.directory.store import DirectoryStore
from shared.storage.documents import BACKOFF_BASE, BACKOFF_CAP, REMEMBER_WRITES_FOR, RETRY_FOR
from shared.storage.keys import record_key
from shared.storage.records import Record, Records, Stored
from tests.interposed import Fault, InterposedStore, after, before, on_puts, preceded_by
from tests.storage.samples import FILE_ID, NOW, downloaded, record

KEY = record_key(FILE_ID)
MEMORY = 6  # writes
LOST = Ambiguous(KEY)


class Time:
    """Time that passes only during sleep. `now`, the time of day, can be set separately."""

    def __init__(self) -> None:
        self.now = NOW
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return 1_000 + sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)


class Setting:
    """A record in a directory, a faulty store in front of it, and other writers with direct access."""

    def __init__(self, directory: DirectoryStore) -> None:
        self.time = Time()
        self.faulty = InterposedStore(directory)
        self.records = self._records(self.faulty)
        self.directly = self._records(InterposedStore(directory))
        self.others = 0

    def _records(self, store: InterposedStore) -> Records:
        return Records(
            store,
            lambda: self.time.now,
            sleep=self.time.sleep,
            monotonic=self.time.monotonic,
            jitter=lambda: 1.0,
        )

    def update(self) -> Stored:
        return self.records.update(FILE_ID, downloaded)

    def by_others(self, times: int = 1, apart: float = 0) -> Callable[[], None]:
        """Returns an action in which others count downloads: the first one now, and each further one this many seconds
        later."""

        def count() -> None:
            for number in range(times):
                self.time.now += timedelta(seconds=apart if number else 0)
                self.directly.update(FILE_ID, downloaded)
                self.others += 1

        return count

    @property
    def count(self) -> int:
        return self.directly.get(FILE_ID).record.download_count


@pytest.fixture(autouse=True)
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few writes are remembered, so that tests can exceed that number."""
    monkeypatch.setattr(module, "REMEMBER_WRITES", MEMORY)


@pytest.fixture
def setting(directory: DirectoryStore) -> Setting:
    """A file without downloads."""
    setting = Setting(directory)
    setting.directly.create(record())
    return setting


@pytest.fixture
def nothing_yet(directory: DirectoryStore) -> Setting:
    return Setting(directory)


# Losing to others


def test_what_others_wrote_is_kept(setting: Setting) -> None:
    setting.faulty.around = on_puts({1: preceded_by(setting.by_others()), 2: preceded_by(setting.by_others(2))})
    assert setting.update().record.download_count == setting.count == 4
    assert setting.faulty.puts == 3


def test_a_record_that_was_read_before_saves_a_read(setting: Setting) -> None:
    seen = setting.records.get(FILE_ID)
    setting.faulty.calls.clear()
    setting.records.update(FILE_ID, downloaded, seen)
    assert (setting.count, setting.faulty.count("read")) == (1, 0)


def test_a_record_that_was_read_too_long_ago_is_read_again(setting: Setting) -> None:
    seen = setting.records.get(FILE_ID)
    setting.by_others()()
    assert setting.records.update(FILE_ID, downloaded, seen).record.download_count == setting.count == 2


def test_a_conflict_that_changed_nothing_is_tried_again(setting: Setting) -> None:
    setting.faulty.around = on_puts({1: before(Changed(KEY)), 2: before(Changed(KEY))})
    setting.update()
    assert (setting.count, setting.faulty.puts) == (1, 3)


def test_a_change_that_others_make_needless_is_not_written(setting: Setting) -> None:
    def once(old: Record) -> Record:
        return old if old.download_count else downloaded(old)

    setting.faulty.around = on_puts({1: preceded_by(setting.by_others())})
    assert setting.records.update(FILE_ID, once).record.download_count == setting.count == 1
    assert setting.faulty.puts == 1


def test_a_writer_that_always_loses_gives_up_in_time_and_changed_nothing(setting: Setting) -> None:
    setting.faulty.around = on_puts(otherwise=preceded_by(setting.by_others()))
    with pytest.raises(Contended) as contended:
        setting.update()
    assert contended.value.file_id == FILE_ID
    assert RETRY_FOR - BACKOFF_CAP <= sum(setting.time.pauses) < RETRY_FOR
    assert setting.count == setting.others


def test_waits_begin_at_none_double_up_to_a_cap_and_are_spread_at_random(directory: DirectoryStore) -> None:
    time = Time()
    jitter = iter([1.0, 0.25, 0.5] + [1.0] * 100)
    store = InterposedStore(directory, on_puts(otherwise=before(Changed(KEY))))
    Records(directory, lambda: NOW).create(record())
    records = Records(
        store,
        lambda: NOW,
        sleep=time.sleep,
        monotonic=time.monotonic,
        jitter=lambda: next(jitter),
    )
    with pytest.raises(Contended):
        records.update(FILE_ID, downloaded)
    base = BACKOFF_BASE
    assert time.pauses[:5] == pytest.approx([0, base * 0.25, base * 2 * 0.5, base * 4, base * 8])
    assert max(time.pauses) == BACKOFF_CAP


# Possible answers to a conditional put of a deleted key.
GONE = [NotFound, Changed]


@pytest.mark.parametrize("answer", GONE)
@pytest.mark.parametrize("uncertain", [False, True], ids=["at once", "after a lost answer"])
def test_a_file_deleted_meanwhile_is_not_made_again(
    setting: Setting, directory: DirectoryStore, answer: type[NotFound | Changed], uncertain: bool
) -> None:
    def delete() -> None:
        directory.delete(KEY)

    last = 2 if uncertain else 1
    setting.faulty.around = on_puts({1: before(LOST), last: before(answer(KEY), delete)})
    with pytest.raises(UnknownFile):
        setting.update()
    assert setting.faulty.puts == last
    assert list(directory.list("metadata/")) == []


@pytest.mark.parametrize("error", [StorageFull(), StorageUnavailable("no")], ids=["full", "unavailable"])
def test_a_fault_of_storage_is_not_tried_again(setting: Setting, error: Exception) -> None:
    setting.faulty.around = on_puts({1: before(error)})
    with pytest.raises(type(error)):
        setting.update()
    assert (setting.count, setting.faulty.puts) == (0, 1)


# Lost answers


def test_a_write_that_is_in_is_not_repeated(setting: Setting) -> None:
    setting.faulty.around = on_puts({1: after(LOST)})
    assert setting.update() == setting.directly.get(FILE_ID)
    assert setting.count == 1


def test_a_write_that_is_not_in_is_repeated(setting: Setting) -> None:
    setting.faulty.around = on_puts({1: before(LOST), 2: before(LOST)})
    setting.update()
    assert (setting.count, setting.faulty.puts) == (1, 3)


@pytest.mark.parametrize("times", [1, 2, MEMORY - 1])
def test_a_write_is_recognised_below_those_of_others(setting: Setting, times: int) -> None:
    setting.faulty.around = on_puts({1: after(LOST, setting.by_others(times))})
    assert setting.update().record.download_count == setting.count == times + 1


@pytest.mark.parametrize("times", [1, 2, MEMORY])
def test_a_write_that_is_not_among_those_of_others_is_repeated(setting: Setting, times: int) -> None:
    setting.faulty.around = on_puts({1: before(LOST, setting.by_others(times))})
    assert setting.update().record.download_count == setting.count == times + 1


def test_a_lost_answer_to_the_second_try_is_recognised_too(setting: Setting) -> None:
    setting.faulty.around = on_puts({1: preceded_by(setting.by_others()), 2: after(LOST, setting.by_others())})
    assert setting.update().record.download_count == setting.count == 3


# How many writes of others make the outcome unknown, and how many seconds apart.
FORGOTTEN = {
    "too many": (MEMORY + 1, 0),
    "too slow": (3, REMEMBER_WRITES_FOR),
}


@pytest.mark.parametrize("fault", [before, after], ids=["not in", "in"])
@pytest.mark.parametrize(("times", "apart"), FORGOTTEN.values(), ids=FORGOTTEN.keys())
def test_a_write_that_may_be_forgotten_has_an_unknown_outcome(
    setting: Setting, caplog: pytest.LogCaptureFixture, fault: Callable[..., Fault], times: int, apart: float
) -> None:
    setting.faulty.around = on_puts({1: fault(LOST, setting.by_others(times, apart))})
    with pytest.raises(OutcomeUnknown) as unknown:
        setting.update()
    assert unknown.value.file_id == FILE_ID
    assert setting.faulty.puts == 2
    assert [line.levelno for line in caplog.records] == [logging.ERROR]
    assert FILE_ID in caplog.text


def test_a_write_is_recognised_though_its_clock_is_slow(setting: Setting) -> None:
    """To others, it looks old at once. They must not forget it as long as they remember earlier writes."""
    slow = timedelta(minutes=5)

    def others() -> None:
        setting.time.now += slow
        setting.by_others()()

    setting.by_others(2)()
    setting.time.now -= slow
    setting.faulty.around = on_puts({1: after(LOST, others)})
    setting.update()
    assert setting.count == 4


def test_without_any_answer_the_outcome_is_unknown(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    setting.faulty.around = on_puts(otherwise=before(LOST))
    with pytest.raises(OutcomeUnknown):
        setting.update()
    assert setting.count == 0
    assert [line.levelno for line in caplog.records] == [logging.ERROR]
    assert sum(setting.time.pauses) < RETRY_FOR


def test_only_recent_writes_are_remembered_and_not_too_many(setting: Setting) -> None:
    setting.by_others(MEMORY + 3)()
    assert len(setting.update().record.writes) == MEMORY
    setting.time.now += timedelta(seconds=REMEMBER_WRITES_FOR + 1)
    assert len(setting.update().record.writes) == 1


# Once a write may have succeeded, later refusals do not prove the opposite.
REFUSALS = {"full": StorageFull(), "unavailable": StorageUnavailable("no")}


@pytest.mark.parametrize("fault", [before, after], ids=["not in", "in"])
@pytest.mark.parametrize("error", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_after_a_lost_answer_leaves_the_outcome_open(
    setting: Setting, caplog: pytest.LogCaptureFixture, fault: Callable[..., Fault], error: Exception
) -> None:
    setting.faulty.around = on_puts({1: fault(LOST), 2: before(error)})
    with pytest.raises(OutcomeUnknown) as unknown:
        setting.update()
    assert unknown.value.__cause__ is error
    assert setting.faulty.puts == 2
    assert FILE_ID in caplog.text


@pytest.mark.parametrize("fault", [before, after], ids=["not in", "in"])
def test_a_read_that_fails_after_a_lost_answer_leaves_the_outcome_open(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., Fault]
) -> None:
    def fail(key: str) -> tuple[bytes, str]:
        raise StorageUnavailable("no")

    seen = setting.records.get(FILE_ID)
    monkeypatch.setattr(setting.faulty, "read", fail)
    setting.faulty.around = on_puts({1: fault(LOST), 2: before(Changed(KEY))})
    with pytest.raises(OutcomeUnknown):
        setting.records.update(FILE_ID, downloaded, seen)


def test_a_refusal_after_a_lost_answer_that_was_cleared_up_is_certain(setting: Setting) -> None:
    """The first write certainly lost to another, so the second refusal alone decides."""
    setting.faulty.around = on_puts({1: before(LOST, setting.by_others()), 3: before(StorageFull())})
    with pytest.raises(StorageFull):
        setting.update()
    assert setting.count == 1


# A refused connection sent nothing.
UNSENT = NotSent(KEY, "connection refused")


def test_what_was_not_sent_is_sent_again(setting: Setting) -> None:
    setting.faulty.around = on_puts({1: before(UNSENT), 2: before(UNSENT)})
    assert setting.update().record.download_count == setting.count == 1
    assert setting.faulty.puts == 3


def test_what_is_never_sent_changed_nothing_and_is_not_blamed_on_others(setting: Setting) -> None:
    setting.faulty.around = on_puts(otherwise=before(UNSENT))
    with pytest.raises(StorageUnavailable, match="connection refused"):
        setting.update()
    assert setting.count == 0
    assert RETRY_FOR - BACKOFF_CAP <= sum(setting.time.pauses) < RETRY_FOR


def test_what_is_not_sent_after_a_lost_answer_leaves_the_outcome_open(setting: Setting) -> None:
    setting.faulty.around = on_puts({1: after(LOST)}, otherwise=before(UNSENT))
    with pytest.raises(OutcomeUnknown):
        setting.update()


# Creating


@pytest.mark.parametrize("fault", [before, after], ids=["not in", "in"])
@pytest.mark.parametrize("error", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_to_create_after_a_lost_answer_leaves_the_outcome_open(
    nothing_yet: Setting, fault: Callable[..., Fault], error: Exception
) -> None:
    nothing_yet.faulty.around = on_puts({1: fault(LOST), 2: before(error)})
    with pytest.raises(OutcomeUnknown):
        nothing_yet.records.create(record())


def test_a_record_that_was_not_sent_is_sent_again(nothing_yet: Setting) -> None:
    nothing_yet.faulty.around = on_puts({1: before(UNSENT), 2: before(UNSENT)})
    assert nothing_yet.records.create(record()) == nothing_yet.directly.get(FILE_ID)


def test_a_record_that_is_never_sent_is_not_there(nothing_yet: Setting, directory: DirectoryStore) -> None:
    nothing_yet.faulty.around = on_puts(otherwise=before(UNSENT))
    with pytest.raises(StorageUnavailable):
        nothing_yet.records.create(record())
    assert list(directory.list("metadata/")) == []


def test_a_record_is_created_once_though_the_answer_is_lost(nothing_yet: Setting) -> None:
    nothing_yet.faulty.around = on_puts({1: after(LOST)})
    created = nothing_yet.records.create(record())
    assert created == nothing_yet.directly.get(FILE_ID)
    assert created.record.revision == 1


def test_a_record_that_others_changed_since_is_recognised(nothing_yet: Setting) -> None:
    nothing_yet.faulty.around = on_puts({1: after(LOST, nothing_yet.by_others(3))})
    created = nothing_yet.records.create(record())
    assert created.record.download_count == nothing_yet.count == 3


@pytest.mark.parametrize("error", [LOST, Changed(KEY)], ids=["lost", "conflict"])
def test_a_record_that_is_not_in_is_created_again(nothing_yet: Setting, error: Exception) -> None:
    nothing_yet.faulty.around = on_puts({1: before(error), 2: before(error)})
    created = nothing_yet.records.create(record())
    assert created == nothing_yet.directly.get(FILE_ID)
    assert nothing_yet.faulty.puts == 3


def test_a_record_that_somebody_else_made_stays_theirs(nothing_yet: Setting) -> None:
    theirs = nothing_yet.directly.create(structs.replace(record(), original_name="theirs"))
    with pytest.raises(AlreadyExists):
        nothing_yet.records.create(record())
    assert nothing_yet.directly.get(FILE_ID) == theirs


@pytest.mark.parametrize(
    ("error", "reported"), [(Changed(KEY), Contended), (LOST, OutcomeUnknown)], ids=["conflicts", "no answers"]
)
def test_creating_is_given_up_in_time(
    nothing_yet: Setting, directory: DirectoryStore, error: Exception, reported: type[Exception]
) -> None:
    nothing_yet.faulty.around = on_puts(otherwise=before(error))
    with pytest.raises(reported):
        nothing_yet.records.create(record())
    assert RETRY_FOR - BACKOFF_CAP <= sum(nothing_yet.time.pauses) < RETRY_FOR
    assert list(directory.list("metadata/")) == []
