"""Passwords of files: kept as slow hashes, and checked by a bounded number of threads at once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import unicodedata
from base64 import b64decode, b64encode

from shared.errors import TooManyAttempts

# scrypt (RFC 7914) with OWASP's smallest recommended cost: 2**14 * 128 * 8 bytes is 16 MiB, five passes of it.
_LOG_N, _R, _P = 14, 8, 5
_MEMORY = 64 * 1024 * 1024
AT_ONCE = 2
WAITING = 8


class Passwords:
    """Makes and checks hashes, `AT_ONCE` at a time, while at most `WAITING` others wait.

    Both bounds keep a guesser from taking the memory and the threads that downloads need.
    """

    def __init__(self) -> None:
        self._slots = threading.Semaphore(AT_ONCE)
        self._places = threading.Semaphore(AT_ONCE + WAITING)

    def hash(self, password: str) -> str:
        """A salted hash with its parameters, in PHC string form. Raises `TooManyAttempts`."""
        salt = secrets.token_bytes(16)
        return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_text(salt)}${_text(self._derive(password, salt))}"

    def matches(self, password: str, password_hash: str) -> bool:
        """Whether this is the password, in time that does not tell how nearly. Raises `TooManyAttempts`."""
        _, _, parameters, salt, expected = password_hash.split("$")
        cost = [int(parameter.partition("=")[2]) for parameter in parameters.split(",")]
        return hmac.compare_digest(_bytes(expected), self._derive(password, _bytes(salt), *cost))

    def _derive(self, password: str, salt: bytes, log_n: int = _LOG_N, r: int = _R, p: int = _P) -> bytes:
        if not self._places.acquire(blocking=False):
            raise TooManyAttempts
        try:
            with self._slots:
                # One password typed on two keyboards may differ in its normal form (RFC 8265 §4.2).
                data = unicodedata.normalize("NFC", password).encode()
                return hashlib.scrypt(data, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MEMORY, dklen=32)
        finally:
            self._places.release()


def _text(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))
