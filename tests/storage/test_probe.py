"""Checking whether a store honours conditions before relying on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from shared.errors import StorageFull, StorageUnavailable
from shared.storage import probe
from shared.storage.contract import Ambiguous, NotSent, ObjectStore, TooSoon
from shared.storage.directory.store import DirectoryStore
from shared.storage.probe import discard_old, require_conditions
from shared.storage.s3.store import open_s3
from tests.interposed import InterposedStore, before, on_puts
from tests.odd_s3 import OddS3, Quirk, odd_s3
from tests.servers import S3Server
from tests.storage.backends import BUCKET


def left(store: ObjectStore) -> list[str]:
    return list(store.list("probe/"))


def test_a_store_that_honours_conditions_passes_and_nothing_is_left(store: ObjectStore) -> None:
    require_conditions(store)
    assert left(store) == []


@pytest.fixture
def odd(moto: S3Server, configure_aws: Callable[[Mapping[str, str]], None]) -> Iterator[OddS3]:
    with odd_s3(moto) as odd:
        configure_aws(odd.server.environment())
        yield odd


@pytest.fixture
def odd_store(odd: OddS3) -> ObjectStore:
    return open_s3(BUCKET, f"probe-test/{uuid.uuid4()}")


REFUSED = {
    Quirk.IGNORES_CONDITIONS: "ignores If-None-Match",
    Quirk.REFUSES_CONDITIONS: "does not implement If-Match and If-None-Match",
}


@pytest.mark.xdist_group("moto")
@pytest.mark.parametrize(("quirk", "said"), REFUSED.items())
def test_a_server_that_does_not_is_refused_and_nothing_is_left(
    odd: OddS3, odd_store: ObjectStore, quirk: Quirk, said: str
) -> None:
    odd.quirks = {quirk}
    with pytest.raises(StorageUnavailable, match=said) as refusal:
        require_conditions(odd_store)
    assert refusal.value.lasting
    assert left(odd_store) == []


@pytest.mark.xdist_group("moto")
def test_a_server_that_ignores_only_if_match_is_refused(
    odd: OddS3, odd_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = odd.answer

    def ignore(method: str, target: str, headers: dict[str, str], body: bytes) -> object:
        return answer(method, target, {name: value for name, value in headers.items() if name != "If-Match"}, body)

    monkeypatch.setattr(odd, "answer", ignore)
    with pytest.raises(StorageUnavailable, match="ignores If-Match "):
        require_conditions(odd_store)
    assert left(odd_store) == []


@pytest.mark.xdist_group("moto")
@pytest.mark.parametrize("quirk", [Quirk.RECREATES, Quirk.EQUAL_PARTS])
def test_a_server_that_only_recreates_deleted_keys_is_served(odd: OddS3, odd_store: ObjectStore, quirk: Quirk) -> None:
    odd.quirks = {quirk}
    require_conditions(odd_store)
    assert left(odd_store) == []


@pytest.mark.xdist_group("moto")
def test_a_server_that_takes_few_writes_of_a_key_is_asked_slowly(
    odd: OddS3, odd_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 proves nothing about conditions."""
    monkeypatch.setattr(probe, "time", SimpleNamespace(sleep=lambda _seconds: odd.rest()))
    odd.quirks = {Quirk.ONE_WRITE_AT_A_TIME}
    require_conditions(odd_store)
    assert set(odd.refused) == {429}
    odd.quirks |= {Quirk.IGNORES_CONDITIONS}
    with pytest.raises(StorageUnavailable) as refusal:
        require_conditions(odd_store)
    assert refusal.value.lasting


UNANSWERED = {
    "not sent": before(NotSent("probe", "connection refused")),
    "answer lost": before(Ambiguous("probe")),
    "too soon": before(TooSoon("probe")),
    "unavailable": before(StorageUnavailable("no")),
}


@pytest.mark.parametrize("fault", UNANSWERED.values(), ids=UNANSWERED.keys())
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_no_answer_is_no_proof_and_may_be_asked_for_again(
    directory: DirectoryStore, monkeypatch: pytest.MonkeyPatch, number: int, fault: Callable[..., str]
) -> None:
    monkeypatch.setattr(probe, "_PAUSE", 0)
    store = InterposedStore(directory, on_puts(dict.fromkeys(range(number, number + 10), fault)))
    with pytest.raises(StorageUnavailable) as refusal:
        require_conditions(store)
    assert not refusal.value.lasting


def test_a_full_store_is_served_since_it_takes_no_write_that_could_be_lost(
    directory: DirectoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    require_conditions(InterposedStore(directory, on_puts(otherwise=before(StorageFull()))))
    assert "storage is full" in caplog.text


def test_what_an_interrupted_probe_left_is_removed_by_its_age(directory: DirectoryStore) -> None:
    with pytest.raises(StorageUnavailable):
        require_conditions(InterposedStore(directory, on_puts({2: before(StorageUnavailable("no"))})))
    assert len(left(directory)) == 1
    now = datetime.now(UTC)
    assert discard_old(directory, now - timedelta(hours=1)) == 0
    assert discard_old(directory, now + timedelta(hours=1)) == 1
    assert left(directory) == []
