"""The accent colour: legible in both colour schemes, whatever the setting, and unchanged if it already is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.accent import DARK, LEAST_CONTRAST, LIGHT, Colour, contrast, sheet, sheet_name

TOKENS = Path(__file__).resolve().parents[2] / "functions" / "pages" / "static" / "tokens.css"


def colour(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def schemes(text: str, name: str) -> list[str]:
    """The values of a token in light and in dark."""
    colours = re.findall(rf"--{name}: ?(#[0-9a-f]+)", text)
    return [value if len(value) == 7 else "#" + "".join(2 * digit for digit in value[1:]) for value in colours]


def of(accent: str) -> str:
    content = sheet(sheet_name(accent))
    assert content is not None
    return content.decode()


def test_it_is_held_against_the_grounds_of_the_tokens() -> None:
    tokens = TOKENS.read_text()
    assert list(zip(schemes(tokens, "paper"), schemes(tokens, "card"), strict=True)) == [LIGHT, DARK]


@given(st.binary(min_size=3, max_size=3))
def test_any_accent_can_be_read_on_its_grounds_and_under_its_ink(digits: bytes) -> None:
    shown = of(f"#{digits.hex()}")
    inks = schemes(TOKENS.read_text(), "accent-ink")
    for scheme, accent, tint, ink in zip(
        (LIGHT, DARK), schemes(shown, "accent"), schemes(shown, "tint"), inks, strict=True
    ):
        for other in (*scheme, tint, ink):
            assert contrast(colour(accent), colour(other)) >= LEAST_CONTRAST, (accent, other)


@pytest.mark.parametrize("scheme", [0, 1])
def test_an_accent_that_can_be_read_stays_as_it_is(scheme: int) -> None:
    accent = schemes(TOKENS.read_text(), "accent")[scheme]
    assert schemes(of(accent), "accent")[scheme] == accent


def test_contrast_is_that_of_the_guidelines() -> None:
    # https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio; #767676 is the lightest grey that passes on white.
    assert contrast(colour("#000000"), colour("#ffffff")) == pytest.approx(21)
    assert contrast(colour("#767676"), colour("#ffffff")) == pytest.approx(4.54, abs=0.005)
