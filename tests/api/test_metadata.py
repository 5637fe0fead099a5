"""Metadata of one file and of all: exact shapes, one source of truth, and list pages that miss no file."""

from __future__ import annotations

import json
import re
import uuid

import httpx
import pytest

from tests.api.client import (
    DIGITS,
    METADATA,
    Api,
    blob_key,
    problem,
    record_key,
    stored,
)


def test_nothing_is_listed_to_begin_with(api: Api) -> None:
    assert api.listing() == {}


def test_upload_list_and_single_metadata_agree(api: Api) -> None:
    uploaded = api.upload(DIGITS, "é.txt", "text/plain; charset=utf-8")
    file_id = uploaded["file_id"]
    described = {name: uploaded[name] for name in METADATA}
    assert api.metadata(file_id) == described
    assert api.listing() == {file_id: described}


def test_numbers_are_integers(api: Api) -> None:
    file_id = api.upload(b"")["file_id"]
    api.download(file_id)
    text = api.request("GET", f"/file/metadata/{file_id}").text
    assert re.search(r'"file_size": ?0[,}]', text)
    assert re.search(r'"download_count": ?1[,}]', text)


def test_the_download_link_can_be_followed_as_it_is(api: Api) -> None:
    file_id = api.upload()["file_id"]
    for link in (api.metadata(file_id)["download_link"], api.listing()[file_id]["download_link"]):
        assert api.request("GET", link).content == DIGITS


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_path_works_with_and_without_its_slash(api: Api, method: str) -> None:
    file_id = api.upload()["file_id"]
    for path in ("/file/metadata", f"/file/metadata/{file_id}"):
        bare, slashed = api.request(method, path), api.request(method, f"{path}/")
        assert bare.status_code == slashed.status_code == 200
        assert bare.content == slashed.content


def test_head_has_the_headers_of_get_and_no_body(api: Api) -> None:
    file_id = api.upload()["file_id"]
    for path in ("/file/metadata/", f"/file/metadata/{file_id}"):
        head, get = api.request("HEAD", path), api.request("GET", path)
        assert head.headers == get.headers
        assert head.content == b""


def _pages(api: Api, limit: int) -> list[httpx.Response]:
    pages = [api.request("GET", "/file/metadata/", params={"limit": str(limit)})]
    while "link" in pages[-1].headers:
        match = re.fullmatch(r'<([^<>]+)>; rel="next"', pages[-1].headers["link"])
        assert match is not None
        assert match[1].startswith(f"{api.base}/file/metadata?")
        pages.append(api.request("GET", match[1]))
    return pages


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (1000, [3])])
def test_pages_follow_each_other_by_link_sorted_and_complete(api: Api, limit: int, sizes: list[int]) -> None:
    ids = sorted(api.upload()["file_id"] for _ in range(3))
    pages = [list(page.json()) for page in _pages(api, limit)]
    assert [len(page) for page in pages] == sizes
    assert [file_id for page in pages for file_id in page] == ids


def test_a_page_begins_after_the_requested_id(api: Api) -> None:
    ids = sorted(api.upload()["file_id"] for _ in range(3))
    after = [api.request("GET", "/file/metadata/", params={"after": file_id}).json() for file_id in ids]
    assert [list(page) for page in after] == [ids[1:], ids[2:], []]


def test_a_page_can_begin_after_an_id_that_does_not_exist(api: Api) -> None:
    file_id = api.upload()["file_id"]
    first, last = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"
    assert list(api.request("GET", "/file/metadata/", params={"after": first}).json()) == [file_id]
    assert api.request("GET", "/file/metadata/", params={"after": last}).json() == {}


