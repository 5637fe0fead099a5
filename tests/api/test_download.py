"""Downloads: exact bytes of the whole file or a range, safe headers, and a count of exactly the downloads."""

from __future__ import annotations

import hashlib
import pickle
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.client import BEHIND_GATEWAY, DIGITS, Api, blob_key, problem, saved_as

EVERY_BYTE = bytes(range(256)) * 3


def test_a_download_says_what_it_is(api: Api) -> None:
    uploaded = api.upload(DIGITS, "report.pdf", "application/pdf")
    response = api.download(uploaded["file_id"])
    assert response.status_code == 200
    assert response.content == DIGITS
    assert response.headers["content-type"] == "application/pdf"
    assert response.headers["content-length"] == "10"
    assert response.headers["content-disposition"] == 'attachment; filename="report.pdf"'
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["repr-digest"] == f"sha-256=:{b64encode(hashlib.sha256(DIGITS).digest()).decode()}:"
    assert response.headers["etag"].startswith('"')
    assert response.headers["last-modified"].endswith(" GMT")
    assert "content-encoding" not in response.headers


def test_a_download_can_neither_be_shown_inline_nor_cached_by_others(api: Api) -> None:
    file_id = api.upload(b"<script>1</script>", "x.html", "text/html")["file_id"]
    response = api.download(file_id, accept="text/html")
    assert response.headers["content-disposition"].startswith("attachment;")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert response.headers["cache-control"] == "private, no-cache, no-transform"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/octet-stream",
        "text/plain",
        "text/csv; charset=utf-16",
        "text/html; charset=utf-7",
        "application/json",
        "application/problem+json",
        "image/svg+xml",
    ],
)
@pytest.mark.parametrize("data", [EVERY_BYTE, "ä\r\n\ufeff\0".encode()], ids=["every byte", "UTF-8"])
def test_bytes_are_exact_whatever_their_type(api: Api, content_type: str, data: bytes) -> None:
    response = api.download(api.upload(data, content_type=content_type)["file_id"])
    assert response.content == data
    assert response.headers["content-type"] == content_type


def test_the_path_works_with_a_slash_too(api: Api) -> None:
    file_id = api.upload()["file_id"]
    response = api.request("GET", f"/file/download/{file_id}/")
    assert response.status_code == 200
    assert response.content == DIGITS
    assert api.count(file_id) == 1


@pytest.mark.parametrize("slash", ["", "/"])
def test_head_has_the_headers_of_get_and_no_body(api: Api, slash: str) -> None:
    file_id = api.upload()["file_id"]
    head = api.request("HEAD", f"/file/download/{file_id}{slash}")
    get = api.request("GET", f"/file/download/{file_id}{slash}")
    assert head.status_code == get.status_code == 200
    assert head.headers == get.headers
    assert head.content == b""


def test_head_knows_no_ranges(api: Api) -> None:
    response = api.download(api.upload()["file_id"], "HEAD", range="bytes=0-3")
    assert response.status_code == 200
    assert response.headers["content-length"] == "10"


PARTS = {
    "first bytes": ("bytes=0-3", 0, 4),
    "from the middle on": ("bytes=5-", 5, 10),
    "last bytes": ("bytes=-3", 7, 10),
    "more than there is": ("bytes=9-100", 9, 10),
    "all of it": ("bytes=0-", 0, 10),
}


@pytest.mark.parametrize(("asked", "start", "stop"), PARTS.values(), ids=PARTS.keys())
def test_a_range_is_answered_with_that_part(api: Api, asked: str, start: int, stop: int) -> None:
    response = api.download(api.upload()["file_id"], range=asked)
    assert response.status_code == 206
    assert response.content == DIGITS[start:stop]
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/10"
    assert response.headers["content-length"] == str(stop - start)
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert saved_as(response) == "digits.txt"


