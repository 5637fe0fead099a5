"""The accent colour of the pages as a style sheet. Any colour is made legible on light and dark backgrounds."""

from __future__ import annotations

import re

# Between text and its background (WCAG 2.2, success criterion 1.4.3).
LEAST_CONTRAST = 4.5

_STEPS = 50
_NAME = re.compile(r"accent-([0-9a-f]{6})\.css")

Colour = tuple[int, int, int]
# --paper and --card in tokens.css, and the colours to mix in so that the accent stands out from them.
LIGHT: tuple[str, str] = ("#f6f5f1", "#ffffff")
DARK: tuple[str, str] = ("#121317", "#1b1d23")
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def sheet_name(accent: str) -> str:
    """The name of the style sheet for a colour `#rrggbb`."""
    return f"accent-{accent[1:]}.css"


def sheet(name: str) -> bytes | None:
    """The style sheet with this name; None if the name is not of an accent colour."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    accent = _colour(match[1])
    light, dark = (_rule(accent, *scheme) for scheme in ((LIGHT, _BLACK, 0.09), (DARK, _WHITE, 0.16)))
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}".encode()


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _rule(accent: Colour, grounds: tuple[str, str], toward: Colour, share: float) -> str:
    """The accent for one scheme, mixed with as little black or white as it needs, and the tint of marked areas."""
    paper, card = (_colour(ground[1:]) for ground in grounds)
    for step in range(_STEPS + 1):
        shown = _mix(accent, toward, step / _STEPS)
        tint = _mix(card, shown, share)
        if all(contrast(shown, ground) >= LEAST_CONTRAST for ground in (paper, card, tint)):
            break
    return f":root{{--accent:{_text(shown)};--tint:{_text(tint)}}}"


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(colour: Colour) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (each / 255 for each in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _colour(digits: str) -> Colour:
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _text(colour: Colour) -> str:
    return f"#{bytes(colour).hex()}"
