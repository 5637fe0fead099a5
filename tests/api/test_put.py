"""PUT, as `curl -T` sends it: a name in the path, bytes in the body, and a link for people who read no JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.client import BEHIND_GATEWAY, DIGITS, SERVERS, Api, problem, saved_as


def put(api: Api, path: str = "digits.txt", content: bytes = DIGITS, **headers: str) -> dict[str, Any]:
    response = api.request("PUT", f"/file/upload/{path}", _names(headers), content)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def test_the_body_is_the_file(api: Api) -> None:
    data = bytes(range(256)) * 5
    answer = put(api, "report.pdf", data, content_type="application/pdf")
    assert answer["file_size"] == len(data)
    response = api.download(answer["file_id"])
    assert response.content == data
    assert response.headers["content-type"] == "application/pdf"
    assert saved_as(response) == "report.pdf"


def test_an_empty_body_is_an_empty_file(api: Api) -> None:
    assert api.download(put(api, content=b"")["file_id"]).content == b""


def test_a_form_sent_by_put_is_kept_as_it_is(api: Api) -> None:
    sent = b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n1\r\n--x--\r\n"
    answer = put(api, content=sent, content_type="multipart/form-data; boundary=x")
    assert api.download(answer["file_id"]).content == sent


def test_the_answer_is_that_of_a_form(api: Api) -> None:
    by_form, by_put = api.upload(), put(api, content_type="text/plain")
    own = {"file_id", "download_link", "download_page", "created_at", "delete_token"}
    assert set(by_put) == set(by_form)
    assert {key: by_put[key] for key in set(by_put) - own} == {key: by_form[key] for key in set(by_form) - own}


NAMES = {
    "plain": ("report.pdf", "report.pdf"),
    "UTF-8": (quote("Über 日本.pdf"), "Über 日本.pdf"),
    "blank": ("a%20b.txt", "a b.txt"),
    "plus": ("a+b.txt", "a+b.txt"),
    "hash": ("a%23b.txt", "a#b.txt"),
    "encoded slash": ("dir%2Fb.txt", "b.txt"),
    "slash": ("dir/b.txt", "b.txt"),
    "backslash": ("C:%5Cdir%5Cb.txt", "b.txt"),
    "climbing": ("..%2F..%2Fetc%2Fpasswd", "passwd"),
    "dots": ("%2E%2E", "file"),
    "line break": ("a%0D%0Ab.txt", "ab.txt"),
    "255 bytes": ("a" * 255, "a" * 255),
}


@pytest.mark.parametrize(("path", "name"), NAMES.values(), ids=NAMES.keys())
def test_the_name_is_the_last_segment_of_the_path(api: Api, path: str, name: str) -> None:  # C128
    answer = put(api, path)
    assert answer["original_name"] == put(api, f"{path}/")["original_name"] == name
    assert saved_as(api.download(answer["file_id"])) == name


# What a path is to a server, and to the gateway, which decodes it twice and cuts it in between, or refuses it.
ALTERED = {
    "question mark": ("a%3Fb.txt", "a?b.txt", "a"),
    "question mark, twice encoded": ("a%253Fb.txt", "a%3Fb.txt", "a?b.txt"),
    "percent": ("100%25.txt", "100%.txt", None),
    "percent, twice encoded": ("a%2541.txt", "a%41.txt", "aA.txt"),
}


@SERVERS
@pytest.mark.parametrize(("path", "name", "_altered"), ALTERED.values(), ids=ALTERED.keys())
def test_a_server_takes_any_name_in_the_path(api: Api, path: str, name: str, _altered: str | None) -> None:
    assert put(api, path)["original_name"] == name


@BEHIND_GATEWAY
@pytest.mark.parametrize(("path", "_name", "altered"), ALTERED.values(), ids=ALTERED.keys())
def test_a_name_in_the_path_may_reach_a_function_altered(api: Api, path: str, _name: str, altered: str | None) -> None:
    if altered is None:
        assert api.request("PUT", f"/file/upload/{path}", content=DIGITS).status_code == 400
        assert api.objects.keys() == []
    else:
        assert put(api, path)["original_name"] == altered


def test_bytes_of_a_path_that_are_not_utf8_do_not_fail(api: Api) -> None:
    answer = put(api, "a%FFb.txt")
    assert answer["original_name"].startswith("a")
    assert saved_as(api.download(answer["file_id"])) == answer["original_name"]


NO_NAMES = {
    "with slash": "/file/upload/",
    "without slash": "/file/upload",
    "two slashes": "/file/upload//",
    "encoded slash": "/file/upload/dir%2F%2F",
    "control characters": "/file/upload/%01%0A",
    "256 bytes": "/file/upload/" + "a" * 256,
}


@pytest.mark.parametrize("path", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_a_put_without_a_usable_name_is_refused(api: Api, path: str) -> None:
    members = problem(api.request("PUT", path, content=DIGITS), 422)
    assert [error["field"] for error in members["errors"]] == ["filename"]
    assert api.objects.keys() == []


TYPES = {
    "given": ("text/csv; charset=utf-16", "text/csv; charset=utf-16"),
    "malformed": ("text", "application/octet-stream"),
    "curl -d": ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize(("sent", "kept"), TYPES.values(), ids=TYPES.keys())
def test_the_type_is_the_one_sent_if_it_is_one(api: Api, sent: str, kept: str) -> None:
    assert put(api, content_type=sent)["content_type"] == kept


def test_a_put_without_type_is_bytes(api: Api) -> None:
    assert put(api)["content_type"] == "application/octet-stream"


PLAIN = {"alone": "text/plain", "with quality": "text/plain;q=0.9, */*;q=0.1", "in capitals": "Text/Plain"}


@pytest.mark.parametrize("accept", PLAIN.values(), ids=PLAIN.keys())
def test_whoever_wants_text_gets_the_link_and_a_newline_alone(api: Api, accept: str) -> None:
    response = api.request("PUT", "/file/upload/digits.txt", {"accept": accept}, DIGITS)
    assert response.status_code == 201
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.endswith("\n")
    link = response.text.removesuffix("\n")
    assert link == response.headers["location"]
    assert link.startswith(f"{api.base}/file/download/")
    assert api.request("GET", link).content == DIGITS


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "text/plain, application/json"])
def test_whoever_takes_anything_gets_json(api: Api, accept: str) -> None:
    response = api.request("PUT", "/file/upload/digits.txt", {"accept": accept}, DIGITS)
    assert response.headers["content-type"] == "application/json"


def test_the_delete_link_deletes(api: Api) -> None:
    response = api.request("PUT", "/file/upload/digits.txt", {"accept": "text/plain"}, DIGITS)
    link = response.headers["x-url-delete"]
    assert link.startswith(f"{api.base}/file/")
    assert api.request("DELETE", link).status_code == 204
    problem(api.request("GET", response.headers["location"]), 404)


def test_a_compressed_body_is_refused(api: Api) -> None:  # C041
    response = api.request("PUT", "/file/upload/digits.txt", {"content-encoding": "gzip"}, DIGITS)
    problem(response, 415)
    assert api.objects.keys() == []


def test_a_put_of_exactly_the_limit_is_taken(api: Api) -> None:  # C191
    api.configure("SHARE_MAX_FILE_SIZE", len(DIGITS))
    assert put(api)["file_size"] == len(DIGITS)


@pytest.mark.parametrize("length", ["11", "0", "junk"], ids=["announced", "announced too low", "announced wrongly"])
def test_one_byte_over_the_limit_is_refused_with_the_limit(api: Api, length: str) -> None:  # C191
    api.configure("SHARE_MAX_FILE_SIZE", len(DIGITS))
    members = problem(api.request("PUT", "/file/upload/digits.txt", {"content-length": length}, DIGITS + b"x"), 413)
    assert members["limit"] == len(DIGITS)
    assert api.objects.keys() == []


def test_a_name_in_the_query_is_no_name(api: Api) -> None:
    for path in ("/file/upload", "/file/upload/"):
        problem(api.request("PUT", path, content=b"x", params={"filename": "a.txt"}), 422)