def test_a_range_past_the_end_is_refused_with_the_size(api: Api) -> None:
    response = api.download(api.upload()["file_id"], range="bytes=10-")
    problem(response, 416)
    assert response.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize("asked", ["items=0-3", "bytes=5-4", "bytes=0-1,3-4", "bytes=" + "0-0," * 200 + "0-0"])
def test_a_range_that_is_not_served_gets_the_whole_file(api: Api, asked: str) -> None:
    response = api.download(api.upload()["file_id"], range=asked)
    assert response.status_code == 200
    assert response.content == DIGITS
    assert "content-range" not in response.headers


def test_an_interrupted_download_can_be_resumed(api: Api) -> None:
    file_id = api.upload()["file_id"]
    begun = api.download(file_id, range="bytes=0-3")
    rest = api.download(file_id, range="bytes=4-", if_range=begun.headers["etag"])
    assert begun.content + rest.content == DIGITS
    assert rest.status_code == 206
    assert api.count(file_id) == 1


def test_a_part_of_another_version_is_not_handed_out(api: Api) -> None:
    response = api.download(api.upload()["file_id"], range="bytes=4-", if_range='"other"')
    assert response.status_code == 200
    assert response.content == DIGITS


def test_the_date_of_the_file_resumes_too(api: Api) -> None:
    file_id = api.upload()["file_id"]
    date = api.download(file_id, "HEAD").headers["last-modified"]
    assert api.download(file_id, range="bytes=4-", if_range=date).status_code == 206


def test_a_client_that_has_the_file_is_told_so(api: Api) -> None:
    file_id = api.upload()["file_id"]
    head = api.download(file_id, "HEAD")
    by_tag = api.download(file_id, if_none_match=head.headers["etag"], range="bytes=0-3")
    by_date = api.download(file_id, if_modified_since=head.headers["last-modified"])
    for response in (by_tag, by_date):
        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["etag"] == head.headers["etag"]


def test_what_is_not_modified_keeps_its_type(api: Api) -> None:
    # A cache copies the headers of a 304 (RFC 9111 §3.2), so a type there must be that of the file.
    file_id = api.upload(content_type="text/plain")["file_id"]
    response = api.download(file_id, if_none_match="*")
    assert response.headers.get("content-type", "text/plain") == "text/plain"


def test_a_client_that_wants_another_file_is_refused(api: Api) -> None:
    problem(api.download(api.upload()["file_id"], if_match='"other"'), 412)


COUNTED = {
    "whole": {},
    "from byte 0": {"range": "bytes=0-3"},
    "suffix that is all of it": {"range": "bytes=-100"},
    "range ignored": {"range": "items=5-"},
    "range of another version": {"range": "bytes=5-", "if_range": '"other"'},
    "condition that holds": {"if_match": "*"},
}

NOT_COUNTED = {
    "range that starts later": ({"range": "bytes=1-"}, 206),
    "suffix": ({"range": "bytes=-3"}, 206),
    "not modified": ({"if_none_match": "*"}, 304),
    "condition that fails": ({"if_match": '"other"'}, 412),
    "range behind the end": ({"range": "bytes=10-"}, 416),
    "prefetch": ({"sec_purpose": "prefetch"}, 503),
    "prerender": ({"sec_purpose": "prefetch;prerender"}, 503),
    "prefetch of old": ({"purpose": "prefetch"}, 503),
    "prefetch of a range": ({"sec_purpose": "prefetch", "range": "bytes=0-3"}, 503),
}


@pytest.mark.parametrize("headers", COUNTED.values(), ids=COUNTED.keys())
def test_a_download_is_counted_once(api: Api, headers: dict[str, str]) -> None:
    file_id = api.upload()["file_id"]
    assert api.download(file_id, **headers).status_code in (200, 206)
    assert api.count(file_id) == 1


@pytest.mark.parametrize(("headers", "status"), NOT_COUNTED.values(), ids=NOT_COUNTED.keys())
def test_what_is_no_download_is_not_counted(api: Api, headers: dict[str, str], status: int) -> None:
    file_id = api.upload()["file_id"]
    assert api.download(file_id, **headers).status_code == status
    assert api.count(file_id) == 0


