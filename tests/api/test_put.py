"""PUT, as `curl -T` sends it: a name in the path, bytes in the body, and a plain-text link for people."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import Route

from functions.app import ROUTERS
from shared.http.endpoint import OWN_SEGMENTS
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
def test_the_name_is_the_last_segment_of_the_path(api: Api, path: str, name: str) -> None:
    answer = put(api, path)
    assert answer["original_name"] == put(api, f"{path}/")["original_name"] == name
    assert saved_as(api.download(answer["file_id"])) == name


# A path, its name on a server, and its name behind the gateway, which decodes twice, cuts in between, or refuses.
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
}


@pytest.mark.parametrize(("sent", "kept"), TYPES.values(), ids=TYPES.keys())
def test_the_type_is_the_one_sent_if_it_is_one(api: Api, sent: str, kept: str) -> None:
    assert put(api, content_type=sent)["content_type"] == kept


def test_a_put_without_type_is_bytes(api: Api) -> None:
    assert put(api)["content_type"] == "application/octet-stream"


PLAIN = {"alone": "text/plain", "with quality": "text/plain;q=0.9, */*;q=0.1", "in capitals": "Text/Plain"}


@pytest.mark.parametrize("accept", PLAIN.values(), ids=PLAIN.keys())
def test_accepting_text_gets_only_the_link_and_a_newline(api: Api, accept: str) -> None:
    response = api.request("PUT", "/file/upload/digits.txt", {"accept": accept}, DIGITS)
    assert response.status_code == 201
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.endswith("\n")
    link = response.text.removesuffix("\n")
    assert link == response.headers["location"] + "/digits.txt"
    assert link.startswith(f"{api.base}/file/download/")
    assert api.request("GET", link).content == DIGITS


LAST_SEGMENTS = {
    "plain": ("report-1_a.pdf", "report-1_a.pdf"),
    "letters of any script": ("Über 日本.pdf", "Über_日本.pdf"),
    "marks": ("cafe\N{COMBINING ACUTE ACCENT}.txt", "cafe\N{COMBINING ACUTE ACCENT}.txt"),
    "digits of any script": ("٣.txt", "٣.txt"),
    "what ends a path": ("100% really?#;.txt", "100__really___.txt"),
    "percent-encoded": ("a%41.txt", "a_41.txt"),
    "plus": ("a+b~c.txt", "a_b_c.txt"),
    "emoji": ("🎉", "_"),
    "dots alone": ("...", "_"),
}


@pytest.mark.parametrize(("name", "segment"), LAST_SEGMENTS.values(), ids=LAST_SEGMENTS.keys())
def test_a_text_answer_ends_in_a_form_of_the_name_that_nothing_alters(api: Api, name: str, segment: str) -> None:
    response = api.request("PUT", "/file/upload", {"accept": "text/plain"}, DIGITS, params={"filename": name})
    link = response.text.removesuffix("\n")
    # Percent-encoded, so that terminals and chats find the end of the link.
    assert link == f"{response.headers['location']}/{quote(segment)}"
    assert saved_as(api.request("GET", link)) == name


def test_any_last_segment_downloads_the_file(api: Api) -> None:
    sent = api.upload()
    for number, name in enumerate(("digits.txt", "b%20c", "%F0%9F%8E%89", "digits.txt/", "..."), start=1):
        path = f"/file/download/{sent['file_id']}/{name}"
        head = api.request("HEAD", path)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(DIGITS)))
        response = api.request("GET", path)
        assert (response.content, saved_as(response)) == (DIGITS, "digits.txt")
        assert api.count(sent["file_id"]) == number


def test_more_than_one_segment_is_no_name(api: Api) -> None:
    problem(api.request("GET", f"/file/download/{api.upload()['file_id']}/a/b"), 404)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "text/plain, application/json"])
def test_accepting_anything_gets_json(api: Api, accept: str) -> None:
    response = api.request("PUT", "/file/upload/digits.txt", {"accept": accept}, DIGITS)
    assert response.headers["content-type"] == "application/json"


def test_a_type_that_tools_write_for_any_body_is_not_taken_for_the_files(api: Api) -> None:
    form_type, json_type = "application/x-www-form-urlencoded", "application/json"
    assert put(api, "photo.jpg", content_type=form_type)["content_type"] == "image/jpeg"
    assert put(api, "data", content_type=form_type)["content_type"] == "application/octet-stream"
    assert put(api, "photo.jpg", content_type=json_type)["content_type"] == "image/jpeg"
    answer = put(api, "data.json", content_type=json_type)
    assert api.download(answer["file_id"]).headers["content-type"] == json_type


def test_the_delete_link_deletes(api: Api) -> None:
    response = api.request("PUT", "/file/upload/digits.txt", {"accept": "text/plain"}, DIGITS)
    link = response.headers["x-url-delete"]
    assert link.startswith(f"{api.base}/file/")
    assert api.request("DELETE", link).status_code == 204
    problem(api.request("GET", response.headers["location"]), 404)


def test_a_compressed_body_is_refused(api: Api) -> None:
    response = api.request("PUT", "/file/upload/digits.txt", {"content-encoding": "gzip"}, DIGITS)
    problem(response, 415)
    assert api.objects.keys() == []


def test_a_put_of_exactly_the_limit_is_taken(api: Api) -> None:
    api.configure("SHARE_MAX_FILE_SIZE", len(DIGITS))
    assert put(api)["file_size"] == len(DIGITS)


@pytest.mark.parametrize("length", ["11", "0", "junk"], ids=["announced", "announced too low", "announced wrongly"])
def test_one_byte_over_the_limit_is_refused_with_the_limit(api: Api, length: str) -> None:
    api.configure("SHARE_MAX_FILE_SIZE", len(DIGITS))
    members = problem(api.request("PUT", "/file/upload/digits.txt", {"content-length": length}, DIGITS + b"x"), 413)
    assert members["limit"] == len(DIGITS)
    assert api.objects.keys() == []


AWKWARD = ["100% really?.txt", "a%41.txt", "a+b c#d.txt", "🎉.txt", "a&b=c;d.txt", "%2F", "💾 \u202eexe.txt"]


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("path", ["/file/upload", "/file/upload/"])
def test_a_name_in_the_query_arrives_as_it_was_sent(api: Api, path: str, name: str) -> None:
    response = api.request("PUT", path, content=DIGITS, params={"filename": name})
    assert response.status_code == 201, response.text
    assert response.json()["original_name"] == name.replace("\u202e", "")
    assert saved_as(api.download(response.json()["file_id"])) == response.json()["original_name"]


def test_the_type_in_the_query_outweighs_that_of_the_body(api: Api) -> None:
    octets = {"content-type": "application/octet-stream"}
    kinds = {"text/csv; charset=utf-16": "text/csv; charset=utf-16", "text": "application/octet-stream"}
    for sent, kept in kinds.items():
        parameters = {"filename": "a.csv", "content_type": sent}
        response = api.request("PUT", "/file/upload", octets, b"caf\xe9\n", params=parameters)
        assert response.json()["content_type"] == kept
        assert api.download(response.json()["file_id"]).content == b"caf\xe9\n"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/file/upload/a.txt?filename=a.txt", "filename"),
        ("/file/upload?filename=a.txt&filename=b.txt", "filename"),
        ("/file/upload?filename=", "filename"),
        ("/file/upload?filename=a&content_type=a/b&content_type=a/b", "content_type"),
    ],
)
def test_a_name_or_type_is_given_exactly_once(api: Api, path: str, field: str) -> None:
    members = problem(api.request("PUT", path, content=DIGITS), 422)
    assert [error["field"] for error in members["errors"]] == [field]
    assert api.objects.keys() == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/report.pdf", "report.pdf"),
        ("/report.pdf/", "report.pdf"),
        ("/a%20b%23c.txt?expires_in=60", "a b#c.txt"),
        ("/files", "files"),
        ("/docs.txt", "docs.txt"),
        ("/docs%0A", "docs"),
    ],
)
def test_a_put_at_the_root_stores_a_file(api: Api, path: str, name: str) -> None:
    response = api.request("PUT", path, content=DIGITS)
    assert response.status_code == 201, response.text
    assert response.json()["original_name"] == name
    assert api.download(response.json()["file_id"]).content == DIGITS


def test_a_put_at_the_root_needs_the_token(api: Api) -> None:
    api.configure("SHARE_API_TOKEN", "the-token")
    problem(api.request("PUT", "/report.pdf", content=DIGITS), 401)
    assert api.objects.keys() == []
    assert api.request("PUT", "/report.pdf", {"authorization": "Bearer the-token"}, DIGITS).status_code == 201


@pytest.mark.parametrize("token", ["", "the-token"])
@pytest.mark.parametrize("name", OWN_SEGMENTS)
def test_no_file_is_stored_under_the_first_segment_of_our_own_paths(api: Api, name: str, token: str) -> None:
    api.configure("SHARE_API_TOKEN", token)
    for slash in ("", "/"):
        response = api.request("PUT", f"/{name}{slash}", content=DIGITS)
        problem(response, 405)
        assert "PUT" not in response.headers["allow"]
    assert api.objects.keys() == []


def test_the_first_segments_of_our_paths_are_all_reserved() -> None:
    paths = [route.path for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    first = {path.split("/")[1] for path in paths if not path.startswith("/{")}
    assert set(OWN_SEGMENTS) == (first - {""}) | {"docs", "inbox", "openapi.json"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_the_root_has_no_other_methods_for_unknown_names(api: Api, method: str) -> None:
    assert api.request(method, "/report.pdf").status_code == 404
