"""The pages of the documentation, and their contents: tables, files, and shell sessions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
README = PAGES["README.md"]
# The only line of each session with an address. All other commands use the variable.
ADDRESS = "http://127.0.0.1:8080"
ADDRESS_LINE = f"URL={ADDRESS}"


def table(*header: str) -> list[list[str]]:
    """The cells of the only table with this header in all pages."""
    first = f"| {' | '.join(header)} |".replace("|  |", "| |")
    (page,) = [text for text in PAGES.values() if first in text.splitlines()]
    lines = page.splitlines()
    (start,) = [number for number, line in enumerate(lines) if line == first]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert {len(row) for row in rows} == {len(header)}
    return rows


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each fenced block of a page, including blocks in lists."""
    matches = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return [(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in matches]


def block(language: str, mark: str) -> str:
    """The only block in this language with this text, in all pages."""
    (text,) = [text for page in PAGES for kind, text in blocks(page) if kind == language and mark in text]
    return text


def session(page: str) -> Iterator[tuple[str, str]]:
    """The commands in the page's console blocks, each with the output below it."""
    for language, text in blocks(page):
        if language == "console":
            _, *parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
            for part in parts:
                command, _, output = part.partition("\n")
                yield command, output
