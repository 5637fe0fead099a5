"""Imports what moto needs for S3, but not moto, which looks at the environment."""

import importlib
import sys

for name in ("local.moto_server", "moto.s3.urls"):
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] in ("local", "moto")]:
    del sys.modules[name]
