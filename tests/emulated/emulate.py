"""`local.emulate` with functions that are forks of one process, because each would import its packages for a second."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

from local.emulate import Platform, main, platform
from tests.emulated.forks import forks


@contextlib.contextmanager
def forking_platform(*arguments: Any, **options: Any) -> Iterator[Platform]:
    with platform(*arguments, **options) as provided, forks(provided) as interpreter:
        yield dataclasses.replace(provided, interpreter=interpreter)


if __name__ == "__main__":
    sys.exit(main(provide=forking_platform))
