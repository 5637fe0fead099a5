"""The sweep of a server: every hour, one at a time, whatever happened to the last one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.bootstrap import Service
from shared.http.app import build_app
from shared.settings import Settings
from shared.sharing import Shares
from shared.sweeping import SWEEP_EVERY, sweep_hourly
from shared.tokens import Tokens
from tests.wire.server import WITHIN


class Hours:
    """Simulated pauses that end at once. After `pauses` of them, the server stops."""

    def __init__(self, pauses: int) -> None:
        self.pauses: list[float] = []
        self._left = pauses

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self._left -= 1
        return self._left < 0


def test_a_server_sweeps_soon_after_its_start_and_every_hour_from_then_on() -> None:
    hours, swept = Hours(3), list[int]()
    sweep_hourly(lambda: swept.append(len(hours.pauses)), hours.wait)
    assert swept == [1, 2, 3]
    first, *others = hours.pauses
    # Workers that start together do not sweep together.
    assert 0 <= first <= 60
    assert others == [SWEEP_EVERY] * 3


def test_while_a_sweep_runs_no_other_begins() -> None:
    hours = Hours(2)
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def sweep() -> None:
        begun.release()
        assert go_on.acquire(timeout=WITHIN)

    server = threading.Thread(target=sweep_hourly, args=(sweep, hours.wait))
    server.start()
    assert begun.acquire(timeout=WITHIN)
    # Although every pause ends at once.
    assert not begun.acquire(timeout=0.1)
    assert len(hours.pauses) == 1
    go_on.release()
    assert begun.acquire(timeout=WITHIN)
    go_on.release()
    server.join(WITHIN)
    assert len(hours.pauses) == 3


def test_a_sweep_that_fails_is_logged_and_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    hours, swept = Hours(3), list[int]()

    def sweep() -> None:
        swept.append(len(hours.pauses))
        if len(swept) < 3:
            raise RuntimeError(f"storage is gone, {len(swept)}")

    sweep_hourly(sweep, hours.wait)
    assert swept == [1, 2, 3]
    logged = [(record.levelname, str(record.exc_info and record.exc_info[1])) for record in caplog.records]
    assert logged == [("ERROR", "storage is gone, 1"), ("ERROR", "storage is gone, 2")]


def test_an_application_sweeps_for_as_long_as_it_runs(shares: Shares) -> None:
    def sweepers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "sweep"]

    async def run() -> list[threading.Thread]:
        app = build_app(service=Service(Settings(), Tokens(), shares))
        async with app.router.lifespan_context(app):
            return sweepers()

    before = sweepers()
    [sweeper] = [thread for thread in asyncio.run(run()) if thread not in before]
    sweeper.join(WITHIN)
    assert not sweeper.is_alive()
