"""Encrypts and decrypts each chunk of a message by itself (https://c2sp.org/chunked-encryption, AES-128-GCM)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from share.faults import Damaged
from share.private.keys import SALT_BYTES, Key

CHUNK = 16_384  # bytes of a chunk; the last one is always shorter, and may be empty
TAG = 16  # bytes that each encrypted chunk is longer
HEADER = SALT_BYTES + 32  # bytes: the salt, and the commitment to key, salt and context
MAX_CHUNKS = 2**38

_NAME = b"c2sp.org/chunked-encryption@v1+AEAD_AES_128_GCM\0"


class Cipher:
    """The chunks of one message. `header` is what precedes them.

    A key and a salt must never encrypt two messages: see `Ledger`.
    """

    def __init__(self, key: Key, salt: bytes, context: bytes) -> None:
        # One block of HKDF-Expand (RFC 5869, section 2.3) is enough.
        derived = hmac.digest(key.secret, _NAME + salt + context + b"\1", hashlib.sha512)
        self._aead = AESGCM(derived[:16])
        self._base_nonce = int.from_bytes(derived[16:28])
        self.header = salt + derived[28:60]

    @classmethod
    def of_header(cls, key: Key, header: bytes, context: bytes) -> Self:
        """Raises `Damaged` if the header was not made with this key in this context."""
        cipher = cls(key, header[:SALT_BYTES], context)
        if not hmac.compare_digest(cipher.header, header):
            raise Damaged("The key in this link is wrong, or the file was replaced by another one.")
        return cipher

    def encrypt_from(self, first: int, data: bytes, *, is_end: bool) -> bytearray:
        """Encrypt chunks from number `first` on. Only at the end of the message can the last one be short."""
        assert is_end or len(data) % CHUNK == 0
        count = len(data) // CHUNK + is_end
        encrypted = bytearray(len(data) + count * TAG)
        # Views, because each copy of a chunk costs more than its encryption.
        with memoryview(data) as source, memoryview(encrypted) as target:
            for index in range(count):
                chunk = source[index * CHUNK : (index + 1) * CHUNK]
                place = target[index * (CHUNK + TAG) : (index + 1) * (CHUNK + TAG)]
                self._aead.encrypt_into(self._nonce(first + index), chunk, None, place)
        return encrypted

    def decrypt_from(self, first: int, data: bytes | bytearray, *, is_end: bool) -> bytearray:
        """Decrypt whole chunks from number `first` on. Raises `Damaged`, also if the end is not short."""
        count, rest = divmod(len(data), CHUNK + TAG)
        if is_end != (rest > 0) or 0 < rest < TAG:
            raise Damaged
        count += is_end
        decrypted = bytearray(len(data) - count * TAG)
        with memoryview(data) as source, memoryview(decrypted) as target:
            for index in range(count):
                chunk = source[index * (CHUNK + TAG) : (index + 1) * (CHUNK + TAG)]
                place = target[index * CHUNK : (index + 1) * CHUNK]
                try:
                    self._aead.decrypt_into(self._nonce(first + index), chunk, None, place)
                except InvalidTag:
                    raise Damaged from None
        return decrypted

    def _nonce(self, number: int) -> bytes:
        assert 0 <= number < MAX_CHUNKS
        return (self._base_nonce ^ number).to_bytes(12)


def encrypt_all(key: Key, salt: bytes, context: bytes, message: bytes) -> bytes:
    cipher = Cipher(key, salt, context)
    return cipher.header + cipher.encrypt_from(0, message, is_end=True)


def decrypt_all(key: Key, context: bytes, data: bytes) -> bytes:
    """Raises `Damaged`."""
    cipher = Cipher.of_header(key, data[:HEADER], context)
    return bytes(cipher.decrypt_from(0, data[HEADER:], is_end=True))


def encrypted_size(size: int) -> int:
    return HEADER + size + TAG * (size // CHUNK + 1)


def decrypted_size(size: int) -> int:
    """Raises `Damaged` if no message has this size when it is encrypted."""
    chunks, rest = divmod(size - HEADER, CHUNK + TAG)
    if size < HEADER or rest < TAG:
        raise Damaged("The file was cut off: it cannot be decrypted.")
    return chunks * CHUNK + rest - TAG


def offset_of(number: int) -> int:
    """Where a chunk begins in the encrypted message."""
    return HEADER + number * (CHUNK + TAG)
