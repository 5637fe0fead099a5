"""Text that is not UTF-8: kept exactly if the bytes arrive unchanged, refused if the gateway alters them."""

from __future__ import annotations

import pytest

from tests.api.client import BEHIND_GATEWAY, SERVERS, Api, problem

LATIN = b"caf\xe9\n"


def put(api: Api, content_type: str) -> str:
    response = api.request("PUT", "/file/upload/latin.txt", {"content-type": content_type}, LATIN)
    assert response.status_code == 201, response.text
    return str(response.json()["file_id"])


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain; charset=iso-8859-1", ""])
def test_bytes_of_other_types_come_back_exactly(api: Api, content_type: str) -> None:
    assert api.download(put(api, content_type)).content == LATIN


@SERVERS
def test_a_server_takes_any_bytes_for_text(api: Api) -> None:
    assert api.download(put(api, "text/plain")).content == LATIN


@BEHIND_GATEWAY
@pytest.mark.parametrize("content_type", ["text/plain", "text/csv; charset=utf-8", "application/xml"])
def test_bytes_that_the_gateway_alters_are_refused_with_what_to_do(api: Api, content_type: str) -> None:
    members = problem(api.request("PUT", "/file/upload/latin.txt", {"content-type": content_type}, LATIN), 400)
    assert "application/octet-stream" in members["detail"]
    assert api.objects.keys() == []


@BEHIND_GATEWAY
def test_text_in_utf8_is_text(api: Api) -> None:
    text = "café\N{REPLACEMENT CHARACTER}\n".encode()
    response = api.request("PUT", "/file/upload/utf8.txt", {"content-type": "text/plain"}, text)
    assert api.download(response.json()["file_id"]).content == text


def test_json_that_is_not_utf8_changes_nothing(api: Api) -> None:
    uploaded = api.upload()
    headers = {"content-type": "application/json", "x-delete-token": uploaded["delete_token"]}
    problem(api.request("PATCH", f"/file/{uploaded['file_id']}", headers, b'{"password": "caf\xe9"}'), 400)
    assert api.metadata(uploaded["file_id"])["password_protected"] is False
