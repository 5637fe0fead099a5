"""`local.serve` that brings nothing to disk, to see what durability costs. Not for files that matter."""

from __future__ import annotations

import os
import sys
from unittest import mock

from local.serve import main


def nothing(*_arguments: int) -> None:
    """Stands in for what waits for the disk, and for what hands it some of a file early."""


if __name__ == "__main__":
    # macOS has no posix_fadvise, and then there is nothing to leave out.
    with mock.patch.object(os, "fsync", nothing), mock.patch.object(os, "posix_fadvise", nothing, create=True):
        sys.exit(main())
