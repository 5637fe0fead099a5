"""Imports what the command `share` needs. It then sends files in smaller parts."""

import importlib
import pkgutil
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parent.parent.parent / "client"))
# httpx imports these when they are first needed.
for name in ("httpcore", "socksio", "encodings.idna"):
    importlib.import_module(name)
for module in pkgutil.walk_packages(importlib.import_module("share").__path__, "share."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

# The least that S3 allows, so that large files of the tests are smaller.
multipart = vars(sys.modules["share.multipart"])
multipart["MIN_PART"] = multipart["SMALLEST_PART"]
