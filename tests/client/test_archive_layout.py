"""The archive layout: its bytes never change, and other programs can read it."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from share.archive.layout import Layout, Member

from tests.archives import Ranges
from tests.client.archive_vectors import ARCHIVES, PATH, TIME, text

CONTENTS = [b"", b"a", b"hello" * 300, bytes(70_000), "Grüße".encode()]
NAMES = ["empty/", "a.txt", "photos/b.txt", "報告/c.bin", "e\u0301 😀.txt"]
MEMBERS = [
    Member(name, len(content), TIME + number * 1000, zlib.crc32(content))
    for number, (name, content) in enumerate(zip(NAMES, CONTENTS, strict=True))
]


LAYOUT = Layout(MEMBERS)
WHOLE = b"".join(CONTENTS[piece] if isinstance(piece, int) else piece for piece in LAYOUT.pieces())


class Zeros(io.RawIOBase):
    """An archive in which all files consist of zeros, however large they are."""

    def __init__(self, layout: Layout) -> None:
        self._size = layout.size
        self._ranges = Ranges(layout)
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._ranges.zeros(self._position, min(self._position + len(buffer), self._size))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def test_the_published_vectors_are_those_of_this_implementation() -> None:
    # A change of the layout breaks uploads that are being resumed, and differs from the page's copy of the layout.
    assert PATH.read_text() == text()


def test_the_length_is_right_before_any_byte_is_read() -> None:
    assert len(WHOLE) == LAYOUT.size


def test_zipfile_reads_names_bytes_and_times() -> None:
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == NAMES
        assert [archive.read(name) for name in NAMES] == CONTENTS
        assert archive.infolist()[0].is_dir()
        assert archive.infolist()[1].date_time == (2026, 11, 28, 10, 16, 40)


@pytest.mark.parametrize(
    "command",
    [["unzip", "-tqq"], ["zip", "-T", "-q"], ["7z", "t", "-bso0"], ["bsdtar", "-tf"], ["jar", "tf"]],
    ids=lambda command: command[0],
)
def test_other_programs_read_it(tmp_path: Path, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = tmp_path / "archive.zip"
    path.write_bytes(WHOLE)
    ran = subprocess.run([*command, str(path)], capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran
    assert b"rror" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("title", [title for title in ARCHIVES if "limit" in title or "GiB" in title])
def test_zip64_is_used_only_where_it_is_needed(title: str) -> None:
    members = [Member(name, int(size), time, 0) for name, size, time in ARCHIVES[title]]
    layout = Layout(members)
    with zipfile.ZipFile(Zeros(layout)) as archive:
        assert [(entry.filename, entry.file_size) for entry in archive.infolist()] == [
            (member.name, member.size) for member in members
        ]
        offsets = [entry.header_offset for entry in archive.infolist()]
        needs = [entry.extract_version for entry in archive.infolist()]
        # JDK 22 and newer refuse a ZIP64 field that is not needed.
        fields = [entry.extra[:2] == b"\x01\x00" for entry in archive.infolist()]
    large = [member.size >= 2**32 - 1 or offset >= 2**32 - 1 for member, offset in zip(members, offsets, strict=True)]
    assert fields == large
    assert needs == [45 if each else 20 for each in large]
    last = members[-1]
    header = Ranges(layout).zeros(offsets[-1], offsets[-1] + 40)
    assert struct.unpack("<4s", header[:4]) == (b"PK\x03\x04",)
    assert header[30 : 30 + len(last.name)] == last.name.encode()


@pytest.mark.parametrize(("count", "extended"), [(65_534, False), (65_535, True), (70_000, True)])
def test_many_members_are_counted(count: int, *, extended: bool) -> None:
    layout = Layout([Member(str(number), 0, TIME, 0) for number in range(count)])
    with zipfile.ZipFile(Zeros(layout)) as archive:
        assert len(archive.infolist()) == count
    tail = Ranges(layout).zeros(layout.size - 98, layout.size)
    assert (b"PK\x06\x06" in tail) is extended


def test_the_vectors_name_what_another_implementation_needs() -> None:
    for vector in json.loads(PATH.read_text()):
        assert {"title", "size", "structure_sha256"} <= set(vector)
        assert ("members" in vector) != ("each" in vector)
