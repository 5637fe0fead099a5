"""Uploads: valid forms and their answers, and that refused forms leave nothing behind."""

from __future__ import annotations

import hashlib
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.client import (
    DIGITS,
    METADATA,
    Api,
    blob_key,
    file_part,
    form,
    problem,
    record_key,
    saved_as,
    stored,
    text_part,
)


def test_an_upload_is_answered_with_what_was_stored(api: Api) -> None:
    response = api.post(form(file_part(DIGITS, "report.pdf", "application/pdf")))
    assert response.status_code == 201
    answer = response.json()
    assert set(answer) == METADATA | {"file_id", "delete_token"}
    link = f"{api.base}/file/download/{answer['file_id']}"
    expected: dict[str, Any] = {
        "original_name": "report.pdf",
        "content_type": "application/pdf",
        "file_size": 10,
        "download_count": 0,
        "download_link": link,
        "sha256": hashlib.sha256(DIGITS).hexdigest(),
        "expires_at": None,
        "max_downloads": None,
        "password_protected": False,
    }
    assert answer.items() >= expected.items()
    assert response.headers["location"] == link


def test_an_upload_carries_the_time_it_was_made_in_utc(api: Api) -> None:
    before = datetime.now(UTC)
    created_at = api.upload()["created_at"]
    assert created_at.endswith("Z")
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(created_at) <= datetime.now(UTC)


def test_the_path_works_without_its_slash_too(api: Api) -> None:
    content_type = {"content-type": "multipart/form-data; boundary=X-boundary"}
    response = api.request("POST", "/file/upload", content_type, form(file_part(DIGITS)))
    assert response.status_code == 201
    assert api.download(response.json()["file_id"]).content == DIGITS


@pytest.mark.parametrize("size", [0, 1, 11, 12, 65_535, 65_536, 1024 * 1024 + 1])
def test_a_file_of_any_size_comes_out_as_it_went_in(api: Api, size: int) -> None:
    data = bytes(position * 7 % 251 for position in range(size))
    answer = api.upload(data)
    assert answer["file_size"] == size
    response = api.download(answer["file_id"])
    assert response.status_code == 200
    assert response.content == data
    assert response.headers["content-length"] == str(size)
    assert api.count(answer["file_id"]) == 1


def test_the_stored_object_is_a_pickle_of_the_bytes(api: Api) -> None:
    data = bytes(range(256))
    file_id = api.upload(data)["file_id"]
    assert pickle.loads(api.objects.read(blob_key(file_id))) == data
    assert stored(api) == [blob_key(file_id), record_key(file_id)]


def test_files_of_one_name_and_content_are_files_of_their_own(api: Api) -> None:
    first, second = api.upload(b"one", "same.txt"), api.upload(b"two", "same.txt")
    assert first["file_id"] != second["file_id"]
    assert api.download(first["file_id"]).content == b"one"
    assert api.download(second["file_id"]).content == b"two"


# The text between the quotes, and the resulting name of the file.
NAMES = {
    "not ASCII": ("报告-ä-😀.txt", "报告-ä-😀.txt"),
    "quoted pairs": (r"q\"uo\\te.txt", "te.txt"),
    "separators": ("semi;colon, comma=1.txt", "semi;colon, comma=1.txt"),
    "percent text": ("50%25 a%22b%0D%0Ac.txt", "50%25 a%22b%0D%0Ac.txt"),
    "NUL": ("a\x00b.txt", "ab.txt"),
    "terminal escape": ("\x1b[2Jx\x7f.txt", "[2Jx.txt"),
    "composed": ("\u00e9.txt", "\u00e9.txt"),
    "decomposed": ("e\u0301.txt", "e\u0301.txt"),
    "as long as a name may be": ("a" * 251 + ".txt", "a" * 251 + ".txt"),
    "path": ("../../etc/passwd", "passwd"),
    "encoded path": ("..%2f..%2fx", "..%2f..%2fx"),
    "drive": (r"C:\Users\me\r.txt", "r.txt"),
    "device": ("CON", "CON"),
    "dot at the end": ("file.txt.", "file.txt."),
    "spaces around": (" lead ", " lead "),
    "dot file": (".htaccess", ".htaccess"),
    "this directory": (".", "file"),
    "parent directory": ("..", "file"),
    "three dots": ("...", "..."),
    "not UTF-8": (b"\xff\xfe.txt", "\ufffd\ufffd.txt"),
    "markup": (r"\"><img src=x onerror=alert(1)>.txt", '"><img src=x onerror=alert(1)>.txt'),
    "tab and two spaces": ("a\tb  c.txt", "ab  c.txt"),
    "plain": ("report.txt", "report.txt"),
    "unusual text": (
        "\u2028\ufeff\uffff\U0001f600" + "\u0301" * 30,
        "\u2028\ufeff\uffff\U0001f600" + "\u0301" * 30,
    ),
}


@pytest.mark.parametrize(("sent", "name"), NAMES.values(), ids=NAMES.keys())
def test_a_name_is_the_same_wherever_it_is_shown(api: Api, sent: str | bytes, name: str) -> None:
    answer = api.upload(name=sent)
    file_id = answer["file_id"]
    assert answer["original_name"] == name
    assert api.metadata(file_id)["original_name"] == name
    assert api.listing()[file_id]["original_name"] == name
    assert saved_as(api.download(file_id)) == name


