"""Signed values: delete and owner tokens, tickets that resume a counted download, and password passes."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime

from shared.errors import StorageUnavailable
from shared.settings import MIN_SECRET_LENGTH
from shared.storage.contract import ABSENT, AlreadyExists, Ambiguous, Changed, NotFound, NotSent, ObjectStore
from shared.storage.keys import SECRET_KEY

TICKET_LIFETIME = 24 * 3600  # seconds
PASS_LIFETIME = 60  # seconds

_TRIES = 5
# Enough for any date that Python knows.
_TIME_BYTES = 5


class Signing:
    """Signatures with one secret, which is read when first needed. `clock` returns aware UTC times."""

    def __init__(self, secret: Callable[[], str], clock: Callable[[], datetime]) -> None:
        self._secret = secret
        self._clock = clock
        self._cached_key: bytes | None = None
        self._guard = threading.Lock()

    def delete_token(self, file_id: str) -> str:
        """The token with which anyone can change and delete this file; always the same for one ID."""
        return self._signature("delete", file_id)

    def is_delete_token(self, file_id: str, token: str) -> bool:
        return _equal(token, self._signature("delete", file_id))

    def owner_token(self, inbox_id: str) -> str:
        """The token of the owner of this inbox; always the same for one ID."""
        return self._signature("owner", inbox_id)

    def is_owner_token(self, inbox_id: str, token: str) -> bool:
        return _equal(token, self._signature("owner", inbox_id))

    def ticket(self, file_id: str) -> str:
        """A ticket to resume a counted download of this file. It begins with the ID and is valid in an ETag."""
        return self._signed("ticket", file_id)

    def is_ticket(self, file_id: str, ticket: str) -> bool:
        """Whether it is a ticket for this file and no older than a day."""
        return self._is_signed("ticket", file_id, ticket, TICKET_LIFETIME)

    def password_pass(self, file_id: str, password_hash: str) -> str:
        """A value that replaces the password of this file for a minute, unless the password changes."""
        return self._signed(_pass_purpose(password_hash), file_id)

    def is_password_pass(self, file_id: str, password_hash: str, value: str) -> bool:
        return self._is_signed(_pass_purpose(password_hash), file_id, value, PASS_LIFETIME)

    def _signed(self, purpose: str, file_id: str) -> str:
        """The ID, the time and the signature of both, separated by dots."""
        value = f"{file_id}.{_encoded(self._seconds().to_bytes(_TIME_BYTES))}"
        return f"{value}.{self._signature(purpose, value)}"

    def _is_signed(self, purpose: str, file_id: str, value: str, lifetime: int) -> bool:
        signed, _, signature = value.rpartition(".")
        text, _, moment = signed.rpartition(".")
        if text != file_id or not _equal(signature, self._signature(purpose, signed)):
            return False
        # Values from a machine whose clock is ahead count as new.
        return self._seconds() - int.from_bytes(urlsafe_b64decode(f"{moment}==")) <= lifetime

    def _signature(self, purpose: str, text: str) -> str:
        # One key for each purpose, so that no value can be used for another.
        key = hmac.digest(self._key(), purpose.encode(), "sha256")
        return _encoded(hmac.digest(key, text.encode(errors="replace"), "sha256"))

    def _seconds(self) -> int:
        return int(self._clock().timestamp())

    def _key(self) -> bytes:
        with self._guard:
            if self._cached_key is None:
                self._cached_key = self._secret().encode()
            return self._cached_key


def _pass_purpose(password_hash: str) -> str:
    # Part of the key, not of the text, so that the value reveals nothing about the hash.
    return f"pass:{password_hash}"


def _equal(presented: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(presented.encode(errors="replace"), expected.encode())


def _encoded(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def stored_secret(store: ObjectStore) -> str:
    """The signing key in storage, created by the first process that needs it. Raises `StorageUnavailable`."""
    for _ in range(_TRIES):
        try:
            secret = store.read(SECRET_KEY)[0]
        except NotFound:
            # Whether or not this write wins, the next read returns the winner.
            with contextlib.suppress(AlreadyExists, Changed, Ambiguous, NotSent):
                store.put(SECRET_KEY, secrets.token_urlsafe(32).encode(), ABSENT)
            continue
        if len(secret) < MIN_SECRET_LENGTH or not secret.isascii():
            # Anyone could sign with a truncated key.
            raise StorageUnavailable("the stored signing key is damaged")
        return secret.decode()
    raise StorageUnavailable("the signing key can be neither read nor created")
