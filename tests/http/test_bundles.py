"""Bundles: a script or a style sheet with all that it imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.http.bundles import bundle_script, bundle_sheet
from shared.http.pages import Pages

PAGES = Pages(Path(__file__).resolve().parents[2] / "functions" / "pages")
SCRIPTS = {name: source.decode() for name, source in PAGES.sources.items() if name.endswith(".js")}


def test_a_bundle_exports_what_its_source_does() -> None:
    sources = {
        "main.js": 'import { one } from "./one.js";\nexport const two = 2 * one;\n',
        "one.js": "export const one = 1;\n",
    }
    assert "\nexport const two =" in bundle_script("main.js", sources)
    assert bundle_script("one.js", sources) == sources["one.js"]


@pytest.mark.parametrize(
    "line",
    [
        'import all from "./one.js";',
        'import * as all from "./one.js";',
        'import { one } from "./one.js"; one();',
        '  import { one } from "./one.js";',
        "export default 1;",
        "export { one };",
        "export let one = 1;",
        "export const { one } = two;",
    ],
)
@pytest.mark.parametrize("at", ["main.js", "part.js"])
def test_what_would_not_work_in_a_bundle_is_refused(at: str, line: str) -> None:
    sources = {"main.js": 'import "./part.js";\n', "part.js": "", "one.js": "export const one = 1;\n"}
    sources[at] += line + "\n"
    with pytest.raises(ValueError, match=re.escape(line)):
        bundle_script("main.js", sources)


def test_modules_that_import_each_other_are_refused() -> None:
    sources = {"main.js": 'import "./one.js";\n', "one.js": 'import "./two.js";\n', "two.js": 'import "./one.js";\n'}
    with pytest.raises(ValueError, match=r"one\.js imports itself"):
        bundle_script("main.js", sources)


def test_a_sheet_has_those_that_it_imports_before_it_and_once() -> None:
    sources = {
        "page.css": '@import "frame.css";\n@import "list.css";\n\n.page {}\n',
        "list.css": '@import "frame.css";\n\n.list {}\n',
        "frame.css": ".frame {}\n",
    }
    assert bundle_sheet("page.css", sources).split() == [".frame", "{}", ".list", "{}", ".page", "{}"]


@pytest.mark.parametrize("line", ['@import url("frame.css");', '@import "frame.css" print;'])
def test_other_imports_of_sheets_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)):
        bundle_sheet("page.css", {"page.css": line, "frame.css": ""})


def test_a_checkout_with_other_line_breaks_is_bundled_too(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "texts.json").write_text("{}")
    (tmp_path / "static" / "one.css").write_bytes(b".one {}\r\n")
    (tmp_path / "static" / "two.css").write_bytes(b'@import "one.css";\r\n.two {}\r\n')
    assert Pages(tmp_path).asset("two.css") == b".one {}\n.two {}\n"


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_our_scripts_can_be_bundled_and_import_only_what_others_export(name: str) -> None:
    """A browser refuses other names, but in a bundle they would be undefined."""
    bundle_script(name, SCRIPTS)
    for names, other in re.findall(r'^import \{([^}]*)\} from "\./([\w-]+\.js)"', SCRIPTS[name], re.MULTILINE):
        exported = set(
            re.findall(r"^export (?:async )?(?:const|function\*?|class) ([\w$]+)", SCRIPTS[other], re.MULTILINE)
        )
        assert {each.split(" as ")[0].strip() for each in names.split(",")} - {""} <= exported
