"""Recognises events whose bodies a gateway has altered."""

from __future__ import annotations

from typing import Any

import pytest

from shared.http.exact_text import is_altered


def text(body: str, length: str | None) -> dict[str, Any]:
    headers = {} if length is None else {"content-length": length}
    return {"isBase64Encoded": False, "headers": headers, "body": body}


EXACT = {
    "ASCII": text("cafe", "4"),
    "UTF-8": text("café\n", "6"),
    "the sender's own U+FFFD": text("caf\N{REPLACEMENT CHARACTER}", "6"),
    "unknown length": text("café", None),
    "no length": text("café", "five"),
    "leading zeros": text("café", "005"),
    "empty": text("", "0"),
    "no body": {"isBase64Encoded": False, "headers": {"content-length": "0"}},
    "nothing at all": {},
    "nulls": {"isBase64Encoded": None, "headers": None, "body": None},
    "base64": {"isBase64Encoded": True, "headers": {"content-length": "5"}, "body": "Y2Fm6Qo="},
}
ALTERED = {
    # Five bytes, caf E9 LF; one of them became three.
    "Latin-1": text("caf\N{REPLACEMENT CHARACTER}\n", "5"),
    "unknown length": text("caf\N{REPLACEMENT CHARACTER}\n", None),
    "no length": text("caf\N{REPLACEMENT CHARACTER}\n", "²"),
    "shorter": text("cafe", "5"),
    "nothing left": text("", "5"),
    "more digits than Python reads": text("cafe", "9" * 5000),
}


@pytest.mark.parametrize("event", EXACT.values(), ids=EXACT.keys())
def test_text_that_fits_its_length_is_believed(event: dict[str, Any]) -> None:
    assert not is_altered(event)


@pytest.mark.parametrize("event", ALTERED.values(), ids=ALTERED.keys())
def test_text_that_does_not_fit_its_length_was_altered(event: dict[str, Any]) -> None:
    assert is_altered(event)
