"""Finds the functions to emulate: the output of `make build`, or the source tree."""

from __future__ import annotations

import filecmp
import functools
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.intrinsics import InvalidTemplate
from local.template import Template, read

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".aws-sam" / "build"

# Lambda's Python runtime provides these, so the build omits them.
# https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
PROVIDED = ("awslambdaric", "boto3")

# The Python that `make build` compiles for, with those packages.
BUILDER = ROOT / ".venv-sam" / "bin" / "python"
_DESCRIBE = """
import importlib.machinery, json, sys
print(json.dumps([importlib.machinery.EXTENSION_SUFFIXES[0], "%d.%d" % sys.version_info[:2], sys.path[1:]]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python to run functions with: the suffix of its extension modules, and its search path for packages."""

    command: str
    suffix: str
    version: str
    path: tuple[str, ...]


class Unfit(Exception):
    """The functions cannot run here; the message says why."""


def load(folder: Path) -> Template:
    """Load the template of a folder whose functions can all run here. Raises `Unfit` and `InvalidTemplate`."""
    template = read(folder / "template.yaml")
    for function in template.functions.values():
        if not function.code.is_dir():
            raise Unfit(f"{function.name} has no folder {function.code}")
    interpreter_for(template)
    return template


def choose(folder: Path | None = None) -> tuple[Path, Template, str]:
    """This folder, or else the build if it can run here and is current, or else the source tree; with the reason."""
    if folder is not None:
        return folder, load(folder), f"from {folder}"
    why = "no build"
    if BUILD.is_dir():
        try:
            template = load(BUILD)
            require_current(BUILD, template)
            return BUILD, template, "from the build"
        except (Unfit, InvalidTemplate) as error:
            why = str(error)
    return ROOT, load(ROOT), f"from the source tree ({why})"


def require_current(folder: Path, template: Template) -> None:
    """Raise `Unfit` if the source tree has changed since this folder was built."""
    code = next(iter(template.functions.values())).code
    sources = [path for name in ("functions", "shared") for path in (ROOT / name).rglob("*.*") if path.suffix != ".pyc"]
    for source in (path for path in sources if not path.name.startswith("requirements.")):
        built = code / source.relative_to(ROOT)
        if not built.is_file() or not filecmp.cmp(source, built):
            raise Unfit(f"the build has another {source.relative_to(ROOT)}")
    # The build rewrites the template.
    if (folder / "template.yaml").stat().st_mtime < (ROOT / "template.yaml").stat().st_mtime:
        raise Unfit("the build is older than template.yaml")


def is_built(folder: Path, template: Template) -> bool:
    """Whether each function has its own folder with all its packages."""
    return all(function.code != folder.resolve() for function in template.functions.values())


def interpreter_for(template: Template) -> Interpreter:
    """The Python that can load the functions' extension modules: this one, or else that of `make build`.

    Raises `Unfit` if neither can.
    """
    codes = {function.code for function in template.functions.values()}
    # The suffix of an extension module follows the first dot.
    built_for = {f".{path.name.partition('.')[2]}" for code in codes for path in code.glob("*/*.cpython-*.so")}
    available = set()
    for candidate in filter(None, map(_interpreter, (sys.executable, str(BUILDER)))):
        if built_for <= {candidate.suffix}:
            return candidate
        available.add(candidate.suffix)
    versions, here = (
        ", ".join(sorted(suffix.strip(".").removesuffix(".so") for suffix in suffixes))
        for suffixes in (built_for, available)
    )
    raise Unfit(f"the build is for {versions}, but this machine has {here}")


@functools.cache
def _interpreter(command: str) -> Interpreter | None:
    """The Python that this command runs, if it is installed."""
    try:
        run = subprocess.run([command, "-c", _DESCRIBE], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    suffix, version, path = json.loads(run.stdout)
    return Interpreter(command, suffix, version, tuple(path))


def link_provided(folder: Path, interpreter: Interpreter) -> None:
    """Link the interpreter's copies of the packages that Lambda provides into a folder. Raises `Unfit`."""
    for distribution in _with_requirements(PROVIDED, interpreter):
        tops = {file.parts[0] for file in distribution.files or () if not file.parts[0].startswith("..")}
        for top in tops - {"__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))


def _with_requirements(names: tuple[str, ...], interpreter: Interpreter) -> Iterator[importlib.metadata.Distribution]:
    waiting, seen = list(names), set(names)
    while waiting:
        name = waiting.pop()
        distribution = next(iter(importlib.metadata.distributions(name=name, path=list(interpreter.path))), None)
        if distribution is None:
            raise Unfit(f"{interpreter.command} has no {name}")
        yield distribution
        for requirement in distribution.requires or ():
            match = re.match(r"[\w.-]+", requirement)
            if match is None or "extra ==" in requirement or match[0] in seen:
                continue
            seen.add(match[0])
            waiting.append(match[0])
