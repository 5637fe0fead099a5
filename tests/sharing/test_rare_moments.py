"""Rare moments of housekeeping: hours that turn, files deleted while they are looked at."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import DamagedFile, StorageUnavailable
from shared.scrub import scrub
from shared.sharing import Shares, Stored
from tests.clock import DAY, START, Clock
from tests.interposed import InterposedStore, once_after
from tests.sharing.shares import contents, shares_over, upload
from tests.sharing.test_sweeping import sweep


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


def test_a_file_deleted_while_it_is_checked_is_no_damage(
    shares: Shares, store: InterposedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(shares)
    get = shares.records.get

    def get_and_delete(file_id: str) -> Stored:
        monkeypatch.undo()
        found = get(file_id)
        shares.delete(file_id)
        return found

    monkeypatch.setattr(shares.records, "get", get_and_delete)
    lines: list[str] = []
    assert scrub(shares, lines.append), lines


def test_a_password_hash_that_is_none_is_damage(shares: Shares) -> None:
    file_id = upload(shares, password="swordfish").file_id
    damaged = shares.records.update(file_id, lambda record: dataclasses.replace(record, password_hash="bogus"))
    with pytest.raises(DamagedFile):
        shares.authorise(damaged, "swordfish")


def test_an_outage_is_not_reported_as_damage(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(shares)

    def unavailable(*_arguments: object) -> None:
        raise StorageUnavailable("it does not answer")

    monkeypatch.setattr("shared.scrub.verify", unavailable)
    reported: list[str] = []
    with pytest.raises(StorageUnavailable):
        scrub(shares, reported.append)
    assert reported == []
