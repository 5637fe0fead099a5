"""Joins a script or a style sheet with all that it imports, so that a page fetches one file of each and not thirty.

On AWS, each request runs a function, and a new account runs only a few at once. Sources must import in lines of this
form, and export constants, functions and classes where they are declared:

    import { one, two } from "./numbers.js";
    @import "frame.css";
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import (?:\{(?P<names>[^}]*)\} from )?"\./(?P<source>[\w-]+\.js)";$', re.MULTILINE)
_SHEET_IMPORT = re.compile(r'^@import "(?P<source>[\w-]+\.css)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function\*?|class) ([\w$]+))", re.MULTILINE)
_OTHER = re.compile(r"^[ \t]*@?(?:import|export)\s.*", re.MULTILINE)


def bundle_script(name: str, sources: Mapping[str, str]) -> str:
    """A script that needs no other. It exports the same as its source. Raises `ValueError` for sources of other forms.

    Each module that it imports becomes a function that runs once and returns what the module exports.
    """
    *imported, _ = _in_order(name, sources, _IMPORT)
    # Only to refuse other forms: its exports stay.
    _body(name, sources[name])
    if not imported:
        return sources[name]
    functions = [_as_function(module, sources[module]) for module in imported]
    return "".join(["const _modules = {};\n", *functions, _IMPORT.sub(_from_bundle, sources[name])])


def bundle_sheet(name: str, sources: Mapping[str, str]) -> str:
    """A style sheet with those that it imports before it, each once. Raises `ValueError` for sources of other forms."""
    return "".join(_body(sheet, sources[sheet]) for sheet in _in_order(name, sources, _SHEET_IMPORT))


def _in_order(name: str, sources: Mapping[str, str], imports: re.Pattern[str]) -> list[str]:
    """A source and all that it imports, in the order in which a browser would run them."""
    order: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name} imports itself")
        if name not in order:
            for match in imports.finditer(sources[name]):
                add(match["source"], (*above, name))
            order.append(name)

    add(name, ())
    return order


def _as_function(name: str, source: str) -> str:
    exported = ", ".join(_EXPORT.findall(source))
    return f'_modules["{name}"] = (() => {{\n{_body(name, source)}\nreturn {{ {exported} }};\n}})();\n'


def _body(name: str, source: str) -> str:
    """A source without imports and exports."""
    body = _SHEET_IMPORT.sub("", _EXPORT.sub("", _IMPORT.sub(_from_bundle, source)))
    if other := _OTHER.search(body):
        raise ValueError(f"{name} cannot be bundled: {other[0]}")
    return body


def _from_bundle(match: re.Match[str]) -> str:
    names = match["names"]
    return "" if names is None else f'const {{{names.replace(" as ", ": ")}}} = _modules["{match["source"]}"];'
