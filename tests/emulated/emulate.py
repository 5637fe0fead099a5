"""`local.emulate` with functions that are forks of one process, because each would import its packages for a second."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

from local.emulate import Platform, main, platform
from tests.forks import forking


@contextlib.contextmanager
def forking_platform(*arguments: Any, **options: Any) -> Iterator[Platform]:
    """`platform` with functions that all have the same content, and start as forks."""
    with platform(*arguments, **options) as provided:
        code = next(iter(provided.functions.values())).code
        with forking("functions", provided.interpreter, code, provided.environment) as forks:
            yield dataclasses.replace(provided, interpreter=forks.interpreter())


if __name__ == "__main__":
    sys.exit(main(provide=forking_platform))
