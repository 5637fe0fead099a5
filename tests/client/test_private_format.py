"""The format of private links: our implementation, that of `cryptography` and the documented one agree with the
vectors."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.cobblestone import Cobblestone128Decryptor, Cobblestone128Encryptor
from cryptography.exceptions import InvalidTag
from share.answers import ArchiveEntry
from share.faults import Damaged, Exit, Fault
from share.private.chunks import (
    CHUNK,
    HEADER,
    Cipher,
    decrypt_all,
    decrypted_size,
    encrypt_all,
    encrypted_size,
    offset_of,
)
from share.private.keys import Key
from share.private.metadata import FILE_CONTEXT, MAX_TEXT, METADATA_CONTEXT, SCHEME, Metadata

from tests.client.private_vectors import KEY, OTHER_KEY, PATH, chunks_of, text_of, vectors
from tests.pages import block

VECTORS: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
MESSAGES = {vector["title"]: vector for vector in VECTORS["messages"]}
REFERENCE: dict[str, Any] = {}
exec(block("py", "def decrypt_range("), REFERENCE)  # noqa: S102


def plain(message: dict[str, Any]) -> bytes:
    return bytes.fromhex(message["text"]) if "text" in message else text_of(message["size"])


def encrypted(title: str) -> bytes:
    vector = MESSAGES[title]
    return encrypt_all(
        Key(bytes.fromhex(vector["key"])), bytes.fromhex(vector["salt"]), vector["context"].encode(), plain(vector)
    )


def by_us(key: bytes, context: bytes, data: bytes) -> Iterator[bytes]:
    yield decrypt_all(Key(key), context, data)


def by_the_reference(key: bytes, context: bytes, data: bytes) -> Iterator[bytes]:
    yield from REFERENCE["decrypt"](key, context, io.BytesIO(data).read)


def by_cryptography(key: bytes, context: bytes, data: bytes) -> Iterator[bytes]:
    decryptor = Cobblestone128Decryptor(key, context)
    yield decryptor.update(data) + decryptor.finalize()


READERS = [by_us, by_the_reference, by_cryptography]


def test_the_published_vectors_are_those_of_this_implementation() -> None:
    assert vectors() == VECTORS


@pytest.mark.parametrize("title", MESSAGES)
def test_every_implementation_encrypts_and_decrypts_alike(title: str) -> None:
    vector = MESSAGES[title]
    key, salt, context = bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"]), vector["context"].encode()
    data = encrypted(title)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (vector["encrypted_size"], vector["sha256"])
    assert data[:HEADER].hex() == vector["header"]
    assert vector.get("encrypted") in (None, data.hex())
    assert REFERENCE["encrypt"](key, salt, context, plain(vector)) == data
    for read in READERS:
        assert b"".join(read(key, context, data)) == plain(vector)
    assert encrypted_size(vector["size"]) == len(data)
    assert decrypted_size(len(data)) == vector["size"]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 100_000])
def test_what_cryptography_encrypts_can_be_read(size: int) -> None:
    # `cryptography` chooses a random salt.
    encryptor = Cobblestone128Encryptor(KEY.secret, FILE_CONTEXT)
    data = encryptor.update(text_of(size)) + encryptor.finalize()
    assert decrypt_all(KEY, FILE_CONTEXT, data) == text_of(size)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: str(vector["title"]))
def test_a_changed_message_is_refused_before_a_byte_of_the_bad_chunk_is_handed_on(
    vector: dict[str, Any], read: Callable[[bytes, bytes, bytes], Iterator[bytes]]
) -> None:
    data = bytearray(b"".join(encrypted(title)[start:stop] for title, start, stop in vector["pieces"]))
    for offset in vector.get("flip", []):
        data[offset] ^= 1
    key = bytes.fromhex(vector.get("key", KEY.secret.hex()))
    context = vector.get("context", FILE_CONTEXT.decode()).encode()
    before: list[bytes] = []
    with pytest.raises((Damaged, REFERENCE["Refused"], ValueError, InvalidTag)):
        before.extend(read(key, context, bytes(data)))
    assert b"".join(before) == text_of(vector["before"] if read is by_the_reference else 0)


@pytest.mark.parametrize("vector", VECTORS["ranges"], ids=str)
def test_a_range_is_decrypted_by_itself(vector: dict[str, int]) -> None:
    size, start, stop = vector["size"], vector["start"], vector["stop"]
    place = chunks_of(start, stop, encrypted_size(size))
    assert place == (vector["first"], vector["offset"], vector["end"])
    assert offset_of(vector["first"]) == vector["offset"]
    if size > 2**30:
        return
    data = encrypted(f"{size} bytes")
    ranges: list[tuple[int, int]] = []

    def read(first: int, end: int) -> bytes:
        ranges.append((first, end))
        return data[first:end]

    by_reference = REFERENCE["decrypt_range"](KEY.secret, FILE_CONTEXT, len(data), start, stop, read)
    assert by_reference == text_of(size)[start:stop]
    assert ranges == [(0, HEADER), place[1:]]
    cipher = Cipher.of_header(KEY, data[:HEADER], FILE_CONTEXT)
    first, begin, end = place
    text = cipher.decrypt_from(first, data[begin:end], is_end=end == len(data))
    assert text[start - first * CHUNK : stop - first * CHUNK] == by_reference


def test_a_part_of_a_file_that_was_cut_is_refused() -> None:
    data = encrypted("32768 bytes")
    cut = data[: offset_of(1)]
    cipher = Cipher.of_header(KEY, data[:HEADER], FILE_CONTEXT)
    with pytest.raises(Damaged):
        cipher.decrypt_from(0, cut[HEADER:], is_end=True)
    with pytest.raises(Damaged):
        cipher.decrypt_from(0, data[HEADER : offset_of(1) - 1], is_end=False)
    with pytest.raises(Damaged):
        cipher.decrypt_from(1, data[HEADER : offset_of(1)], is_end=False)


def test_chunks_can_be_encrypted_in_any_order() -> None:
    text, whole = text_of(3 * CHUNK + 100), encrypted("49252 bytes")
    cipher = Cipher(KEY, whole[:24], FILE_CONTEXT)
    end = cipher.encrypt_from(2, text[2 * CHUNK :], is_end=True)
    start = cipher.encrypt_from(0, text[: 2 * CHUNK], is_end=False)
    assert cipher.header + start + end == whole


@pytest.mark.parametrize("size", [0, 1, HEADER - 1, HEADER, HEADER + 15, offset_of(1), offset_of(1) + 15])
def test_sizes_that_no_encrypted_file_has_are_refused(size: int) -> None:
    with pytest.raises(Damaged):
        decrypted_size(size)


def test_a_fragment_is_a_key_in_only_one_way() -> None:
    for vector in VECTORS["fragments"]:
        key = Key(bytes.fromhex(vector["key"]))
        link = f"https://example.org/download/x#{vector['fragment']}"
        assert Key.of_link(link) == key
        assert key.link("https://example.org/download/x") == link
        assert REFERENCE["parse_fragment"](vector["fragment"]) == key.secret
        # A key is not shown by accident.
        assert vector["key"] not in repr(key)
        assert repr(key.secret) not in repr(key)
    for fragment in VECTORS["bad_fragments"]:
        with pytest.raises(Fault) as fault:
            Key.of_link(f"https://example.org/download/x#{fragment}")
        assert fault.value.code is Exit.USAGE
        with pytest.raises(REFERENCE["Refused"]):
            REFERENCE["parse_fragment"](fragment)
    assert Key.of_link("https://example.org/download/x") is None


@pytest.mark.parametrize("vector", VECTORS["metadata"], ids=lambda vector: str(vector["title"]))
def test_metadata_say_the_same_to_every_implementation(vector: dict[str, Any]) -> None:
    option = vector["encryption"]
    assert option["scheme"] == SCHEME
    key = Key(bytes.fromhex(vector["key"]))
    metadata = Metadata.decrypt(key, option["metadata"])
    assert metadata.json() == vector["fields"]
    assert REFERENCE["decrypt_metadata"](key.secret, option) == vector["fields"]
    # Each encryption has a salt of its own.
    again = metadata.encrypt(key)
    assert again != option
    assert Metadata.decrypt(key, again["metadata"]) == metadata
    assert Metadata.decrypt(key, REFERENCE["encrypt_metadata"](key.secret, vector["fields"])["metadata"]) == metadata


def test_the_documented_option_is_a_vector() -> None:
    assert json.loads(block("json", "c2sp-chunked-v1-aes128gcm")) == VECTORS["metadata"][0]["encryption"]


def test_metadata_of_another_key_or_context_are_refused() -> None:
    metadata = VECTORS["metadata"][0]["encryption"]["metadata"]
    for changed in ("", "A", metadata[:-1], metadata[:-4], "B" + metadata[1:]):
        with pytest.raises(Damaged):
            Metadata.decrypt(KEY, changed)
    with pytest.raises(Damaged):
        Metadata.decrypt(OTHER_KEY, metadata)
    file = REFERENCE["encrypt"](KEY.secret, bytes(24), FILE_CONTEXT, b'{"original_name": "x"}')
    as_text = REFERENCE["base64"].urlsafe_b64encode(file).rstrip(b"=").decode()
    with pytest.raises(Damaged):
        Metadata.decrypt(KEY, as_text)


def test_entries_that_do_not_fit_are_left_out() -> None:
    few = [ArchiveEntry(f"photos/{number}.jpg", 10**9, "2026-11-28T10:00:00Z") for number in range(70)]
    for entries, kept in ((few, few), (few * 2, None)):
        option = Metadata("photos.zip", "application/zip", 10**12, entries).encrypt(KEY)
        assert len(option["metadata"]) <= MAX_TEXT
        assert Metadata.decrypt(KEY, option["metadata"]).entries == kept
    with pytest.raises(Fault, match="name"):
        Metadata("é" * 4000, "text/plain", 1).encrypt(KEY)


def test_metadata_and_file_differ_even_with_one_salt() -> None:
    salt = bytes(24)
    file, metadata = (encrypt_all(KEY, salt, context, b"same") for context in (FILE_CONTEXT, METADATA_CONTEXT))
    assert file[HEADER:] != metadata[HEADER:]
