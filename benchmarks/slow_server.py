"""`local.serve` on slow storage: `python -m benchmarks.slow_server KIND [options of local.serve]`."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any
from unittest import mock

from benchmarks.distant_s3 import DistantS3
from local.serve import main
from shared.storage.directory import store

PAUSE = 0.01  # seconds
# Those that can wait for a disk. fstat(2) of an open file does not.
CALLS = frozenset(
    (
        *("access", "copy_file_range", "fsync", "ftruncate", "listdir", "mkdir", "open", "pread", "preadv", "pwrite"),
        *("read", "rename", "replace", "scandir", "stat", "statvfs", "unlink", "write"),
    )
)


class SlowCalls:
    """The module `os`, with a pause before each call that can wait for a disk."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)
        return _after_a_pause(function) if name in CALLS else function


def _after_a_pause(function: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(PAUSE)
        return function(*arguments, **options)

    return slow


def slow_syncs() -> AbstractContextManager[object]:
    """A disk that takes long to make data durable."""
    return mock.patch.object(os, "fsync", _after_a_pause(os.fsync))


@contextlib.contextmanager
def slow_calls(*, cached: bool = True) -> Iterator[None]:
    """A disk that takes long for everything but what is `cached`: then, what calls that never wait read."""
    with contextlib.ExitStack() as stack:
        for module in _modules_of_the_directory():
            if not module.__name__.endswith(".cached"):
                stack.enter_context(mock.patch.object(module, "os", SlowCalls()))
            elif not cached:
                stack.enter_context(mock.patch.object(module, "_openat2", _refusal(module.WouldWait)))
        yield


def _refusal(error: type[Exception]) -> Callable[..., int]:
    def refuse(*_arguments: object) -> int:
        raise error

    return refuse


def _modules_of_the_directory() -> list[ModuleType]:
    package = store.__name__.rpartition(".")[0] + "."
    return [module for name, module in sys.modules.items() if name.startswith(package) and hasattr(module, "os")]


KINDS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "syncs": slow_syncs,
    "calls": slow_calls,
    "all calls": lambda: slow_calls(cached=False),
    "S3": lambda: DistantS3().connected(),
}

if __name__ == "__main__":
    with KINDS[sys.argv[1]]():
        sys.exit(main(sys.argv[2:]))
