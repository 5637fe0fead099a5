"""Links: absolute, with the address that the client uses, never with one that the client made up."""

from __future__ import annotations

import httpx
import pytest

from tests.api.client import BEHIND_GATEWAY, DIGITS, Api, file_part, form, problem

UNTRUSTED = {
    "x-forwarded-host": "evil.example",
    "x-forwarded-port": "666",
    "x-forwarded-prefix": "/evil",
    "x-original-host": "evil.example",
    "forwarded": 'host="evil.example";proto=gopher',
}


def test_an_upload_hands_out_one_link_everywhere(api: Api) -> None:
    response = api.post(form(file_part(DIGITS)))
    file_id = response.json()["file_id"]
    links = {
        response.headers["location"],
        response.json()["download_link"],
        api.metadata(file_id)["download_link"],
        api.listing()[file_id]["download_link"],
    }
    assert links == {f"{api.base}/file/download/{file_id}"}
    assert api.request("GET", links.pop()).content == DIGITS


def test_forwarding_headers_of_a_client_are_not_believed(api: Api) -> None:
    response = api.post(form(file_part(DIGITS)), **UNTRUSTED)
    link = response.json()["download_link"]
    assert link == response.headers["location"] == f"{api.base}/file/download/{response.json()['file_id']}"


def test_the_scheme_of_a_link_cannot_be_made_up(api: Api) -> None:
    response = api.post(form(file_part(DIGITS)), x_forwarded_proto="javascript")
    assert httpx.URL(response.json()["download_link"]).scheme == httpx.URL(api.base).scheme


@BEHIND_GATEWAY
def test_the_domain_of_the_gateway_outweighs_the_host_header(api: Api) -> None:
    response = api.post(form(file_part(DIGITS)), host="evil.example")
    assert response.json()["download_link"].startswith(f"{api.base}/file/download/")


@pytest.mark.parametrize("api", ["directory", "s3"], indirect=True)
def test_a_server_is_linked_to_by_the_host_it_was_asked_for(api: Api) -> None:
    response = api.post(form(file_part(DIGITS)), host="[::1]:8080")
    assert response.json()["download_link"].startswith("http://[::1]:8080/file/download/")


@pytest.mark.parametrize("configured", ["https://files.example.org/share", "https://files.example.org/share/"])
def test_the_configured_address_outweighs_everything(api: Api, configured: str) -> None:
    api.configure("SHARE_PUBLIC_URL", configured)
    for _ in range(2):
        response = api.post(form(file_part(DIGITS)), **UNTRUSTED)
    answer = response.json()
    expected = f"https://files.example.org/share/file/download/{answer['file_id']}"
    assert answer["download_link"] == response.headers["location"] == expected
    page = api.request("GET", "/file/metadata", params={"limit": "1"})
    assert page.headers["link"].startswith("<https://files.example.org/share/file/metadata?")


@pytest.mark.parametrize("host", ["[.]", "[::::]", "[1.2.3.4]", "evil.example/x?", "a b", "a:99999", "a" * 300])
def test_a_host_that_no_link_can_be_made_of_is_refused_everywhere(api: Api, host: str) -> None:
    file_id = api.upload()["file_id"]
    before = api.objects.keys()
    headers = {"host": host}
    pages = (
        "/",
        f"/download/{file_id}",
        f"/download/{file_id}/qr.svg",
        "/static/0/icon.svg",
        "/health",
        "/no/such/page",
    )
    for path in ("/file/metadata/", f"/file/metadata/{file_id}", f"/file/download/{file_id}", *pages):
        problem(api.request("GET", path, headers), 400)
    problem(api.request("PUT", "/file/upload/a.txt", headers, DIGITS), 400)
    problem(api.request("DELETE", f"/file/{file_id}", headers), 400)
    assert api.objects.keys() == before
