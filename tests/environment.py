"""The environment and the settings of this process, as if it had just started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest

from shared.bootstrap import Service
from shared.settings import Settings


def unset_all(environment: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SHARE_", "AWS_", "POWERTOOLS_"))]:
        environment.delenv(name)


def service() -> Service:
    """The service that the environment describes, without a check of its storage."""
    return Service.open(Settings.from_environment(), reads_only=True)


class Questions(Mapping[str, str]):
    """An empty environment that records which variables are read."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
