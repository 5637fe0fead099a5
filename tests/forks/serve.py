"""Imports what `local.serve` needs, for directories and for S3.

A directory then accepts smaller parts, passwords are hashed at the lowest cost, and the workers of a server are forks,
too.
"""

import hashlib
import importlib
import multiprocessing
import sys

from tests.scrypt import cheap_scrypt

for name in (
    "functions.app",
    "local.access_log",
    "local.protocols",
    "local.serve",
    "shared.storage.directory.store",
    "shared.storage.s3.store",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
):
    importlib.import_module(name)
hashlib.scrypt = cheap_scrypt
# uvicorn always starts interpreters, and has no setting for that.
vars(sys.modules["uvicorn._subprocess"])["spawn"] = multiprocessing.get_context("fork")
vars(sys.modules["shared.storage.multipart"])["MIN_PART_SIZE"] = 1024 * 1024
