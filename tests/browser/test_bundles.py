"""Bundles of scripts run as their modules would."""

from __future__ import annotations

from playwright.sync_api import Browser

from shared.http.bundles import bundle_script


def run(chromium: Browser, sources: dict[str, str]) -> object:
    """What the script `main.js` adds to the list `seen`."""
    page = chromium.new_page()
    try:
        page.evaluate("window.seen = []")
        page.add_script_tag(content=bundle_script("main.js", sources) + "\nwindow.done = true;", type="module")
        page.wait_for_function("window.done")
        return page.evaluate("seen")
    finally:
        page.close()


def test_modules_run_once_each_and_before_those_that_import_them(chromium: Browser) -> None:
    sources = {
        "main.js": 'import { twice } from "./twice.js";\nimport { add as plus } from "./add.js";\nimport "./last.js";\n'
        "seen.push(twice(plus(1, 2)));\n",
        "twice.js": 'import {\n  add,\n  ZERO,\n} from "./add.js";\n'
        'seen.push("twice");\nexport function twice(n) {\n  return add(add(ZERO, n), n);\n}\n',
        "add.js": 'seen.push("add");\nexport const ZERO = 0;\nexport const add = (a, b) => a + b;\n',
        "last.js": 'seen.push("last");\n',
    }
    assert run(chromium, sources) == ["add", "twice", "last", 6]


def test_modules_do_not_see_the_names_of_others(chromium: Browser) -> None:
    one = 'import { name as other } from "./two.js";\nconst secret = 1;\nexport const name = `one and ${other}`;\n'
    sources = {
        "main.js": 'import { name } from "./one.js";\nseen.push(name, typeof secret);\n',
        "one.js": one,
        "two.js": "const secret = 2;\nexport class Two {}\nexport async function wait() {}\n"
        "export function* count() {}\nexport const name = 'two';\n",
    }
    assert run(chromium, sources) == ["one and two", "undefined"]
