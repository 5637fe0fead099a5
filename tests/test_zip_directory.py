"""The directory of an archive: large values, the names that packers write, and the effort for crafted ones."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from share.archive.layout import Layout, Member

from shared.zip_directory import MAX_ENTRIES, Header, InvalidZip, ZipTooLarge, read_directory
from tests import archives

GIB = 2**30
LARGE = [Member("small", 1, 0, 0), Member("5 GiB", 5 * GIB, 0, 0), Member("behind it", 7, 0, 0)]
MANY = [Member(f"{number}.txt", number, 0, 0) for number in range(70_000)]
TIMES = struct.pack("<2HBi", 0x5455, 5, 1, 1_795_774_500)
NOTHING = struct.pack("<2H", 0x9999, 0)


def headers(archive: bytes) -> list[Header]:
    return read_directory(len(archive), lambda start, stop: archive[start:stop])


def with_name(name: bytes, flags: int) -> bytes:
    archive = archives.packed({"x" * len(name): b""}).replace(b"x" * len(name), name)
    return archives.patched(archive, archives.FLAGS, "<H", flags)


@pytest.mark.parametrize("members", [LARGE, MANY], ids=["5 GiB", "70,000"])
@pytest.mark.parametrize("in_front", [0, 1000], ids=["alone", "behind a program"])
def test_sizes_offsets_and_numbers_can_need_64_bits(members: list[Member], in_front: int) -> None:
    layout = Layout(members)
    ranges = archives.Ranges(layout)

    def read(start: int, stop: int) -> bytes:
        return ranges.zeros(start - in_front, stop - in_front)

    listed = read_directory(in_front + layout.size, read)
    assert [(each.name, each.size) for each in listed] == [(member.name, member.size) for member in members]
    assert {read(each.offset, each.offset + 4) for each in (*listed[:9], *listed[-9:])} == {b"PK\x03\x04"}


@pytest.mark.parametrize(
    ("name", "flags", "text"),
    [
        ("e\u0301 報告 😀".encode(), 0x800, "e\u0301 報告 😀"),
        # As macOS and Info-ZIP write them.
        ("e\u0301 報告 😀".encode(), 0, "e\u0301 報告 😀"),
        # As MS-DOS wrote them.
        ("Grüße".encode("cp437"), 0, "Grüße"),
        (b"a.txt\0.exe", 0, "a.txt"),
    ],
)
def test_names_are_in_the_encoding_that_their_packer_used(name: bytes, flags: int, text: str) -> None:
    assert [each.name for each in headers(with_name(name, flags))] == [text]


def test_only_the_first_extra_fields_of_an_entry_are_read() -> None:
    """An archive has room for millions of empty ones, and reading them would keep a processor busy for seconds."""
    modified = []
    for extra in (NOTHING * 7 + TIMES, NOTHING * 8 + TIMES, NOTHING * 16_000 + TIMES, b"\xff" * 100):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            info = zipfile.ZipInfo("a", archives.MOMENT)
            archive.writestr(info, b"")
            info.extra = extra
        (header,) = headers(buffer.getvalue())
        modified.append(header.modified)
    assert modified == ["2026-11-27T10:15:00Z", *["2026-11-27T10:15:00"] * 3]


def test_a_directory_with_too_many_entries_is_refused_before_it_is_read() -> None:
    # Otherwise the first entry would be refused, because the others overlap it.
    with pytest.raises(InvalidZip):
        headers(archives.crowded(MAX_ENTRIES))
    with pytest.raises(ZipTooLarge):
        headers(archives.crowded(MAX_ENTRIES + 1))


def test_large_values_without_their_field_are_refused() -> None:
    with pytest.raises(InvalidZip):
        headers(archives.patched(archives.PLAIN, archives.SIZE, "<I", 0xFFFFFFFF))
