"""Connections that arrive together are divided among several workers.

The first worker to wake up would accept most of them, and keep them for as long as a proxy or client does.
"""

from __future__ import annotations

import asyncio
import time

import pytest
import uvicorn
from uvicorn.server import ServerState

from local.protocols import MAX_PAUSES, PERIOD, Balance, BoundedH11, BoundedHttpTools


class Pauses:
    """Counts pauses instead of making them."""

    def __init__(self) -> None:
        self.made = 0
        self.balance = Balance(self._pause)

    def _pause(self) -> None:
        self.made += 1

    def accept(self, *connections: int, now: float = 0.0) -> int:
        """The number of pauses, if there are so many connections after each one that is accepted."""
        before = self.made
        for count in connections:
            self.balance.accepted(count, now)
        return self.made - before


def test_a_worker_pauses_for_others_while_its_connections_become_more() -> None:
    assert Pauses().accept(*range(1, 17)) == 15


def test_a_worker_does_not_pause_for_a_single_connection() -> None:
    pauses = Pauses()
    assert [pauses.accept(1, 1, 1, now=now * PERIOD) for now in range(4)] == [0, 0, 0, 0]


def test_a_worker_hardly_pauses_while_connections_come_and_go() -> None:
    pauses = Pauses()
    assert pauses.accept(1, 2, 3, 4) == 3
    assert pauses.accept(*[3, 4, 2, 4] * 100, now=PERIOD / 2) == 0


def test_a_worker_pauses_for_others_until_the_end_of_the_period() -> None:
    pauses = Pauses()
    assert pauses.accept(1) == 0
    assert pauses.accept(2, now=PERIOD) == 1


def test_the_pauses_for_a_crowd_are_limited() -> None:
    pauses = Pauses()
    assert pauses.accept(*range(1, 1000)) == MAX_PAUSES
    # They begin again in the next period.
    assert pauses.accept(*range(1000, 1010), now=PERIOD * 1.01) == 9


def test_a_pause_takes_time() -> None:
    balance, start = Balance(), time.monotonic()
    for connections in range(11):
        balance.accepted(connections, 0.0)
    assert time.monotonic() - start >= 10 * 50e-6


def test_a_worker_that_has_had_many_connections_pauses_again_later() -> None:
    pauses = Pauses()
    pauses.accept(*range(1, 33))
    assert pauses.accept(1, 2, 3, now=PERIOD * 1.01) == 2


class Accepted(asyncio.Transport):
    """A connection without a peer."""


@pytest.mark.parametrize("parser", [BoundedHttpTools, BoundedH11])
@pytest.mark.parametrize(("workers", "expected"), [(1, 0), (2, 2)])
def test_only_several_workers_pause(parser: type[BoundedHttpTools | BoundedH11], workers: int, expected: int) -> None:
    pauses, state = Pauses(), ServerState()
    counting = type("Counting", (parser,), {"balance": pauses.balance})
    config = uvicorn.Config(lambda: None, workers=workers, lifespan="off", log_config=None)
    config.load()

    async def accept() -> None:
        for _ in range(3):
            counting(config, state, {}, asyncio.get_running_loop()).connection_made(Accepted())

    asyncio.run(accept())
    assert pauses.made == expected
