"""Imports what the command `share` needs. It then sends files in smaller parts."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from typer.main import get_command

sys.path.insert(1, str(Path(__file__).parent.parent.parent / "client"))
# httpx imports these when they are first needed.
for name in ("httpcore", "socksio", "encodings.idna"):
    importlib.import_module(name)
for module in pkgutil.walk_packages(importlib.import_module("share").__path__, "share."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
importlib.import_module("tests.client.sizes").lower()
commands = vars(sys.modules["share.commands"])
commands["app"] = get_command(commands["app"])


def go_on(_program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Stands in for a start without the secrets in the arguments, which the arguments of a fork do not show anyway."""
    os.environ.update(environment)
    sys.orig_argv = list(arguments)
    sys.argv[1:] = arguments[3:]
    sys.modules["share.arguments"].hide_secrets()


vars(os)["execve"] = go_on
