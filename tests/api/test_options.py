"""Upload options: every way to send them, read strictly, and refused before anything is stored."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.client import (
    DIGITS,
    METADATA,
    Api,
    file_part,
    form,
    problem,
    text_part,
)

Send = Callable[[Api, dict[str, str]], httpx.Response]

PASSWORD = "correct horse"
SHA256 = hashlib.sha256(DIGITS).hexdigest()


def before_the_file(api: Api, options: dict[str, str]) -> httpx.Response:
    return api.post(form(*_parts(options), file_part(DIGITS)))


def after_the_file(api: Api, options: dict[str, str]) -> httpx.Response:
    return api.post(form(file_part(DIGITS), *_parts(options)))


def in_the_query(api: Api, options: dict[str, str]) -> httpx.Response:
    return api.request("PUT", "/file/upload/digits.txt", content=DIGITS, params=options)


def in_headers(api: Api, options: dict[str, str]) -> httpx.Response:
    headers = httpx.Headers([(name.encode(), value.encode()) for name, value in options.items()])
    return api.request("PUT", "/file/upload/digits.txt", headers, DIGITS)


def _parts(options: dict[str, str]) -> list[bytes]:
    return [text_part(name, value.encode()) for name, value in options.items()]


def created(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def lifetime(shown: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["created_at"])


def fields_named(response: httpx.Response) -> set[str]:
    return {error["field"].lower() for error in problem(response, 422)["errors"]}


WAYS: dict[str, Send] = {"form, first": before_the_file, "form, last": after_the_file, "query": in_the_query}
FORMS: dict[str, Send] = {"before the file": before_the_file, "after the file": after_the_file}


@pytest.mark.parametrize("send", WAYS.values(), ids=WAYS.keys())
def test_lifetime_and_cap_are_taken_from_anywhere(api: Api, send: Send) -> None:
    answer = created(send(api, {"expires_in": "90", "max_downloads": "3"}))
    assert lifetime(answer) == timedelta(seconds=90)
    assert answer["max_downloads"] == 3
    assert answer["password_protected"] is False
    assert answer.items() >= api.metadata(answer["file_id"]).items()


@pytest.mark.parametrize("send", FORMS.values(), ids=FORMS.keys())
def test_a_form_may_set_a_password(api: Api, send: Send) -> None:
    answer = created(send(api, {"password": PASSWORD}))
    assert answer["password_protected"] is True
    problem(api.download(answer["file_id"]), 401)


def test_a_put_takes_its_options_from_headers_too(api: Api) -> None:
    answer = created(in_headers(api, {"Max-Days": "2", "Max-Downloads": "3", "X-Password": PASSWORD}))
    assert lifetime(answer) == timedelta(days=2)
    assert answer["max_downloads"] == 3
    assert answer["password_protected"] is True


def test_a_password_in_a_url_is_refused(api: Api) -> None:
    response = in_the_query(api, {"password": PASSWORD})
    assert fields_named(response) == {"password"}
    assert PASSWORD not in response.text
    assert api.objects.keys() == []


BAD_NUMBERS = {
    "zero": "0",
    "negative": "-1",
    "signed": "+5",
    "fraction": "1.5",
    "exponent": "1e3",
    "huge exponent": "1e300",
    "Arabic digits": "٣",
    "full-width digit": "\uff15",
    "superscript": "²",
    "underscore": "1_000",
    "hexadecimal": "0x10",
    "5,000 digits": "9" * 5000,
    "twenty digits": "9" * 20,
    "nan": "nan",
    "infinity": "inf",
    "empty": "",
    "a word": "never",
    "a list": "1,2",
}
# Servers strip blanks around header values, so these are invalid only elsewhere.
PADDED = {"spaces": " 5 ", "line break": "5\n", "no-break space": "5\u00a0"}


@pytest.mark.parametrize("value", [*BAD_NUMBERS.values(), *PADDED.values()], ids=[*BAD_NUMBERS, *PADDED])
def test_what_is_no_whole_number_is_named_and_nothing_is_kept(api: Api, value: str) -> None:
    for send, field in itertools.product(WAYS.values(), ("expires_in", "max_downloads")):
        assert fields_named(send(api, {field: value})) == {field}
    assert api.objects.keys() == []


@pytest.mark.parametrize("value", BAD_NUMBERS.values(), ids=BAD_NUMBERS.keys())
def test_headers_are_read_as_strictly(api: Api, value: str) -> None:
    assert fields_named(in_headers(api, {"Max-Days": value})) == {"max-days"}
    assert fields_named(in_headers(api, {"Max-Downloads": value})) == {"max_downloads"}
    assert api.objects.keys() == []


@pytest.mark.parametrize("field", ["expires_in", "max_downloads", "password", "sha256"])
def test_a_form_field_sent_twice_is_named(api: Api, field: str) -> None:
    twice = [text_part(field, b"5"), text_part(field, b"5")]
    assert fields_named(api.post(form(*twice, file_part(DIGITS)))) == {field}
    assert api.objects.keys() == []


@pytest.mark.parametrize("field", ["expires_in", "max_downloads"])
def test_a_query_parameter_sent_twice_is_named(api: Api, field: str) -> None:
    response = api.request("PUT", f"/file/upload/digits.txt?{field}=5&{field}=5", content=DIGITS)
    assert fields_named(response) == {field}
    assert api.objects.keys() == []


@pytest.mark.parametrize(("header", "field"), [("Max-Downloads", "max_downloads"), ("Max-Days", "expires_in")])
def test_one_option_in_query_and_header_is_ambiguous(api: Api, header: str, field: str) -> None:
    response = api.request("PUT", f"/file/upload/digits.txt?{field}=5", {header: "5"}, DIGITS)
    assert fields_named(response) == {field}
    assert api.objects.keys() == []


@pytest.mark.parametrize("header", ["Max-Downloads", "Max-Days"])
def test_a_header_sent_twice_is_refused(api: Api, header: str) -> None:
    headers = httpx.Headers([(header, "5"), (header, "5")])
    problem(api.request("PUT", "/file/upload/digits.txt", headers, DIGITS), 422)
    assert api.objects.keys() == []


BAD_PASSWORDS = {"empty": b"", "NUL": b"sword\0fish", "257 characters": b"x" * 257, "not UTF-8": b"\xff\xfe"}


@pytest.mark.parametrize("value", BAD_PASSWORDS.values(), ids=BAD_PASSWORDS.keys())
def test_an_unusable_password_is_refused(api: Api, value: bytes) -> None:
    assert fields_named(api.post(form(text_part("password", value), file_part(DIGITS)))) == {"password"}
    assert api.objects.keys() == []


def test_an_empty_password_in_a_header_is_refused(api: Api) -> None:
    assert fields_named(in_headers(api, {"X-Password": ""})) == {"password"}
    assert api.objects.keys() == []


@pytest.mark.parametrize("send", WAYS.values(), ids=WAYS.keys())
def test_the_default_lifetime_applies_if_none_is_chosen(api: Api, send: Send) -> None:
    api.configure("SHARE_DEFAULT_EXPIRES_IN", 600)
    assert lifetime(created(send(api, {}))) == timedelta(seconds=600)
    assert lifetime(created(send(api, {"expires_in": "900"}))) == timedelta(seconds=900)


def test_the_maximum_lifetime_applies_if_there_is_no_other(api: Api) -> None:
    api.configure("SHARE_MAX_EXPIRES_IN", 3600)
    assert lifetime(api.upload()) == timedelta(hours=1)


@pytest.mark.parametrize("send", WAYS.values(), ids=WAYS.keys())
def test_a_lifetime_over_the_longest_is_refused_with_the_bound(api: Api, send: Send) -> None:
    api.configure("SHARE_MAX_EXPIRES_IN", 3600)
    response = send(api, {"expires_in": "3601"})
    assert fields_named(response) == {"expires_in"}
    assert re.search(r"\b3600\b", problem(response, 422)["errors"][0]["reason"])
    assert api.objects.keys() == []
    assert lifetime(created(send(api, {"expires_in": "3600"}))) == timedelta(hours=1)


@pytest.mark.parametrize("value", ["0", "99999999999", "never"])
def test_the_bound_that_is_named_is_the_one_that_holds_here(api: Api, value: str) -> None:
    api.configure("SHARE_MAX_EXPIRES_IN", 3600)
    for send in WAYS.values():
        assert re.search(r"\b3600\b", problem(send(api, {"expires_in": value}), 422)["errors"][0]["reason"])


def test_days_are_bound_by_the_longest_lifetime(api: Api) -> None:
    api.configure("SHARE_MAX_EXPIRES_IN", 2 * 24 * 3600)
    assert fields_named(in_headers(api, {"Max-Days": "3"})) == {"expires_in"}
    assert api.objects.keys() == []
    assert lifetime(created(in_headers(api, {"Max-Days": "2"}))) == timedelta(days=2)


def test_the_answer_says_what_was_agreed(api: Api) -> None:
    options = {"expires_in": "60", "max_downloads": "2", "password": PASSWORD}
    answer = created(before_the_file(api, options))
    assert set(answer) == METADATA | {"file_id", "delete_token"}
    assert answer["sha256"] == SHA256
    for moment in ("created_at", "expires_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", answer[moment])
    assert type(answer["max_downloads"]) is int
    assert isinstance(answer["delete_token"], str)
    assert answer["delete_token"]


def test_each_file_has_a_delete_token_of_its_own(api: Api) -> None:
    assert api.upload()["delete_token"] != api.upload()["delete_token"]


@pytest.mark.parametrize("digest", [SHA256, SHA256.upper()], ids=["lower case", "upper case"])
@pytest.mark.parametrize("send", FORMS.values(), ids=FORMS.keys())
def test_a_form_with_the_right_sha256_is_taken(api: Api, send: Send, digest: str) -> None:
    assert created(send(api, {"sha256": digest}))["sha256"] == SHA256


@pytest.mark.parametrize("send", FORMS.values(), ids=FORMS.keys())
def test_a_form_whose_bytes_are_not_those_announced_leaves_nothing(api: Api, send: Send) -> None:
    members = problem(send(api, {"sha256": hashlib.sha256(b"other").hexdigest()}), 400)
    assert members["type"].endswith("digest-mismatch")
    assert api.objects.keys() == []


@pytest.mark.parametrize("digest", ["", SHA256[:-1], SHA256 + "0", "g" + SHA256[1:], f" {SHA256}", SHA256[:-1] + "٣"])
def test_a_malformed_sha256_is_named(api: Api, digest: str) -> None:
    assert fields_named(before_the_file(api, {"sha256": digest})) == {"sha256"}
    assert api.objects.keys() == []


def repr_digest(data: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


ACCEPTED_DIGESTS = {
    "right": f"sha-256=:{repr_digest(DIGITS)}:",
    "right, with a parameter": f"sha-256=:{repr_digest(DIGITS)}:;a=1",
    "right, and another algorithm": f"sha-512=:{repr_digest(b'other', 'sha512')}:, sha-256=:{repr_digest(DIGITS)}:",
    "another algorithm alone": f"sha-512=:{repr_digest(b'other', 'sha512')}:",
    "unknown algorithm": "never-heard-of=:AAAA:",
}


@pytest.mark.parametrize("value", ACCEPTED_DIGESTS.values(), ids=ACCEPTED_DIGESTS.keys())
def test_a_put_is_taken_unless_its_sha256_is_wrong(api: Api, value: str) -> None:
    assert created(in_headers(api, {"Repr-Digest": value}))["sha256"] == SHA256


def test_a_put_whose_bytes_are_not_those_announced_leaves_nothing(api: Api) -> None:
    members = problem(in_headers(api, {"Repr-Digest": f"sha-256=:{repr_digest(b'other')}:"}), 400)
    assert members["type"].endswith("digest-mismatch")
    assert api.objects.keys() == []


MALFORMED_DIGESTS = {
    "no byte sequence": f"sha-256={SHA256}",
    "text": f'sha-256="{repr_digest(DIGITS)}"',
    "nothing": "sha-256",
    "too short": "sha-256=:AAAA:",
    "not base64": "sha-256=:%%%%:",
    "not closed": f"sha-256=:{repr_digest(DIGITS)}",
    "a list": f"sha-256=(:{repr_digest(DIGITS)}:)",
    "not a dictionary": "=:=",
}


@pytest.mark.parametrize("value", MALFORMED_DIGESTS.values(), ids=MALFORMED_DIGESTS.keys())
def test_a_malformed_digest_is_refused(api: Api, value: str) -> None:
    problem(in_headers(api, {"Repr-Digest": value}), 400)
    assert api.objects.keys() == []


def change(api: Api, uploaded: dict[str, Any], body: bytes, media_type: str = "application/json") -> httpx.Response:
    headers = {"content-type": media_type, "x-delete-token": uploaded["delete_token"]}
    return api.request("PATCH", f"/file/{uploaded['file_id']}", headers, body)


def test_a_change_sets_what_it_names_and_leaves_the_rest(api: Api) -> None:
    uploaded = created(before_the_file(api, {"expires_in": "60", "max_downloads": "2"}))
    response = change(api, uploaded, b'{"max_downloads": 5}')
    assert response.status_code == 200
    assert response.json() == api.metadata(uploaded["file_id"])
    assert response.json()["max_downloads"] == 5
    assert response.json()["expires_at"] == uploaded["expires_at"]
    assert change(api, uploaded, b"{}").json() == response.json()


def test_null_removes_an_option(api: Api) -> None:
    uploaded = created(before_the_file(api, {"expires_in": "60", "max_downloads": "1", "password": PASSWORD}))
    shown = change(api, uploaded, b'{"expires_in": null, "max_downloads": null, "password": null}').json()
    assert (shown["expires_at"], shown["max_downloads"], shown["password_protected"]) == (None, None, False)
    for _ in range(2):
        assert api.download(uploaded["file_id"]).content == DIGITS


def test_a_change_is_bound_by_the_longest_lifetime(api: Api) -> None:
    api.configure("SHARE_MAX_EXPIRES_IN", 3600)
    uploaded = api.upload()
    for body in (b'{"expires_in": 3601}', b'{"expires_in": null}'):
        assert fields_named(change(api, uploaded, body)) == {"expires_in"}
    assert api.metadata(uploaded["file_id"])["expires_at"] == uploaded["expires_at"]


UNUSABLE_CHANGES = {
    "unknown name": (b'{"original_name": "x"}', "body"),
    "one unknown name among others": (b'{"max_downloads": 1, "state": "deleted"}', "body"),
    "text for a number": (b'{"max_downloads": "5"}', "max_downloads"),
    "true for a number": (b'{"max_downloads": true}', "max_downloads"),
    "fraction": (b'{"expires_in": 1.5}', "expires_in"),
    "whole fraction": (b'{"expires_in": 5.0}', "expires_in"),
    "NaN": (b'{"expires_in": NaN}', "expires_in"),
    "list": (b'{"expires_in": [5]}', "expires_in"),
    "zero": (b'{"max_downloads": 0}', "max_downloads"),
    "negative": (b'{"expires_in": -1}', "expires_in"),
    "past all dates": (b'{"expires_in": 1' + b"0" * 100 + b"}", "expires_in"),
    "number for text": (b'{"password": 5}', "password"),
    "false for text": (b'{"password": false}', "password"),
    "empty password": (b'{"password": ""}', "password"),
    "endless password": (b'{"password": "' + b"x" * 257 + b'"}', "password"),
    "half a character": (b'{"password": "\\ud800"}', "password"),
}


@pytest.mark.parametrize(("body", "field"), UNUSABLE_CHANGES.values(), ids=UNUSABLE_CHANGES.keys())
def test_a_change_that_cannot_be_made_is_named_and_changes_nothing(api: Api, body: bytes, field: str) -> None:
    uploaded = api.upload()
    before = api.metadata(uploaded["file_id"])
    assert fields_named(change(api, uploaded, body)) == {field}
    assert api.metadata(uploaded["file_id"]) == before


MALFORMED_CHANGES = {
    "empty": b"",
    "no JSON": b"max_downloads=1",
    "no object": b"[]",
    "null": b"null",
    "cut off": b'{"max_downloads": 1',
    "one name twice": b'{"max_downloads": 1, "max_downloads": 2}',
    "deeply nested": b"[" * 10_000,
}


@pytest.mark.parametrize("body", MALFORMED_CHANGES.values(), ids=MALFORMED_CHANGES.keys())
def test_a_change_that_is_no_json_object_is_refused(api: Api, body: bytes) -> None:
    uploaded = api.upload()
    problem(change(api, uploaded, body), 400)
    assert api.metadata(uploaded["file_id"])["max_downloads"] is None


@pytest.mark.parametrize("api", ["directory", "s3"], indirect=True)
def test_a_change_that_is_not_utf8_is_refused(api: Api) -> None:
    # A gateway passes JSON on as text, and so has already repaired it.
    problem(change(api, api.upload(), b'{"password": "\xff"}'), 400)


def test_a_change_of_another_media_type_is_refused(api: Api) -> None:
    uploaded = api.upload()
    for media_type in ("", "text/plain", "application/x-www-form-urlencoded"):
        problem(change(api, uploaded, b'{"max_downloads": 1}', media_type), 415)
    assert change(api, uploaded, b'{"max_downloads": 1}', "Application/JSON; charset=utf-8").status_code == 200


def test_a_change_that_is_too_large_is_refused(api: Api) -> None:
    problem(change(api, api.upload(), b'{"max_downloads": 1}' + b" " * 20_000), 413)


ABSOLUTE = ["2030-01-01T00:00:00", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00+14:00", "2030-02-30", "10000-01-01"]


@pytest.mark.parametrize("text", ABSOLUTE)
def test_a_lifetime_is_a_number_of_seconds_and_never_a_date(api: Api, text: str) -> None:
    before = api.objects.keys()
    members = problem(api.post(form(text_part("expires_in", text.encode()), file_part(DIGITS))), 422)
    assert members["errors"][0]["field"] == "expires_in"
    assert api.objects.keys() == before
