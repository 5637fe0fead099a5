"""Imports what `tests.emulated.emulate` needs."""

import importlib

for name in (
    "tests.emulated.emulate",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
):
    importlib.import_module(name)
