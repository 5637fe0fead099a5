"""What is emulated: the functions as `make build` left them, or the source tree."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

from local.intrinsics import InvalidTemplate
from local.template import Template, read

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".aws-sam" / "build"

# What Lambda's Python runtime brings along, so that nobody ships it.
# https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
PROVIDED = ("awslambdaric", "boto3")


class Unfit(Exception):
    """The functions cannot run here; the message says why."""


def load(folder: Path) -> Template:
    """The template of a folder, all of whose functions can run here. Raises `Unfit` and `InvalidTemplate`."""
    template = read(folder / "template.yaml")
    for function in template.functions.values():
        if not function.code.is_dir():
            raise Unfit(f"{function.name} has no folder {function.code}")
        _require_fitting(function.code)
    return template


def choose() -> tuple[Path, Template, str]:
    """The build if there is one that can run here, else the source tree, and why."""
    why = "there is no build"
    if BUILD.is_dir():
        try:
            return BUILD, load(BUILD), "as built"
        except (Unfit, InvalidTemplate) as error:
            why = str(error)
    return ROOT, load(ROOT), f"as in the source tree: {why}"


def is_built(folder: Path, template: Template) -> bool:
    """Whether the functions lie in folders of their own, with all that they need."""
    return all(function.code != folder.resolve() for function in template.functions.values())


def _require_fitting(code: Path) -> None:
    ours = importlib.machinery.EXTENSION_SUFFIXES[0]
    for library in code.glob("*/*.cpython-*.so"):
        if not library.name.endswith(ours):
            built_for = library.name.partition(".")[2].removesuffix(".so")
            here = ours.strip(".").removesuffix(".so")
            raise Unfit(f"the build is for {built_for}, and this is {here}")


def link_provided(folder: Path) -> None:
    """Fill a folder with links to the packages that Lambda provides, as this environment has them."""
    for name in _with_requirements(PROVIDED):
        distribution = importlib.metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if not file.parts[0].startswith("..")}
        for top in tops - {"__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))


def _with_requirements(names: tuple[str, ...]) -> Iterator[str]:
    waiting, seen = list(names), set(names)
    while waiting:
        name = waiting.pop()
        yield name
        for requirement in importlib.metadata.requires(name) or ():
            needed = re.match(r"[\w.-]+", requirement)
            if needed is None or "extra ==" in requirement or needed[0] in seen:
                continue
            seen.add(needed[0])
            waiting.append(needed[0])
