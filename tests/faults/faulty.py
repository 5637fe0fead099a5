"""The API over storage that can go wrong, and what must be left of it in the end."""

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
# Hours by which everything that is over, or has no record, has been swept.
SWEEPS = (2, 27, 52, 77)


@dataclasses.dataclass
class Faulty:
    """The API over a store whose calls may go wrong, and the same store without that."""

    api: Api
    store: InterposedStore
    clock: Clock

    def shares(self, store: ObjectStore | None = None) -> Shares:
        return Shares(store or self.store.store, max_file_size=10**8, clock=self.clock, secret=SECRET)

    def settle(self) -> None:
        """Sweep as time goes by, until nothing is left that nobody wants."""
        self.store.begin(undisturbed)
        for hours in SWEEPS:
            self.clock.now = START + timedelta(hours=hours)
            assert Sweep(self.shares()).run().failed == 0
        damage: list[str] = []
        assert scrub(self.shares(), damage.append), damage

    def kept(self) -> set[str]:
        """IDs under which anything of a file is stored."""
        return _ids(self.store.store, "files/") | _ids(self.store.store, "metadata/")

    def entries(self) -> set[str]:
        """IDs that a sweep will look at."""
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

    # What waits between tries does so by this clock, and gives up at the same try each time.
    defaults = Records.__init__.__kwdefaults__
    assert defaults is not None
    for name, value in {"sleep": sleep, "monotonic": lambda: passed, "jitter": lambda: 1.0}.items():
        monkeypatch.setitem(defaults, name, value)
    shares = Shares(store, max_file_size=10**8, clock=clock, secret=SECRET)
    app = build_app(*ROUTERS, service=Service(Settings(), Tokens(), shares))
    return Faulty(Api(WholeApp(app, loop), SERVER, objects, never), store, clock)
