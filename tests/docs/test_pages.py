"""Every page says whom it is for, has valid links, and has no example that no test runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import USED
from tests.pages import PAGES, ROOT, blocks


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_a_page_says_whom_it_is_for_and_is_no_book(page: str) -> None:
    assert PAGES[page].split("\n\n")[1].startswith("This page is for ")
    assert len(PAGES[page].splitlines()) < 250


LINKING = [*PAGES, "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md", "tests/README.md"]


@pytest.mark.parametrize("path", LINKING)
def test_what_a_page_links_to_is_there(path: str) -> None:
    """Files of this repository, and headings of the pages."""
    page = ROOT / path
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)|<img src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    for target in map("".join, targets):
        file, _, anchor = target.partition("#")
        destination = page.parent / file if file else page
        assert destination.exists(), target
        assert not anchor or anchor in anchors(destination), target


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub generates from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_block_is_run() -> None:
    """A test runs every example in a programming language or format, and finds it by these words."""
    for page in PAGES:
        for language, text in blocks(page):
            if language not in ("", "console") and page != "docs/aws.md":
                assert sum(kind == language and words in text for kind, words in USED) == 1, f"{page}\n{text}"
    # test_aws.py runs the commands of these.
    assert {language for language, _ in blocks("docs/aws.md")} == {"sh"}
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for language, words in USED:
        assert f'block("{language}", "{words}")' in sources
