"""Signed values: delete and owner tokens, tickets that resume a counted download, and password passes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from datetime import datetime

from itsdangerous import BadSignature, TimestampSigner

from shared.errors import StorageUnavailable
from shared.settings import MIN_SECRET_LENGTH
from shared.storage.contract import ABSENT, AlreadyExists, Ambiguous, Changed, NotFound, NotSent, ObjectStore
from shared.storage.keys import SECRET_KEY

TICKET_LIFETIME = 24 * 3600  # seconds
PASS_LIFETIME = 60  # seconds

# Kept with their keys: those of all purposes, and of some files with passwords.
SIGNERS = 64

_TRIES = 5


class Signing:
    """Signatures with one secret, which is read when first needed. `clock` returns aware UTC times."""

    def __init__(self, secret: Callable[[], str], clock: Callable[[], datetime]) -> None:
        self._secret = secret
        self._clock = clock
        self._cached_key: str | None = None
        self._guard = threading.Lock()
        self._signer = functools.lru_cache(SIGNERS)(self._new_signer)

    def delete_token(self, file_id: str) -> str:
        """The token with which anyone can change and delete this file; always the same for one ID."""
        return self._signer("delete").get_signature(file_id).decode()

    def is_delete_token(self, file_id: str, token: str) -> bool:
        return self._signer("delete").verify_signature(file_id, token.encode(errors="replace"))

    def owner_token(self, inbox_id: str) -> str:
        """The token of the owner of this inbox; always the same for one ID."""
        return self._signer("owner").get_signature(inbox_id).decode()

    def is_owner_token(self, inbox_id: str, token: str) -> bool:
        return self._signer("owner").verify_signature(inbox_id, token.encode(errors="replace"))

    def ticket(self, file_id: str) -> str:
        """A ticket to resume a counted download of this file. It begins with the ID and is valid in an ETag."""
        return self._signer("ticket").sign(file_id).decode()

    def is_ticket(self, file_id: str, ticket: str) -> bool:
        """Whether it is a ticket for this file and no older than a day."""
        return self._is_signed("ticket", file_id, ticket, TICKET_LIFETIME)

    def password_pass(self, file_id: str, password_hash: str) -> str:
        """A value that replaces the password of this file for a minute, unless the password changes."""
        return self._signer(_pass_salt(password_hash)).sign(file_id).decode()

    def is_password_pass(self, file_id: str, password_hash: str, value: str) -> bool:
        return self._is_signed(_pass_salt(password_hash), file_id, value, PASS_LIFETIME)

    def _is_signed(self, salt: str, file_id: str, value: str, lifetime: int) -> bool:
        try:
            text, moment = self._signer(salt).unsign(value.encode(errors="replace"), return_timestamp=True)
        except BadSignature:
            return False
        # Not by itsdangerous, which rejects values from a machine whose clock is ahead.
        age = int(self._clock().timestamp()) - int(moment.timestamp())
        return text == file_id.encode() and age <= lifetime

    def _new_signer(self, salt: str) -> _ClockedSigner:
        # As itsdangerous derives keys (`key_derivation="hmac"`), but once for many values.
        return _ClockedSigner(hmac.digest(self._key().encode(), salt.encode(), "sha256"), self._clock)

    def _key(self) -> str:
        with self._guard:
            if self._cached_key is None:
                self._cached_key = self._secret()
            return self._cached_key


class _ClockedSigner(TimestampSigner):
    """A `TimestampSigner` with a clock that is passed in."""

    def __init__(self, key: bytes, clock: Callable[[], datetime]) -> None:
        super().__init__(key, key_derivation="none", digest_method=hashlib.sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock().timestamp())


def _pass_salt(password_hash: str) -> str:
    # Part of the key, not of the text, so that the value reveals nothing about the hash.
    return f"pass:{password_hash}"


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
