"""Imports what `local.serve` needs, for directories and for S3."""

import importlib

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