def test_a_list_without_a_limit_is_shorter_on_lambda(api: Api, request: pytest.FixtureRequest) -> None:
    # On Lambda, each file of a page is a read from S3, and all reads must fit into one invocation.
    size = 1000 if request.node.callspec.params["api"] in ("directory", "s3") else 100
    file_id = api.upload()["file_id"]
    record = api.objects.read(record_key(file_id))
    for _ in range(100):
        copy = str(uuid.uuid4())
        api.objects.write(record_key(copy), record.replace(file_id.encode(), copy.encode()))
    response = api.request("GET", "/file/metadata")
    assert len(response.json()) == min(size, 101)
    assert ("link" in response.headers) is (size == 100)
    assert len(api.request("GET", "/file/metadata", params={"limit": "1000"}).json()) == 101


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "1.5", "1e3", "+1", " 1", "٣", "9" * 5000, "abc", ""])
def test_a_limit_that_is_no_number_of_files_is_refused(api: Api, limit: str) -> None:
    members = problem(api.request("GET", "/file/metadata/", params={"limit": limit}), 422)
    assert [error["field"] for error in members["errors"]] == ["limit"]


@pytest.mark.parametrize("after", ["x", "../..", "3F0B6F0E-6D0C-4A5E-9B43-0D6C3B7C8F10"])
def test_a_page_can_follow_nothing_but_an_id(api: Api, after: str) -> None:
    members = problem(api.request("GET", "/file/metadata/", params={"after": after}), 422)
    assert [error["field"] for error in members["errors"]] == ["after"]


DAMAGED_RECORDS = {
    "empty": b"",
    "cut": b"{",
    "not an object": b"[]",
    "null": b"null",
    "zeros": bytes(300),
    "missing keys": b"{}",
    "deeply nested": b"[" * 3000,
    "byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("data", DAMAGED_RECORDS.values(), ids=DAMAGED_RECORDS.keys())
def test_a_damaged_record_hides_one_file_and_no_other(api: Api, data: bytes) -> None:
    whole, damaged = api.upload(), api.upload()
    api.objects.write(record_key(damaged["file_id"]), data)
    assert list(api.listing()) == [whole["file_id"]]
    for path in ("metadata", "download"):
        response = api.request("GET", f"/file/{path}/{damaged['file_id']}")
        assert problem(response, 500)["title"] == "Damaged file"
        assert damaged["file_id"] not in response.text


def test_a_record_says_only_what_it_is_meant_to_say(api: Api) -> None:
    file_id = api.upload()["file_id"]
    record = api.objects.read(record_key(file_id))
    api.objects.write(record_key(file_id), record.replace(b'"file_size":10', b'"file_size":NaN'))
    problem(api.request("GET", f"/file/metadata/{file_id}"), 500)
    assert api.listing() == {}


def test_junk_in_storage_is_not_listed(api: Api) -> None:
    file_id = api.upload()["file_id"]
    for key in ("metadata/.DS_Store", "metadata/lost+found/x", f"{record_key(file_id)}~", "metadata/zz/x.json"):
        api.objects.write(key, b"junk")
    assert list(api.listing()) == [file_id]


def test_no_cache_keeps_what_is_said_of_a_file(api: Api) -> None:
    # A cache can choose a lifetime for answers without one (RFC 9111 §4.2.2), and would show an old count.
    file_id = api.upload(DIGITS, "a.json", "application/json")["file_id"]
    paths = ["/file/metadata", f"/file/metadata/{file_id}", "/health", "/openapi.json", "/no/such/path"]
    for path in (*paths, "/file/metadata?limit=none"):
        assert api.request("GET", path).headers.get_list("cache-control") == ["no-store"], path
    assert api.post(b"").headers["cache-control"] == "no-store"
    assert api.download(file_id).headers.get_list("cache-control") == ["private, no-cache, no-transform"]


def test_the_name_of_a_file_is_in_its_record_alone(api: Api) -> None:
    file_id = api.upload(DIGITS, "../../é😀 name.txt", "text/x-odd")["file_id"]
    assert stored(api) == [blob_key(file_id), record_key(file_id)]
    assert json.loads(api.objects.read(record_key(file_id)))["original_name"] == "é😀 name.txt"


def test_ids_are_random_and_safe_to_show_anywhere(api: Api) -> None:
    ids = [api.upload(b"x")["file_id"] for _ in range(20)]
    # RFC 9562 §5.4: 122 bits are random, and the rest is the same in every version 4 ID.
    assert all(uuid.UUID(file_id).version == 4 and re.fullmatch(r"[0-9a-f][0-9a-f-]{35}", file_id) for file_id in ids)
    assert len({file_id[:8] for file_id in ids}) == 20
    assert ids != sorted(ids)
