"""Imports what the command `share` needs. It then sends files in the smallest parts that S3 accepts."""

import importlib
import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("client.py")))
sizes = importlib.import_module("tests.client.sizes")
sizes.lower(sizes.S3_PART)
