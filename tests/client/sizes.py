"""Lower sizes of parts and pieces for the command `share`, so that the large files of its tests are smaller."""

from __future__ import annotations

import array
import sys

from share.multipart import SMALLEST_PART
from share.private.chunks import CHUNK

MIB = 1024 * 1024
# Of a server on a directory that is a fork. S3 has another.
PART = MIB
S3_PART = SMALLEST_PART
# The ledger of a private file has a digest for each. Its parts end elsewhere.
BLOCK = 100 * CHUNK


def lower(part: int = PART) -> None:
    """Send files in parts of this size, and fetch files that are larger than six of them in pieces of this size."""
    for module, constants in {
        "share.multipart": {"SMALLEST_PART": part, "MIN_PART": part},
        "share.download": {"PIECE": part, "LARGE": 6 * part},
        "share.private.encrypting": {"BLOCK": BLOCK},
    }.items():
        vars(sys.modules[module]).update(constants)


def large_file(part: int = PART) -> bytes:
    """A file of six parts of this size, of which no two are alike."""
    size = 5 * part + 12_345
    return array.array("Q", range(size // 8 + 1)).tobytes()[:size]
