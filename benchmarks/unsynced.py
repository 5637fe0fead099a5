"""`local.serve` without fsync, to measure what durability costs. Do not use it for files that matter."""

from __future__ import annotations

import os
import sys
from unittest import mock

from local.serve import main


def nothing(*_arguments: int) -> None:
    """Replaces fsync, and the call that starts to write a file early."""


if __name__ == "__main__":
    # macOS has no posix_fadvise, hence `create`.
    with mock.patch.object(os, "fsync", nothing), mock.patch.object(os, "posix_fadvise", nothing, create=True):
        sys.exit(main())
