"""Passwords of files: stored as slow hashes, and checked by a limited number of threads."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import threading
import unicodedata
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator

from shared.errors import TooManyAttempts
from shared.options import MAX_PASSWORD_LENGTH

# scrypt (RFC 7914) with OWASP's lowest recommended cost: 2**14 * 128 * 8 bytes is 16 MiB, in five passes.
_LOG_N, _R, _P = 14, 8, 5
_MEMORY = 64 * 1024 * 1024
AT_ONCE = 2
WAITING = 8
# Requests that check or wait, for all files together: half of the threads for requests.
IN_LINE = 64

_COST = r"ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})"
_BASE64 = r"([A-Za-z0-9+/]+)"
_PHC = re.compile(rf"\$scrypt\${_COST}\${_BASE64}\${_BASE64}", re.ASCII)


class Passwords:
    """Makes and checks hashes, a few at a time; at most `WAITING` others wait for each file.

    The limits keep guessers from using up the memory and threads that downloads need. Each file has its own limit, so
    that guessing one password does not lock people out of other files. Setting passwords has another.
    """

    def __init__(self) -> None:
        self._checking = _Gate(AT_ONCE)
        self._making = _Gate(1)

    def hash(self, password: str) -> str:
        """A salted hash with its parameters, in PHC string form. Raises `TooManyAttempts`."""
        salt = secrets.token_bytes(16)
        with self._making.slot("new passwords"):
            derived = _derive(password, salt, _LOG_N, _R, _P)
        return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_text(salt)}${_text(derived)}"

    def matches(self, password: str, password_hash: str) -> bool:
        """Whether this is the password, compared in constant time. Longer ones than can be set are wrong.

        Raises `TooManyAttempts`, and `ValueError` for a hash that `hash` cannot have made.
        """
        # First, because normalizing a password takes time quadratic in its combining marks (UAX #15).
        if len(password) > MAX_PASSWORD_LENGTH:
            return False
        match = _PHC.fullmatch(password_hash)
        if match is None:
            raise ValueError("not a password hash")
        log_n, r, p, salt, expected = match.groups()
        # The salt makes the hash unique to the file.
        with self._checking.slot(password_hash):
            derived = _derive(password, _bytes(salt), int(log_n), int(r), int(p))
        return hmac.compare_digest(_bytes(expected), derived)


class _Gate:
    """Lets a few threads work at once and some of each kind wait; refuses the rest."""

    def __init__(self, at_once: int) -> None:
        self._slots = threading.Semaphore(at_once)
        self._most = at_once + WAITING
        self._inside: Counter[str] = Counter()
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def slot(self, kind: str) -> Iterator[None]:
        with self._guard:
            if self._inside[kind] >= self._most or self._inside.total() >= IN_LINE:
                raise TooManyAttempts
            self._inside[kind] += 1
        try:
            with self._slots:
                yield
        finally:
            with self._guard:
                self._inside[kind] -= 1
                if not self._inside[kind]:
                    del self._inside[kind]


def _derive(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    # Two keyboards can produce different forms of the same password (RFC 8265 §4.2).
    data = unicodedata.normalize("NFC", password).encode()
    return hashlib.scrypt(data, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))
