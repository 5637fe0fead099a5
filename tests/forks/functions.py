"""Imports what Lambda functions need, but not the functions, which look at the environment.

Passwords are hashed at the lowest cost.
"""

import functools
import hashlib
import importlib
import runpy
import sys
from pathlib import Path

from botocore import loaders, session

for name in ("functions.app", "shared.storage.s3.store", "mangum", "aws_lambda_powertools"):
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] == "functions"]:
    del sys.modules[name]
# All forks share one description of S3.
session.create_loader = functools.cache(loaders.create_loader)
session.Session().create_client("s3", "us-east-1")
# The tests are not beside what is deployed.
hashlib.scrypt = runpy.run_path(str(Path(__file__).parent.parent / "scrypt.py"))["cheap_scrypt"]
