"""Passwords and cookies: input from strangers costs no more time than its length justifies."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shared import passwords
from tests.api.client import DIGITS, Api, file_part, form, problem, text_part

PASSWORD = "correct horse: battery"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
in_this_process = pytest.mark.not_emulated("replaces code in the process of the test")


def share(api: Api) -> str:
    response = api.post(form(text_part("password", PASSWORD.encode()), file_part(DIGITS)))
    assert response.status_code == 201, response.text
    file_id: str = response.json()["file_id"]
    return file_id


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f":{password}".encode()).decode()}


def enter(api: Api, file_id: str, password: str) -> Any:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = "password=" + "".join(f"%{byte:02X}" for byte in password.encode())
    return api.request("POST", f"/download/{file_id}", headers, body.encode())


# 7 kB, to fit also into the request head that a gateway accepts. Descending combining classes are the worst case.
MARKS = "\N{COMBINING COMMA ABOVE RIGHT}\N{COMBINING ACUTE ACCENT}\N{COMBINING CEDILLA}" * 850


@in_this_process
def test_a_password_that_is_too_long_is_wrong_before_it_is_normalised(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = share(api)
    derived: list[str] = []
    derive = passwords._derive

    def recorded(password: str, *arguments: Any) -> bytes:
        derived.append(password)
        return derive(password, *arguments)

    monkeypatch.setattr(passwords, "_derive", recorded)
    for password in ("x" * 257, MARKS):
        problem(api.download(file_id, **basic(password)), 401)
        assert enter(api, file_id, password).status_code == 401
    assert derived == []
    # The longest valid password is still checked.
    problem(api.download(file_id, **basic("x" * 256)), 401)
    assert derived == ["x" * 256]


def test_the_longest_password_opens_its_file(api: Api) -> None:
    password = "ä" * 256
    uploaded = api.post(form(text_part("password", password.encode()), file_part(DIGITS))).json()
    assert api.download(uploaded["file_id"], **basic(password)).content == DIGITS


# Python's own parser needs quadratic time for this (CVE-2024-7592).
HOSTILE_COOKIE = 'pass="' + '\\"' * 3000 + '"'


def test_a_cookie_is_read_only_where_there_is_a_password_and_without_unquoting(api: Api) -> None:
    plain = api.upload()["file_id"]
    assert api.download(plain, cookie=HOSTILE_COOKIE).content == DIGITS
    problem(api.download(share(api), cookie=HOSTILE_COOKIE), 401)


@in_this_process
def test_no_general_parser_of_cookies_is_used(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_text: str) -> dict[str, str]:
        raise AssertionError("cookies were parsed")

    file_id = share(api)
    cookie = enter(api, file_id, PASSWORD).headers["set-cookie"].partition(";")[0]
    monkeypatch.setattr("starlette.requests.cookie_parser", fail)
    assert api.download(file_id, cookie=cookie).content == DIGITS
    problem(api.download(file_id, cookie=HOSTILE_COOKIE), 401)


def test_our_cookie_is_found_among_others_and_the_first_of_its_name_counts(api: Api) -> None:
    file_id = share(api)
    cookie = enter(api, file_id, PASSWORD).headers["set-cookie"].partition(";")[0]
    # Browsers send cookies with longer paths first, and ours has the longest (RFC 6265 §5.4).
    assert (
        api.download(file_id, cookie=f"theme=dark; bypass=1; {cookie}; pass=of-another-application").content == DIGITS
    )
    problem(api.download(file_id, cookie=f"pass=wrong; {cookie}"), 401)
    problem(api.download(file_id, cookie=cookie.replace("pass", "PASS", 1)), 401)
