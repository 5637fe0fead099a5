"""The environment and the settings of this process, as if it had just been started."""

from __future__ import annotations

import os

import pytest

from shared import bootstrap


def unset_all(environment: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SHARE_", "AWS_", "POWERTOOLS_"))]:
        environment.delenv(name)


def forget_settings() -> None:
    bootstrap.settings.cache_clear()
    bootstrap.tokens.cache_clear()
    bootstrap.shares.cache_clear()
    bootstrap.proven_shares.cache_clear()
