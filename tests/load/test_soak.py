"""A short version of `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.load.soak import soak


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
def test_many_clients_at_once_lose_nothing(tmp_path: Path) -> None:
    report = soak(tmp_path, 1.5, 48, least=400)
    assert report["wrong"] == {}, report
    assert report["files checked"] > 5
