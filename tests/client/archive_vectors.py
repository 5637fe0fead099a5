"""Writes tests/archive_vectors.json, with which every implementation of the archive layout must agree.

Each vector has the members of an archive, its size, and `structure_sha256`: the SHA-256 of all its bytes except those
of the members. If members have a `content`, `sha256` is that of the whole archive; small archives are included as
`hex`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from share.archive.layout import Layout, Member

PATH = Path(__file__).parent.parent / "archive_vectors.json"
TIME = 1_795_860_000  # 2026-11-28T10:00:00Z
GIB = 2**30

# The name, content or size, and time of each member.
ARCHIVES: dict[str, list[tuple[str, str | int, int]]] = {
    "nothing": [],
    "one file": [("hello.txt", "Hello!", TIME)],
    "an empty file and an empty folder": [("photos/empty.txt", "", TIME), ("photos/none/", "", TIME)],
    "names in several scripts, decomposed accents, emoji": [
        ("報告書/年次.txt", "a", TIME),
        ("e\u0301te\u0301.txt", "b", TIME),
        ("😀.txt", "c", TIME),
    ],
    "odd seconds and times at the edges of DOS": [
        ("odd", "1", TIME + 1),
        ("1969", "2", -1),
        ("1970", "3", 0),
        ("1979", "4", 315_532_799),
        ("1980", "5", 315_532_800),
        ("2038", "6", 2**31 - 1),
        ("after 2038", "7", 2**31),
        ("2107", "8", 4_354_819_199),
        ("2108", "9", 4_354_819_200),
    ],
    "a size just below the limit of 32 bits": [("large.bin", 2**32 - 2, TIME), ("after.txt", 1, TIME)],
    "a size just at the limit of 32 bits": [("large.bin", 2**32 - 1, TIME), ("after.txt", 1, TIME)],
    "5 GiB, and a member after it": [("large.bin", 5 * GIB, TIME), ("after.txt", 1, TIME)],
    # With a name of one byte, the local header has 40 bytes.
    "an offset just below the limit": [("a", 2**32 - 2 - 40, TIME), ("b", 1, TIME)],
    "an offset just at the limit": [("a", 2**32 - 1 - 40, TIME), ("b", 1, TIME)],
    "65,534 members": [(f"{number}", 0, TIME) for number in range(65_534)],
    "65,535 members": [(f"{number}", 0, TIME) for number in range(65_535)],
}


def content_of(value: str | int) -> bytes | None:
    return value.encode() if isinstance(value, str) else None


def vector(title: str) -> dict[str, Any]:
    rows = ARCHIVES[title]
    members = [
        Member(name, len(content), modified, zlib.crc32(content))
        if (content := content_of(value)) is not None
        else Member(name, int(value), modified, 0x01234567)
        for name, value, modified in rows
    ]
    layout = Layout(members)
    structure, whole = hashlib.sha256(), bytearray()
    for piece in layout.pieces():
        if isinstance(piece, int):
            whole += content_of(rows[piece][1]) or b""
        else:
            structure.update(piece)
            whole += piece
    shown: dict[str, Any] = {"title": title}
    if len(members) < 100:
        shown["members"] = [
            {"name": name, "size": member.size, "modified": modified, "crc": member.crc}
            | ({"content": value} if isinstance(value, str) else {})
            for (name, value, modified), member in zip(rows, members, strict=True)
        ]
    else:
        shown["count"] = len(members)
        shown["each"] = {"name": "its number, from 0", "size": 0, "modified": TIME, "crc": 0x01234567}
    shown |= {"size": layout.size, "structure_sha256": structure.hexdigest()}
    if len(whole) == layout.size:
        shown["sha256"] = hashlib.sha256(whole).hexdigest()
        if len(whole) < 500:
            shown["hex"] = whole.hex()
    return shown


def text() -> str:
    return json.dumps([vector(title) for title in ARCHIVES], indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