# The type that is sent, and the resulting type of the file.
TYPES = {
    "none": (None, "application/octet-stream"),
    "HTML": ("text/html", "text/html"),
    "capitals": ("TEXT/HTML", "TEXT/HTML"),
    "words": ("not a type", "application/octet-stream"),
    "not ASCII": ("text/плейн", "application/octet-stream"),
    "no charset is added": ("text/plain", "text/plain"),
    "parameters": ('image/png; a=b; c="d;e"', 'image/png; a=b; c="d;e"'),
    "byteranges": ("multipart/byteranges; boundary=Z", "multipart/byteranges; boundary=Z"),
    "another than the name suggests": ("image/png", "image/png"),
}


@pytest.mark.parametrize(("sent", "content_type"), TYPES.values(), ids=TYPES.keys())
def test_a_type_is_the_same_wherever_it_is_shown(api: Api, sent: str | None, content_type: str) -> None:
    answer = api.upload(name="page.html", content_type=sent)
    file_id = answer["file_id"]
    assert answer["content_type"] == content_type
    assert api.metadata(file_id)["content_type"] == content_type
    assert api.listing()[file_id]["content_type"] == content_type
    assert api.download(file_id).headers["content-type"] == content_type


def test_parts_that_nobody_asked_for_are_ignored(api: Api) -> None:
    other = b'Content-Disposition: form-data; name="other"; filename="other.txt"\r\n\r\nother'
    response = api.post(form(text_part("before", b"1"), other, file_part(DIGITS), text_part("after", b"2")))
    assert response.status_code == 201
    assert api.download(response.json()["file_id"]).content == DIGITS


SECRET = b"s3cret content"
MALFORMED = {
    "no closing delimiter": form(file_part(SECRET))[: -len("--\r\n")] + b"\r\n",
    "cut inside the closing delimiter": form(file_part(SECRET))[:-6],
    "preamble": b"preamble\r\n" + form(file_part(SECRET)),
    "line feeds alone": form(file_part(SECRET)).replace(b"\r\n", b"\n"),
    "part without headers": form(b"\r\n" + SECRET),
    "very many parts": form(*[text_part("x", SECRET)] * 100, file_part(SECRET)),
    "empty": b"",
}

UNUSABLE = {
    "name too long": (form(file_part(SECRET, "漢" * 90)), "filename"),
    "no file chosen": (form(file_part(SECRET, "")), "file"),
    "text instead of a file": (form(text_part("file", SECRET)), "file"),
    "two files": (form(file_part(SECRET), file_part(SECRET)), "file"),
    "another field": (form(file_part(SECRET).replace(b'name="file"', b'name="upload"')), "file"),
    "nothing in it": (form(), "file"),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_form_is_refused_and_leaves_nothing(api: Api, sent: bytes) -> None:
    response = api.post(sent)
    problem(response, 400)
    assert b"s3cret" not in response.content
    assert api.objects.keys() == []


@pytest.mark.parametrize(("sent", "field"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_value_is_named_and_leaves_nothing(api: Api, sent: bytes, field: str) -> None:
    response = api.post(sent)
    members = problem(response, 422)
    assert [error["field"] for error in members["errors"]] == [field]
    assert b"s3cret" not in response.content
    assert api.objects.keys() == []


NO_FORM = {
    "JSON": {"content-type": "application/json"},
    "another multipart": {"content-type": "multipart/mixed; boundary=X-boundary"},
    "no type": {"content-type": ""},
    "URL-encoded": {"content-type": "application/x-www-form-urlencoded"},
    "compressed": {"content-encoding": "gzip"},
}


@pytest.mark.parametrize("headers", NO_FORM.values(), ids=NO_FORM.keys())
def test_only_a_plain_form_is_taken(api: Api, headers: dict[str, str]) -> None:
    problem(api.post(form(file_part(DIGITS)), **headers), 415)
    assert api.objects.keys() == []


def test_a_form_without_boundary_is_malformed(api: Api) -> None:
    problem(api.post(form(file_part(DIGITS)), content_type="multipart/form-data"), 400)


def test_a_file_may_have_exactly_as_many_bytes_as_the_limit(api: Api) -> None:
    api.configure("SHARE_MAX_FILE_SIZE", len(DIGITS))
    assert api.upload(DIGITS)["file_size"] == len(DIGITS)


def test_one_byte_over_the_limit_is_refused_with_the_limit(api: Api) -> None:
    api.configure("SHARE_MAX_FILE_SIZE", len(DIGITS) - 1)
    members = problem(api.post(form(file_part(DIGITS))), 413)
    assert members["limit"] == len(DIGITS) - 1
    assert api.objects.keys() == []


def test_what_surrounds_the_file_is_limited_too(api: Api) -> None:
    problem(api.post(form(file_part(DIGITS), text_part("note", bytes(70_000)))), 413)
    assert api.objects.keys() == []


def test_the_next_upload_works_after_one_that_failed(api: Api) -> None:
    problem(api.post(b""), 400)
    assert api.download(api.upload()["file_id"]).content == DIGITS


def test_a_digest_and_a_type_that_are_too_long_are_refused(api: Api) -> None:
    digest = {"repr-digest": "a=(" + "a " * 2000 + ")"}
    problem(api.request("PUT", "/file/upload/a.txt", digest, DIGITS), 400)
    kind = {"content-type": "multipart/form-data; boundary=X" + "; a" * 2000}
    problem(api.request("POST", "/file/upload/", kind, DIGITS), 400)