def test_looking_is_not_counted(api: Api) -> None:
    file_id = api.upload()["file_id"]
    for method in ("GET", "HEAD"):
        for path in ("/file/metadata/", f"/file/metadata/{file_id}"):
            assert api.request(method, path).status_code == 200
    assert api.download(file_id, "HEAD").status_code == 200
    assert api.count(file_id) == 0


def test_every_download_is_counted(api: Api) -> None:
    file_id = api.upload()["file_id"]
    for _ in range(3):
        api.download(file_id)
    assert api.metadata(file_id)["download_count"] == 3
    assert api.listing()[file_id]["download_count"] == 3


def test_a_prefetch_is_sent_away_for_a_moment(api: Api) -> None:
    response = api.download(api.upload()["file_id"], sec_purpose="prefetch")
    problem(response, 503)
    assert int(response.headers["retry-after"]) > 0


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "one byte short": lambda blob: blob[:-1],
    "one byte long": lambda blob: blob + b".",
    "empty": lambda _blob: b"",
    "no pickle": lambda blob: bytes(len(blob)),
    "pickle of another length": lambda blob: blob[:3] + (3).to_bytes(8, "little") + blob[11:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_blob_is_a_problem_and_not_counted(api: Api, damage: Callable[[bytes], bytes]) -> None:
    file_id = api.upload()["file_id"]
    key = blob_key(file_id)
    api.objects.write(key, damage(api.objects.read(key)))
    response = api.download(file_id)
    assert problem(response, 500)["title"] == "Damaged file"
    assert not any(word in response.text for word in (file_id, "pickle", "files/", "blob"))
    assert api.download(file_id, "HEAD").status_code == 500
    assert api.count(file_id) == 0


def test_a_missing_blob_is_a_problem_and_not_counted(api: Api) -> None:
    file_id = api.upload()["file_id"]
    api.objects.delete(blob_key(file_id))
    for asked in ({}, {"range": "bytes=0-3"}, {"range": "bytes=4-"}):
        problem(api.download(file_id, **asked), 500)
    assert api.download(file_id, "HEAD").status_code == 500
    assert api.count(file_id) == 0


class _Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._path,)


def test_code_that_was_planted_in_a_blob_does_not_run(api: Api, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    planted = b"\x80\x04\x8e" + (3).to_bytes(8, "little") + b"abc" + b"0" + pickle.dumps(_Touch(trace))
    pickle.loads(planted)
    assert trace.exists(), "the trap works"
    trace.unlink()
    file_id = api.upload(bytes(len(planted) - 12))["file_id"]
    api.objects.write(blob_key(file_id), planted)
    problem(api.download(file_id), 500)
    assert not trace.exists()
    assert api.count(file_id) == 0


@BEHIND_GATEWAY
def test_ranges_get_past_the_limit_of_an_answer(api: Api) -> None:
    api.configure("SHARE_INLINE_LIMIT", 9)
    file_id = api.upload()["file_id"]
    parts = [api.download(file_id, range=asked) for asked in ("bytes=0-8", "bytes=9-")]
    assert [part.status_code for part in parts] == [206, 206]
    assert b"".join(part.content for part in parts) == DIGITS
    assert api.count(file_id) == 1


@pytest.mark.parametrize("api", ["functions"], indirect=True)
def test_the_limit_of_an_answer_fits_into_a_lambda_payload(api: Api) -> None:
    limit = 4 * 1024 * 1024
    assert api.download(api.upload(b"\xff" * limit)["file_id"]).content == b"\xff" * limit
    assert api.download(api.upload(b"\xff" * (limit + 1))["file_id"]).status_code == 307


@pytest.mark.parametrize("api", ["directory"], indirect=True)
def test_a_directory_has_no_limit_on_answers(api: Api) -> None:
    api.configure("SHARE_INLINE_LIMIT", 1)
    assert api.download(api.upload()["file_id"]).content == DIGITS
