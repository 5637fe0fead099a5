"""Encrypts a file while it is uploaded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from share.answers import ArchiveEntry
from share.faults import Changed
from share.private.chunks import CHUNK, Cipher, encrypted_size
from share.private.keys import Key, new_salt
from share.private.ledger import Ledger, Restart
from share.private.metadata import FILE_CONTEXT, Metadata
from share.source import Blocks, HashedSource, Options, Outgoing, Source
from share.upload import SMALL

BLOCK = 512 * CHUNK  # 8 MiB: after each, the ledger keeps a digest
NAME = "encrypted"  # what the server calls every private file


@contextlib.contextmanager
def encrypt_source(
    plain: HashedSource, options: Options, place: str, entries: list[ArchiveEntry] | None
) -> Iterator[Outgoing]:
    """Encrypt a source. `place` says where it is and where it goes; `entries` are those of an archive.

    If the upload can be resumed, its key is kept until it is complete. Raises `Restart` if the file is no longer the
    one that an earlier run began with; `Fault` and `OSError`.
    """
    metadata = Metadata(plain.name, plain.content_type, plain.size, entries)
    if plain.identity is None or plain.size is None or encrypted_size(plain.size) <= SMALL:
        yield _upload(plain, options, metadata, Key.generate(), None)
        return
    with Ledger.open(place, f"{plain.name}\n{plain.identity()}") as ledger:
        try:
            yield _upload(plain, options, metadata, ledger.key, ledger)
        except Changed as error:
            ledger.discard()
            if ledger.is_resumed:
                raise Restart from error
            raise
        ledger.discard()


def _upload(plain: HashedSource, options: Options, metadata: Metadata, key: Key, ledger: Ledger | None) -> Outgoing:
    cipher = Cipher(key, new_salt() if ledger is None else ledger.salt, FILE_CONTEXT)
    # A server can hold parts of an upload with another key. Those must not be resumed.
    identity = plain.identity
    source = Source(
        Blocks(_encrypt(plain, cipher, ledger)),
        NAME,
        None if plain.size is None else encrypted_size(plain.size),
        None if identity is None else lambda: f"{cipher.header.hex()}\n{identity()}",
    )
    return Outgoing(source, dataclasses.replace(options, encryption=metadata.encrypt(key)), key)


def _encrypt(plain: HashedSource, cipher: Cipher, ledger: Ledger | None) -> Iterator[bytes | bytearray]:
    """The encrypted bytes of a source. Raises `Changed` instead of encrypting a second text."""
    yield cipher.header
    number, is_end = 0, False
    while not is_end:
        block = plain.read(BLOCK)
        is_end = len(block) < BLOCK
        if ledger is not None:
            ledger.require(number, plain.digest)
        yield cipher.encrypt_from(number * (BLOCK // CHUNK), block, is_end=is_end)
        number += 1
