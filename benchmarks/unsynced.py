"""`local.serve` with an fsync that does nothing, to see what durability costs. Not for files that matter."""

from __future__ import annotations

import os
import sys
from unittest import mock

from local.serve import main


def nothing(_file: int) -> None:
    """Stands in for `os.fsync`."""


if __name__ == "__main__":
    with mock.patch.object(os, "fsync", nothing):
        sys.exit(main())
