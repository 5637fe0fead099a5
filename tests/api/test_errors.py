"""Errors: each is a problem document, and none reveals more than the client may know."""

from __future__ import annotations

import itertools
import uuid

import pytest

from tests.api.client import BEHIND_GATEWAY, SERVERS, Api, file_part, form, problem

UNKNOWN = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"


def test_an_unknown_id_looks_like_an_unknown_path(api: Api) -> None:
    unknown_ids = [f"/file/{endpoint}/{UNKNOWN}{slash}" for endpoint in ("download", "metadata") for slash in ("", "/")]
    unknown_paths = ["/no/such/page", "/download", "/file/download/", "/file/uploads/"]
    answers = [api.request("GET", path) for path in unknown_ids + unknown_paths]
    for answer in answers:
        problem(answer, 404)
    assert len({answer.content for answer in answers}) == 1


NO_IDS = {
    "upper case": UNKNOWN.upper(),
    "without hyphens": UNKNOWN.replace("-", ""),
    "another version": str(uuid.UUID(UNKNOWN[:14] + "1" + UNKNOWN[15:])),
    "in braces": f"{{{UNKNOWN}}}",
    "path": "..%2f..%2fetc%2fpasswd",
    "dots": "%2e%2e",
    "backslashes": "..%5c..%5cx",
    "NUL": "%00",
    "line break": "a%0d%0aX:%20y",
    "line break behind the ID": f"{UNKNOWN}%0a",
    "very long": "a" * 5000,
    "not UTF-8": "%ff",
    "markup": "%3Cscript%3Ealert(1)%3C/script%3E",
    "question mark": "a%3fb",
    "not ASCII": "%C3%A9%F0%9F%98%80",
}


@pytest.mark.parametrize("text", NO_IDS.values(), ids=NO_IDS.keys())
def test_what_is_no_id_is_an_unknown_path(api: Api, text: str) -> None:
    expected = api.request("GET", "/no/such/page").content
    for endpoint in ("download", "metadata"):
        response = api.request("GET", f"/file/{endpoint}/{text}?x=%3Csvg%3E")
        problem(response, 404)
        assert response.content == expected


@SERVERS
def test_a_path_with_a_percent_sign_is_unknown(api: Api) -> None:
    # The gateway refuses it, because it decodes paths twice.
    problem(api.request("GET", "/file/download/100%25"), 404)


def test_an_existing_id_in_upper_case_is_unknown(api: Api) -> None:
    file_id = api.upload()["file_id"]
    for endpoint in ("download", "metadata"):
        problem(api.request("GET", f"/file/{endpoint}/{file_id.upper()}"), 404)


def test_head_of_nothing_has_no_body(api: Api) -> None:
    for path in (f"/file/download/{UNKNOWN}", f"/file/metadata/{UNKNOWN}", "/no/such/page"):
        response = api.request("HEAD", path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert response.content == b""


ALLOWED = {
    "/file/upload/": {"POST", "PUT"},
    f"/file/{UNKNOWN}": {"GET", "HEAD", "POST", "PATCH", "DELETE"},
    "/file/metadata/": {"GET", "HEAD"},
    f"/file/metadata/{UNKNOWN}": {"GET", "HEAD"},
    f"/file/download/{UNKNOWN}": {"GET", "HEAD"},
    "/health": {"GET", "HEAD"},
    "/docs": {"GET", "HEAD"},
}


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_a_wrong_method_is_told_the_right_ones(api: Api, path: str, allowed: set[str]) -> None:
    wrong = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "SHARE"} - allowed
    for method, slash in itertools.product(sorted(wrong), ("", "/")):
        answer = api.request(method, path.rstrip("/") + slash)
        problem(answer, 405)
        assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_other_site_may_read_an_answer(api: Api, method: str) -> None:
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    response = api.request(method, "/file/metadata/", preflight)
    assert response.status_code == (405 if method == "OPTIONS" else 200)
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_a_value_that_cannot_be_used_is_named_with_the_reason(api: Api) -> None:
    members = problem(api.request("GET", "/file/metadata/", params={"limit": "s3cret"}), 422)
    assert members["title"] == "Invalid value"
    assert members["errors"] == [{"field": "limit", "reason": "must be a whole number from 1 to 1000"}]
    assert "s3cret" not in str(members)


def test_the_content_of_a_refused_form_is_not_repeated(api: Api) -> None:
    sent = file_part(b"s3cret content", "s3cret.txt", "text/s3cret").replace(b'name="file"', b'name="s3cret"')
    response = api.post(form(sent))
    problem(response, 422)
    assert "s3cret" not in response.text


@pytest.mark.not_emulated("replaces code in the process of the test")
def test_a_fault_of_ours_says_nothing_about_its_cause(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("s3cret cause")

    monkeypatch.setattr("shared.sharing.Shares.find", fail)
    response = api.request("GET", f"/file/metadata/{UNKNOWN}")
    problem(response, 500)
    assert "s3cret" not in response.text


def test_an_address_that_is_too_long_is_refused(api: Api) -> None:
    problem(api.request("GET", "/file/metadata/", params={"after": "a" * 9000}), 414)


@SERVERS
def test_headers_that_are_too_large_are_refused(api: Api) -> None:
    problem(api.request("GET", "/file/metadata/", {"x-large": "a" * 70_000}), 431)


@BEHIND_GATEWAY
def test_the_gateway_refuses_smaller_ones_itself(api: Api) -> None:
    assert api.request("GET", "/file/metadata", {"x-large": "a" * 9_000}).status_code == 200
    assert api.request("GET", "/file/metadata", {"x-large": "a" * 11_000}).status_code == 431


def test_a_host_that_is_none_is_refused(api: Api) -> None:
    problem(api.request("GET", "/file/metadata/", {"host": "a b"}), 400)
