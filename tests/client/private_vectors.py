"""Writes tests/private_vectors.json, with which every implementation of private links must agree.

- `messages`: a key, salt and context, a text, and the encrypted message. `size` is the length of the text, whose byte
  at `i` is `i % 251` unless there is a `text`. Bytes are in hexadecimal.
- `refused`: changed messages, which must be refused. Join `pieces`, which are ranges of encrypted messages, and invert
  the lowest bit of each byte at `flip`. `key` and `context`, if any, replace those of the message. At most the first
  `before` bytes of the text can be handed on.
- `ranges`: of a message of `size` bytes, the bytes from `start` to before `stop` are in the encrypted bytes from
  `offset` to before `end`, which begin with chunk number `first`.
- `fragments` and `bad_fragments`: what follows the `#` of a link, and the key if there is one.
- `metadata`: the option `encryption` of an upload, and the fields that it contains.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from share.answers import ArchiveEntry
from share.private.chunks import CHUNK, HEADER, TAG, encrypt_all, encrypted_size, offset_of
from share.private.keys import Key
from share.private.metadata import FILE_CONTEXT, METADATA_CONTEXT, SCHEME, Metadata, compact

PATH = Path(__file__).parent.parent / "private_vectors.json"
MIB = 1024 * 1024
BLOCK = CHUNK + TAG
KEY = Key(bytes(range(16)))
OTHER_KEY = Key(bytes(range(1, 17)))

LONG_SIZE = 3 * CHUNK + 100
LONG = f"{LONG_SIZE} bytes"
SIZES = [0, 1, 15, 16, 255, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, LONG_SIZE, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1]
RANGES = [
    (LONG_SIZE, 0, 1),
    (LONG_SIZE, 0, LONG_SIZE),
    (LONG_SIZE, 100, CHUNK),
    (LONG_SIZE, CHUNK - 1, CHUNK + 1),
    (LONG_SIZE, CHUNK, 2 * CHUNK),
    (LONG_SIZE, 2 * CHUNK + 7, 3 * CHUNK + 1),
    (LONG_SIZE, LONG_SIZE - 1, LONG_SIZE),
    (2 * CHUNK, CHUNK, 2 * CHUNK),
    (5 * 2**30, 2**32 - 1, 2**32 + 1),
]
METADATA = {
    "a file": Metadata("report.pdf", "application/pdf", 48_213),
    "a name in several scripts": Metadata("報告書 e\u0301té 😀.txt", "text/plain", 0),
    "a pipe, whose size was not known": Metadata("stdin", "application/octet-stream", None),
    "an archive": Metadata(
        "photos.zip",
        "application/zip",
        5_000_000_000,
        [
            ArchiveEntry("photos/", 0, "2026-11-28T10:00:00Z"),
            ArchiveEntry("photos/1.jpg", 4_999_999_000, None),
        ],
    ),
}


def text_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def salt_of(title: str) -> bytes:
    return hashlib.sha256(title.encode()).digest()[:24]


def message(title: str, text: bytes, key: Key = KEY, context: bytes = FILE_CONTEXT) -> dict[str, Any]:
    encrypted = encrypt_all(key, salt_of(title), context, text)
    return {
        "title": title,
        "key": key.secret.hex(),
        "salt": salt_of(title).hex(),
        "context": context.decode(),
        "size": len(text),
        "encrypted_size": len(encrypted),
        "header": encrypted[:HEADER].hex(),
        "sha256": hashlib.sha256(encrypted).hexdigest(),
        **({"encrypted": encrypted.hex()} if len(encrypted) < 1000 else {}),
    }


def refused() -> list[dict[str, Any]]:
    one, two, three = (HEADER + number * BLOCK for number in (1, 2, 3))
    end = three + 100 + TAG
    header, zero, first = [LONG, 0, HEADER], [LONG, HEADER, one], [LONG, one, two]
    second, last = [LONG, two, three], [LONG, three, end]
    whole = [LONG, 0, end]
    other, other_key = "32768 bytes", {"key": OTHER_KEY.secret.hex()}
    rows: list[tuple[str, list[list[Any]], int, dict[str, Any]]] = [
        ("a bit of the salt", [whole], 0, {"flip": [0]}),
        ("a bit of the commitment", [whole], 0, {"flip": [HEADER - 1]}),
        ("a bit of the first chunk", [whole], 0, {"flip": [HEADER]}),
        ("a bit of the first tag", [whole], 0, {"flip": [one - 1]}),
        ("a bit of the second chunk", [whole], CHUNK, {"flip": [one + 5]}),
        ("a bit of the last tag", [whole], 3 * CHUNK, {"flip": [end - 1]}),
        ("nothing at all", [], 0, {}),
        ("half a header", [[LONG, 0, 30]], 0, {}),
        ("the header alone", [header], 0, {}),
        ("cut in the first chunk", [[LONG, 0, one - 1]], 0, {}),
        ("cut after the first chunk", [[LONG, 0, one]], CHUNK, {}),
        ("cut before the last chunk", [[LONG, 0, three]], 3 * CHUNK, {}),
        ("cut in a tag", [[LONG, 0, three + 15]], 3 * CHUNK, {}),
        ("cut by one byte", [[LONG, 0, end - 1]], 3 * CHUNK, {}),
        ("one byte more", [whole, [LONG, 0, 1]], 3 * CHUNK, {}),
        ("two chunks swapped", [header, first, zero, second, last], 0, {}),
        ("all chunks in reverse", [header, second, first, zero, last], 0, {}),
        ("a chunk repeated", [header, zero, first, first, second, last], 2 * CHUNK, {}),
        ("a chunk left out", [header, zero, second, last], CHUNK, {}),
        ("the last chunk alone", [header, last], 0, {}),
        ("an end after the end", [whole, ["0 bytes", HEADER, HEADER + TAG]], 3 * CHUNK, {}),
        ("a chunk of another file", [header, zero, [other, one, two], second, last], CHUNK, {}),
        ("a chunk of another key", [header, zero, ["another key", one, two], second, last], CHUNK, {}),
        ("the header of another file", [[other, 0, HEADER], zero, first, second, last], 0, {}),
        ("the salt of another file", [[other, 0, 24], [LONG, 24, end]], 0, {}),
        ("the key of another file", [whole], 0, other_key),
        ("the context of metadata", [whole], 0, {"context": METADATA_CONTEXT.decode()}),
    ]
    return [{"title": title, "pieces": pieces, "before": before, **more} for title, pieces, before, more in rows]


def chunks_of(start: int, stop: int, size: int) -> tuple[int, int, int]:
    """What to read of an encrypted message, `size` bytes long, for the bytes from `start` to before `stop`.

    Returns the number of the first chunk, and the range of bytes. The range has whole chunks.
    """
    first, last = start // CHUNK, max(stop - 1, start) // CHUNK
    return first, offset_of(first), min(offset_of(last + 1), size)


def range_vector(size: int, start: int, stop: int) -> dict[str, int]:
    first, offset, end = chunks_of(start, stop, encrypted_size(size))
    return {"size": size, "start": start, "stop": stop, "first": first, "offset": offset, "end": end}


def metadata(title: str) -> dict[str, Any]:
    fields = METADATA[title].json()
    encrypted = encrypt_all(KEY, salt_of(title), METADATA_CONTEXT, compact(fields))
    return {
        "title": title,
        "key": KEY.secret.hex(),
        "salt": salt_of(title).hex(),
        "encryption": {"scheme": SCHEME, "metadata": base64.urlsafe_b64encode(encrypted).rstrip(b"=").decode()},
        "fields": fields,
    }


def vectors() -> dict[str, list[Any]]:
    sizes = [message(f"{size} bytes", text_of(size)) for size in SIZES]
    fragments = [Key(bytes(16)), KEY, Key(b"\xfb\xff" * 8)]
    return {
        "messages": [
            *sizes,
            message("another key", text_of(LONG_SIZE), OTHER_KEY),
            message("another context", b"Hello!", KEY, METADATA_CONTEXT) | {"text": b"Hello!".hex()},
        ],
        "refused": refused(),
        "ranges": [range_vector(*row) for row in RANGES],
        "fragments": [{"fragment": key.link("")[1:], "key": key.secret.hex()} for key in fragments],
        "bad_fragments": [
            "k=",
            "k=AAECAwQFBgcICQoLDA0OD",  # one character is missing
            "k=AAECAwQFBgcICQoLDA0ODw=",
            "k=AAECAwQFBgcICQoLDA0ODx",  # bits that are not part of the key
            "k=AAECAwQFBgcICQoLDA0OD/",
            "k=AAECAwQFBgcICQoLDA0ODwA",
            "K=AAECAwQFBgcICQoLDA0ODw",
            "AAECAwQFBgcICQoLDA0ODw",
            "k=AAECAwQFBgcICQoLDA0ODw&k=AAECAwQFBgcICQoLDA0ODw",
        ],
        "metadata": [metadata(title) for title in METADATA],
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
