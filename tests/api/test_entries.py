"""Entries of archives: every valid zip is listed exactly, and inconsistent ones are refused."""

from __future__ import annotations

import io
import itertools
import json
import struct
import zipfile

import httpx
import pytest

from shared.storage.keys import record_key
from tests import archives
from tests.api.client import Api, fetch, problem, redirected, saved_as
from tests.servers import ask


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
    # Programs that make paths of these names must check them, and can do so only if the names are exact.
    names = ["../../etc/passwd", "/etc/passwd", "C:\\a", "a", "A", "a", "CON", ' "\n\x1b[2J', ".."]
    assert [name for name, _ in entries(api, archives.packed(zip(names, itertools.repeat(b""))))] == names


def test_bytes_in_front_of_an_archive_do_not_matter(api: Api) -> None:  # as in a self-extracting archive
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


JSON = {"content-type": "application/json"}
MULTIPART = "/file/s3/multipart"
OVER_S3 = pytest.mark.parametrize("api", ["s3", "functions"], indirect=True)


def shared(api: Api, archive: bytes = archives.PLAIN, **headers: str) -> str:
    """Upload an archive. Returns its ID."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    response = api.request("PUT", "/file/upload?filename=files.zip&content_type=application/zip", fields, archive)
    assert response.status_code == 201, response.text
    file_id: str = response.json()["file_id"]
    return file_id


def take(api: Api, file_id: str, entry: str, method: str = "GET", **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.request(method, f"/file/download/{file_id}", sent, params={"entry": entry})


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_entry_is_downloaded_alone_and_counts_as_the_archive(api: Api, compression: int) -> None:
    files = {"a/é 100%.txt": b"0123456789" * 2000, "empty": b"", "page.html": b"<p>"}
    file_id = shared(api, archives.packed(files, compression))
    for count, (name, data) in enumerate(files.items(), 1):
        response = take(api, file_id, name)
        assert (response.status_code, response.content) == (200, data)
        assert response.headers["content-length"] == str(len(data))
        assert saved_as(response) == name.rpartition("/")[2]
        assert "repr-digest" not in response.headers
        assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert api.count(file_id) == count
    assert take(api, file_id, "a/é 100%.txt").headers["content-type"] == "text/plain"
    assert take(api, file_id, "empty").headers["content-type"] == "application/octet-stream"


def test_a_stored_entry_has_ranges_and_a_tag_of_its_own(api: Api) -> None:
    file_id = shared(api)
    head = take(api, file_id, "a.txt", "HEAD")
    assert (head.headers["accept-ranges"], head.headers["content-length"], head.content) == ("bytes", "10", b"")
    tags = {head.headers["etag"], take(api, file_id, "b.txt", "HEAD").headers["etag"]}
    assert len(tags | {api.download(file_id, "HEAD").headers["etag"]}) == 3
    middle = take(api, file_id, "a.txt", range="bytes=4-6", if_range=head.headers["etag"])
    assert (middle.status_code, middle.content) == (206, b"456")
    assert middle.headers["content-range"] == "bytes 4-6/10"
    assert take(api, file_id, "a.txt", range="bytes=10-").status_code == 416
    assert take(api, file_id, "a.txt", if_none_match=head.headers["etag"]).status_code == 304
    assert api.count(file_id) == 0


def test_a_deflated_entry_is_sent_whole(api: Api) -> None:
    file_id = shared(api, archives.DEFLATED)
    response = take(api, file_id, "a.txt", range="bytes=4-6")
    assert (response.status_code, response.headers["accept-ranges"]) == (200, "none")
    assert response.content == b"0123456789" * 100


def test_an_entry_of_a_capped_archive_resumes_with_its_own_ticket(api: Api) -> None:
    file_id = shared(api, max_downloads="2")
    first = take(api, file_id, "a.txt", range="bytes=0-3")
    whole = api.download(file_id)
    assert api.count(file_id) == 2
    problem(take(api, file_id, "b.txt"), 410)
    rest = take(api, file_id, "a.txt", range="bytes=4-", if_range=first.headers["etag"])
    assert (rest.status_code, rest.content) == (206, b"456789")
    for stolen, entry in ((first, "b.txt"), (whole, "a.txt")):
        problem(take(api, file_id, entry, range="bytes=1-", if_range=stolen.headers["etag"]), 410)


def test_what_is_not_in_the_archive_is_not_counted(api: Api) -> None:
    file_id = shared(api)
    assert problem(take(api, file_id, "c.txt"), 404)["type"].endswith(":unknown-entry")
    assert problem(take(api, api.upload()["file_id"], "a.txt"), 415)["type"].endswith(":not-an-archive")
    encrypted = shared(api, archives.patched(archives.PLAIN, archives.FLAGS, "<H", 1))
    assert problem(take(api, encrypted, "a.txt"), 415)["type"].endswith(":unsupported-entry")
    assert api.count(file_id) == 0


def test_an_entry_needs_the_password_of_its_archive(api: Api) -> None:
    file_id = shared(api, x_password="swordfish")
    assert problem(take(api, file_id, "a.txt"), 401)["type"].endswith(":password-required")
    assert take(api, file_id, "a.txt", authorization="Basic OnN3b3JkZmlzaA==").content == b"0123456789"


@OVER_S3
def test_a_large_entry_is_counted_and_sent_to_storage_alone(api: Api) -> None:
    """The redirect leads to a separate copy, because it cannot select a range of the archive."""
    api.configure("SHARE_INLINE_LIMIT", 4)
    file_id = shared(api)
    for count in (1, 2):
        location = redirected(take(api, file_id, "a.txt"))
        assert api.count(file_id) == count
        answer = fetch(location)
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        assert answer.headers["content-type"] == "text/plain"
        assert saved_as(answer) == "a.txt"
        assert fetch(location, range="bytes=2-3").content == b"23"
    later = take(api, file_id, "a.txt", range="bytes=4-")
    assert fetch(redirected(later), range="bytes=4-").content == b"456789"
    assert take(api, file_id, "a.txt", range="bytes=4-7").content == b"4567"
    assert take(api, file_id, "b.txt").content == b"abc"
    assert api.count(file_id) == 3
    assert redirected(api.download(file_id)).partition("?")[0].endswith(f"/raw/{file_id}")


@OVER_S3
def test_a_large_entry_of_a_direct_upload_is_taken_from_where_it_landed(api: Api) -> None:
    api.configure("SHARE_INLINE_LIMIT", 4)
    begun = api.request("POST", MULTIPART, JSON, b'{"filename": "files.zip"}').json()
    address, key = f"{MULTIPART}/{begun['uploadId']}", {"key": begun["key"]}
    url = api.request("GET", f"{address}/1", params=key).json()["url"]
    etag = ask("PUT", url, content=archives.PLAIN).headers["etag"]
    parts = json.dumps({"parts": [{"PartNumber": 1, "ETag": etag}]}).encode()
    assert api.request("POST", f"{address}/complete", JSON, parts, key).status_code == 200
    assert not json.loads(api.objects.read(record_key(begun["file_id"])))["sealed"]
    assert fetch(redirected(take(api, begun["file_id"], "a.txt"))).content == b"0123456789"


@OVER_S3
def test_a_large_deflated_entry_is_refused(api: Api) -> None:
    api.configure("SHARE_INLINE_LIMIT", 4)
    file_id = shared(api, archives.packed({"a.txt": b"0123456789"}, zipfile.ZIP_DEFLATED))
    assert problem(take(api, file_id, "a.txt"), 413)["type"].endswith(":archive-too-large")
    assert api.count(file_id) == 0


@OVER_S3
def test_a_deleted_archive_takes_the_copies_of_its_entries_along(api: Api) -> None:
    api.configure("SHARE_INLINE_LIMIT", 2)
    uploaded = api.request("PUT", "/file/upload?filename=files.zip", content=archives.PLAIN).json()
    for entry in ("a.txt", "b.txt"):
        redirected(take(api, uploaded["file_id"], entry))
    stored = api.objects.keys()
    copies = [key for key in stored if key.startswith(f"raw/entries/{uploaded['file_id']}/")]
    assert len(copies) == 2
    api.request("DELETE", f"/file/{uploaded['file_id']}", {"x-delete-token": uploaded["delete_token"]})
    stored = api.objects.keys()
    assert [key for key in stored if key.startswith(("raw/", "files/"))] == []


@pytest.mark.parametrize("name", ["..", "a/\u202e", "x" * 300])
def test_a_name_that_no_file_can_have_is_saved_as_another(api: Api, name: str) -> None:
    file_id = shared(api, archives.packed({name: b"data"}))
    response = take(api, file_id, name)
    assert response.content == b"data"
    assert saved_as(response) == "file"
