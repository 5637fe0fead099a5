"""The API on storage with faults, and the expected state afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import NoReturn

import pytest

from functions.app import ROUTERS
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.scrub import scrub
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.contract import ObjectStore
from shared.storage.records import Records
from shared.sweeping import Sweep
from shared.tokens import Tokens
from tests.api.client import SERVER, Api, Objects, WholeApp
from tests.clock import START, Clock
from tests.interposed import InterposedStore, undisturbed

SECRET = "x" * 16
# By these hours, sweeps have removed everything that has expired or has no record.
SWEEPS = (2, 27, 52, 77, 102)


@dataclasses.dataclass
class Faulty:
    """The API on a store with faults, and access to the same store without them."""

    api: Api
    store: InterposedStore
    clock: Clock

    def shares(self, store: ObjectStore | None = None) -> Shares:
        return Shares(store or self.store.store, max_file_size=10**8, clock=self.clock, secret=SECRET)

    def settle(self) -> None:
        """Sweep repeatedly with later clocks, until everything unneeded is removed."""
        self.store.begin(undisturbed)
        for hours in SWEEPS:
            self.clock.now = START + timedelta(hours=hours)
            assert Sweep(self.shares()).run().failed == 0
        damage: list[str] = []
        assert scrub(self.shares(), damage.append), damage

    def kept(self) -> set[str]:
        """The IDs of all stored blobs and records."""
        return _ids(self.store.store, "files/") | _ids(self.store.store, "metadata/")

    def entries(self) -> set[str]:
        """The IDs in the expiry index, which a sweep will look at."""
        return _ids(self.store.store, "expiries/")


def _ids(store: ObjectStore, folder: str) -> set[str]:
    return {key.rpartition("/")[2].partition(".")[0] for key in store.list(folder)}


def over(
    store: InterposedStore,
    clock: Clock,
    loop: asyncio.AbstractEventLoop,
    objects: Objects,
    monkeypatch: pytest.MonkeyPatch,
) -> Faulty:
    def never(_name: str, _value: str) -> NoReturn:
        raise AssertionError("these settings are fixed")

    passed = 0.0

    def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    # Retries wait by this clock, so they give up at the same attempt in every run.
    defaults = Records.__init__.__kwdefaults__
    assert defaults is not None
    for name, value in {"sleep": sleep, "monotonic": lambda: passed, "jitter": lambda: 1.0}.items():
        monkeypatch.setitem(defaults, name, value)
    shares = Shares(store, max_file_size=10**8, clock=clock, secret=SECRET)
    app = build_app(*ROUTERS, service=Service(Settings(), Tokens(), shares))
    return Faulty(Api(WholeApp(app, loop), SERVER, objects, never), store, clock)
