from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.storage.directory.store import DirectoryStore
from tests.api.client import DirectoryObjects
from tests.clock import Clock
from tests.faults.faulty import Faulty, over
from tests.interposed import InterposedStore


@pytest.fixture
def faulty(data_directory: Path, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    """The API on a directory. Without fsync, because these tests do not simulate power cuts."""
    monkeypatch.setattr("os.fsync", lambda _file: None)
    clock = Clock()
    store = InterposedStore(DirectoryStore(data_directory))
    return over(store, clock, loop, DirectoryObjects(data_directory), monkeypatch)
