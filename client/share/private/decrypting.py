"""Decrypts a file while it is downloaded."""

from __future__ import annotations

from share.answers import BASE64, ArchiveEntry, RemoteFile
from share.faults import Damaged, Exit, Fault
from share.private.chunks import CHUNK, HEADER, TAG, Cipher, decrypted_size, offset_of
from share.private.keys import Key
from share.private.metadata import FILE_CONTEXT, SCHEME, Metadata
from share.sinks import Sink


def reveal(file: RemoteFile, key: Key | None) -> RemoteFile:
    """The file under its own name, type and size. Raises `Fault` like `metadata_of`."""
    metadata = metadata_of(file, key)
    return file.changed(
        original_name=metadata.name,
        content_type=metadata.content_type,
        file_size=decrypted_size(file.size),
        # The server's SHA-256 is that of the encrypted bytes, and each chunk has its own proof.
        sha256=None,
    )


def metadata_of(file: RemoteFile, key: Key | None) -> Metadata:
    """Raises `Fault` if the key is missing or wrong, or the server has replaced the file."""
    encryption = file.encryption
    if encryption is None:
        raise Damaged("The server's file is not encrypted, although the link has a key: the file was replaced.")
    if key is None:
        raise Fault(Exit.DENIED, "This file is encrypted. Use the whole link, with the key after the #.")
    encrypted = encryption.text_or_none("metadata", BASE64)
    if encryption.text("scheme") != SCHEME or encrypted is None:
        raise Fault(Exit.REFUSED, "This file is encrypted in a way that this client does not know. Update the client.")
    metadata = Metadata.decrypt(key, encrypted)
    if metadata.size not in (None, decrypted_size(file.size)):
        raise Damaged
    return metadata


def entries_of(file: RemoteFile, key: Key | None) -> list[ArchiveEntry]:
    """What is in an encrypted archive, without downloading it. Raises `Fault`."""
    entries = metadata_of(file, key).entries
    if entries is None:
        raise Fault(Exit.REFUSED, "The metadata of this private file have no list of files. Download it instead.")
    return entries


class DecryptingSink(Sink):
    """Takes the encrypted bytes of a file, `size` in all, and passes each chunk on to `sink` once it is verified.

    Positions are those of the encrypted file. Bytes that `sink` already has must be whole chunks, unless it is empty.
    """

    def __init__(self, sink: Sink, key: Key, size: int) -> None:
        super().__init__()
        self._sink = sink
        self._key = key
        self._size = size
        self._cipher: Cipher | None = None
        self._number = sink.position // CHUNK
        self._pending = bytearray()
        self.tags = sink.tags
        if sink.position:
            assert sink.position % CHUNK == 0
            self._cipher = Cipher.of_header(key, sink.header, FILE_CONTEXT)
            self.position = offset_of(self._number)

    def write(self, chunk: bytes | bytearray) -> None:
        """Raises `Damaged`."""
        self.position += len(chunk)
        self._pending += chunk
        if self._cipher is None:
            if len(self._pending) < HEADER:
                return
            self._sink.header = bytes(self._pending[:HEADER])
            self._cipher = Cipher.of_header(self._key, self._sink.header, FILE_CONTEXT)
            del self._pending[:HEADER]
            # A later run needs the header to decrypt the rest.
            self._sink.save()
        is_end = self.position == self._size
        count = len(self._pending) // (CHUNK + TAG)
        length = len(self._pending) if is_end else count * (CHUNK + TAG)
        data = bytes(self._pending[:length])
        del self._pending[:length]
        self._sink.write(self._cipher.decrypt_from(self._number, data, is_end=is_end))
        self._number += count

    def restart(self) -> None:
        self._sink.restart()
        self.position = self._number = 0
        self._pending.clear()
        self._cipher = None

    def save(self) -> None:
        self._sink.save()
