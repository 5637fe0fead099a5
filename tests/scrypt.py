"""Passwords at the lowest cost: at the full one, they would take much of the time of the tests."""

from __future__ import annotations

import hashlib
from typing import Any

_scrypt = hashlib.scrypt


def cheap_scrypt(password: Any, *, salt: Any, n: int, r: int, p: int, maxmem: int = 0, dklen: int = 64) -> bytes:
    return _scrypt(password, salt=salt, n=2, r=1, p=1, maxmem=maxmem, dklen=dklen)
