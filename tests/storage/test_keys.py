"""The key space, which outlives releases: keys of stored objects must never change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.storage import keys

FILE_ID = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
NEW_YEAR_IN_KIRITIMATI = datetime(2030, 1, 1, 0, 59, tzinfo=timezone(timedelta(hours=14)))


@pytest.mark.parametrize(
    ("key", "spelling"),
    [
        (keys.blob_key(FILE_ID), f"files/3f/{FILE_ID}.pickle"),
        (keys.record_key(FILE_ID), f"metadata/3f/{FILE_ID}.json"),
        (keys.cell_key(FILE_ID, 80), f"counts/{FILE_ID}/80.json"),
        (keys.entry_key(FILE_ID, NEW_YEAR_IN_KIRITIMATI), f"expiries/2029-12-31T10/{FILE_ID}"),
        (keys.raw_key(FILE_ID), f"raw/{FILE_ID}"),
        (keys.probe_key("name", NEW_YEAR_IN_KIRITIMATI), "probe/2029-12-31T10/name"),
        (keys.SECRET_KEY, "secret"),
    ],
)
def test_each_key_is_spelled_as_documented(key: str, spelling: str) -> None:
    assert key == spelling


@pytest.mark.parametrize(
    "key",
    [
        keys.record_key(FILE_ID),
        keys.cell_key(FILE_ID, 3),
        keys.entry_key(FILE_ID, NEW_YEAR_IN_KIRITIMATI),
        keys.raw_key(FILE_ID),
    ],
)
def test_a_key_says_which_file_it_belongs_to(key: str) -> None:
    assert keys.file_id_of(key) == FILE_ID


def test_entries_and_probes_of_an_hour_sort_after_all_of_the_hour_before() -> None:
    hour = datetime(2030, 5, 1, 10, tzinfo=UTC)
    before = hour - timedelta(seconds=1)
    assert keys.entry_key("ffffffff", before) < keys.entries_prefix(hour) < keys.entry_key("00000000", hour)
    assert keys.probe_key("ffffffff", before) < keys.probes_prefix(hour) < keys.probe_key("00000000", hour)
