"""The use cases on a directory, with a clock that stands still until a test moves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from tests.clock import Clock
from tests.interposed import InterposedStore
from tests.sharing.shares import shares_over


@pytest.fixture(autouse=True)
def _passwords(cheap_passwords: None) -> None:
    """Hash passwords at the lowest cost, because that takes most of the time of tests with a password."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(data_directory: Path) -> Path:
    return data_directory


@pytest.fixture
def store(root: Path) -> InterposedStore:
    return InterposedStore(DirectoryStore(root))


@pytest.fixture
def shares(store: InterposedStore, clock: Clock) -> Shares:
    return shares_over(store, clock)
