"""The cost of a sweep: a fixed number of storage calls for each due file, and none for other files."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.sweeping import PARALLEL, Sweep
from tests.clock import HOUR, Clock
from tests.sharing.shares import shares_over, upload

DUE = 60


class Counting:
    """An `ObjectStore` that counts calls. On S3, each call is a request of about 28 ms."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store
        self._guard = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.multipart = SimpleNamespace(abort=self._counted("abort", store.multipart.abort))

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if not callable(member):
            return member

        return self._counted(name, member)

    def _counted(self, name: str, member: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._guard:
                self.calls[name] += 1
            return member(*arguments, **options)

        return call


@pytest.fixture
def sweep_beside(tmp_path: Path) -> Callable[[int], Counter[str]]:
    """Sweeps `DUE` expired files beside `others`. Returns the calls that it made."""

    def sweep(others: int) -> Counter[str]:
        store, clock = Counting(DirectoryStore(tmp_path / str(others))), Clock()
        shares: Shares = shares_over(store, clock)
        for _ in range(others):
            upload(shares)
        for _ in range(DUE):
            upload(shares, expires_in=3600)
        clock.forward(2 * HOUR + timedelta(minutes=1))
        store.calls.clear()
        assert Sweep(shares).run().removed == DUE
        return store.calls

    return sweep


def test_twenty_thousand_files_are_due_for_less_than_a_function_may_run(
    sweep_beside: Callable[[int], Counter[str]],
) -> None:
    calls = sweep_beside(0)
    # Read and mark the record, and add the entry for its end, in one of 16 threads. Keys are deleted 1,000 at a time.
    for_each = sum(calls[name] for name in ("read", "put", "stat", "abort", "open")) / DUE
    assert for_each <= 3, calls
    assert calls["delete"] <= 3, calls
    assert 20_000 * for_each * 0.028 / PARALLEL < 900


def test_what_is_not_due_costs_nothing(sweep_beside: Callable[[int], Counter[str]]) -> None:
    assert sweep_beside(0) == sweep_beside(100)
