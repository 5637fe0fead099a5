"""What is inside an archive: every zip is listed as it is, and one that lies is refused."""

from __future__ import annotations

import io
import itertools
import struct
import zipfile

import pytest

from tests import archives
from tests.api.client import Api, problem


def entries(api: Api, archive: bytes) -> list[tuple[str, int]]:
    file_id = api.upload(archive, "files.zip", "application/zip")["file_id"]
    response = api.request("GET", f"/file/entries/{file_id}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return [(entry["name"], entry["size"]) for entry in response.json()]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_entries_come_in_the_order_of_the_archive(api: Api, compression: int) -> None:
    files = {"z.txt": b"0" * 5000, "folder/": b"", "folder/é 漢 🎉.txt": b"abc", "empty": b""}
    listed = entries(api, archives.packed(files, compression))
    assert listed == [(name, len(data)) for name, data in files.items()]


def test_an_archive_without_files_has_no_entries(api: Api) -> None:
    assert entries(api, archives.packed({})) == []


def test_names_are_not_changed_however_odd(api: Api) -> None:
    # Who makes paths of them has to check them, and can only if they are what is in the archive.
    names = ["../../etc/passwd", "/etc/passwd", "C:\\a", "a", "A", "a", "CON", ' "\n\x1b[2J', ".."]
    assert [name for name, _ in entries(api, archives.packed(zip(names, itertools.repeat(b""))))] == names


def test_bytes_in_front_of_an_archive_do_not_matter(api: Api) -> None:  # as in one that unpacks itself
    assert entries(api, b"#!/bin/sh\n" + archives.PLAIN) == [("a.txt", 10), ("b.txt", 3)]


def test_a_comment_of_the_greatest_length_is_skipped(api: Api) -> None:
    buffer = io.BytesIO(archives.PLAIN)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"c" * 0xFFFF
    assert entries(api, buffer.getvalue()) == [("a.txt", 10), ("b.txt", 3)]


def test_times_are_in_utc_where_the_archive_says_so(api: Api) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        utc = zipfile.ZipInfo("utc", archives.MOMENT)
        utc.extra = struct.pack("<HHBi", 0x5455, 5, 1, 1_795_774_500)
        archive.writestr(utc, b"")
        archive.writestr(zipfile.ZipInfo("local", archives.MOMENT), b"")
        archive.writestr(zipfile.ZipInfo("never", (1980, 0, 0, 0, 0, 0)), b"")
    file_id = api.upload(buffer.getvalue())["file_id"]
    times = {entry["name"]: entry["modified"] for entry in api.request("GET", f"/file/entries/{file_id}").json()}
    assert times == {"utc": "2026-11-27T10:15:00Z", "local": "2026-11-27T10:15:00", "never": None}


@pytest.mark.parametrize("lie", archives.LIARS)
def test_a_directory_that_lies_is_refused(api: Api, lie: str) -> None:
    file_id = api.upload(archives.LIARS[lie]())["file_id"]
    members = problem(api.request("GET", f"/file/entries/{file_id}"), 415)
    assert members["type"].endswith(":not-an-archive")


def test_listing_is_not_counted(api: Api) -> None:
    form = {"max-downloads": "1"}
    sent = api.request("PUT", "/file/upload/a.zip", form, archives.PLAIN).json()
    assert api.request("GET", f"/file/entries/{sent['file_id']}").status_code == 200
    assert api.count(sent["file_id"]) == 0


def test_an_archive_with_a_password_is_listed_with_it_only(api: Api) -> None:
    sent = api.request("PUT", "/file/upload/a.zip", {"x-password": "swordfish"}, archives.PLAIN).json()
    path = f"/file/entries/{sent['file_id']}"
    assert problem(api.request("GET", path), 401)["type"].endswith(":password-required")
    assert api.request("GET", path, {"authorization": "Basic OnN3b3JkZmlzaA=="}).status_code == 200


def test_an_unknown_archive_is_a_404(api: Api) -> None:
    problem(api.request("GET", "/file/entries/00000000-0000-4000-8000-000000000000"), 404)
    problem(api.request("GET", "/file/entries/none"), 404)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_path_works_with_and_without_its_slash(api: Api, method: str) -> None:
    file_id = api.upload(archives.PLAIN)["file_id"]
    for path in (f"/file/entries/{file_id}", f"/file/entries/{file_id}/"):
        assert api.request(method, path).status_code == 200
