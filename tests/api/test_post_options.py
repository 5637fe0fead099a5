"""Options of a form upload in headers and query: each is applied or refused, never ignored."""

from __future__ import annotations

import pytest

from tests.api.client import BOUNDARY, DIGITS, Api, file_part, form, problem

FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def test_a_form_may_have_its_options_in_headers(api: Api) -> None:
    headers = {"x-password": "swordfish", "max-downloads": "1", "max-days": "2"}
    response = api.request("POST", "/file/upload/", FORM | headers, form(file_part(DIGITS)))
    answer = response.json()
    assert (response.status_code, answer["max_downloads"], answer["password_protected"]) == (201, 1, True)
    assert answer["expires_at"] is not None


@pytest.mark.parametrize("name", ["expires_in", "max_downloads"])
def test_a_form_may_have_its_options_in_the_query(api: Api, name: str) -> None:
    response = api.request("POST", "/file/upload/", FORM, form(file_part(DIGITS)), {name: "60"})
    assert response.status_code == 201
    assert response.json()["expires_at" if name == "expires_in" else name] is not None


def test_a_password_in_the_url_of_a_form_is_refused(api: Api) -> None:
    problem(api.request("POST", "/file/upload/", FORM, form(file_part(DIGITS)), {"password": "p"}), 422)
    assert api.listing() == {}


def test_an_id_followed_by_a_line_break_is_not_an_id(api: Api) -> None:
    file_id = api.upload()["file_id"]
    for kind in ("download", "metadata"):
        problem(api.request("GET", f"/file/{kind}/{file_id}%0A"), 404)
