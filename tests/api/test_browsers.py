"""Browsers: an error that somebody navigates to is a page with its usual status, and nothing differs for programs."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable

import httpx
import pytest

from shared.errors import Contended, DamagedFile, Expired, Preparing, ShareError, StorageUnavailable, TooManyAttempts
from tests.api.client import CHALLENGES, DIGITS, SERVERS, Api, challenge, file_part, form, problem, text_part
from tests.api.test_pages import page

UNKNOWN = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
HTML_FIRST = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NAVIGATE = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "accept": HTML_FIRST}
BASIC = {"authorization": f"Basic {base64.b64encode(b'anyone:secret').decode()}"}

NAVIGATIONS = {
    "to a document": NAVIGATE,
    "in a frame": {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    "without a destination": {"sec-fetch-mode": "navigate"},
    # Browsers send no Fetch Metadata by plain HTTP, unless to their own machine.
    "by plain HTTP": {"accept": HTML_FIRST},
    "all types alike": {"accept": "text/html, application/xhtml+xml, */*"},
    "HTML rather than JSON": {"accept": "application/json;q=0.8, text/html"},
}
PROGRAMS = {
    "nothing said": {},
    "any type": {"accept": "*/*"},
    "JSON": {"accept": "application/json"},
    "JSON as well as HTML": {"accept": "text/html, application/json, */*"},
    "JSON rather than HTML": {"accept": "application/json, text/html;q=0.9"},
    "any type rather than HTML": {"accept": "text/html;q=0.5, */*"},
    "HTML refused": {"accept": "text/html;q=0, */*;q=0"},
    "a weight that is none": {"accept": "text/html;q=much"},
    "fetch": {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "accept": "*/*"},
    "fetch that prefers HTML": {"sec-fetch-mode": "cors", "accept": HTML_FIRST},
    "an image": {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "an embedded object": {"sec-fetch-mode": "navigate", "sec-fetch-dest": "embed"},
    "the rest of a download": {**NAVIGATE, "range": "bytes=5-"},
}


def share(api: Api, **options: str) -> str:
    parts = [text_part(name, value.encode()) for name, value in options.items()]
    return str(api.post(form(*parts, file_part(DIGITS))).json()["file_id"])


def navigate(api: Api, path: str, **headers: str) -> httpx.Response:
    return api.request("GET", path, {**NAVIGATE, **headers})


@pytest.mark.parametrize("headers", NAVIGATIONS.values(), ids=NAVIGATIONS.keys())
def test_an_error_is_a_page_to_a_browser(api: Api, headers: dict[str, str]) -> None:
    page(api.request("GET", f"/file/download/{UNKNOWN}", headers), 404)
    assert api.request("HEAD", f"/file/download/{UNKNOWN}", headers).status_code == 404


@pytest.mark.parametrize("headers", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_an_error_is_a_problem_document_to_a_program(api: Api, headers: dict[str, str]) -> None:
    problem(api.request("GET", f"/file/download/{UNKNOWN}", headers), 404)


def unknown_file(_api: Api) -> str:
    return f"/file/download/{UNKNOWN}"


def incomplete_link(_api: Api) -> str:
    return "/file/download/3f0b6f0e"


def deleted(api: Api) -> str:
    sent = api.upload()
    assert api.request("DELETE", f"/file/{sent['file_id']}", {"x-delete-token": sent["delete_token"]}).is_success
    return f"/file/download/{sent['file_id']}"


def used_up(api: Api) -> str:
    file_id = share(api, max_downloads="1")
    assert api.download(file_id).content == DIGITS
    return f"/file/download/{file_id}"


def metadata_of_nothing(_api: Api) -> str:
    return f"/file/metadata/{UNKNOWN}"


def wrong_address(_api: Api) -> str:
    return "/no/such/page"


def for_programs(_api: Api) -> str:
    return "/file/upload"


def no_archive(api: Api) -> str:
    return f"/file/entries/{share(api)}"


def bad_value(_api: Api) -> str:
    return "/file/metadata?limit=much"


@pytest.mark.parametrize(
    ("place", "status", "title"),
    [
        (unknown_file, 404, "No such file"),
        (incomplete_link, 404, "No such file"),
        (deleted, 404, "No such file"),
        (metadata_of_nothing, 404, "No such file"),
        (used_up, 410, "This link has reached its download limit"),
        (wrong_address, 404, "Page not found"),
        (for_programs, 405, "Page not found"),
        (no_archive, 415, "This did not work"),
        (bad_value, 422, "This did not work"),
    ],
)
def test_the_page_of_an_error_says_what_happened_and_offers_a_way_on(
    api: Api, place: Callable[[Api], str], status: int, title: str
) -> None:
    path = place(api)
    response = navigate(api, path)
    text = page(response, status)
    assert f"<h1>{html.escape(title)}</h1>" in text
    assert re.search(r'<a [^>]*href="/"', text)
    program = api.request("GET", path)
    problem(program, status)
    assert response.headers.get("allow") == program.headers.get("allow")


FAULTS = {
    "expired": (Expired(UNKNOWN), 410, "This link has expired"),
    "busy": (Contended(UNKNOWN), 503, "This server is busy"),
    "being prepared": (Preparing(UNKNOWN), 503, "Almost ready"),
    "storage out of reach": (StorageUnavailable("s3cret"), 503, "Storage is unavailable"),
    "many passwords": (TooManyAttempts(), 429, "Too many attempts"),
    "damaged": (DamagedFile(UNKNOWN, "s3cret"), 500, "This file is damaged"),
    "unforeseen": (RuntimeError("s3cret"), 500, "Something went wrong"),
}


@pytest.mark.not_emulated("replaces code in the process of the test")
@pytest.mark.parametrize(("fault", "status", "title"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_has_a_page_which_offers_to_try_again_what_may_pass_by_itself(
    api: Api, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int, title: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise fault

    monkeypatch.setattr("shared.sharing.Shares.find", fail)
    response = navigate(api, f"/file/download/{UNKNOWN}")
    text = page(response, status)
    assert f"<h1>{title}</h1>" in text
    assert "s3cret" not in text
    passing = status in (429, 503)
    assert ("retry-after" in response.headers) == passing
    assert ("Try again</a>" in text) == (passing or not isinstance(fault, ShareError))


@CHALLENGES
def test_a_protected_download_leads_a_browser_to_its_page(api: Api) -> None:
    file_id = share(api, password="secret")
    path = f"/file/download/{file_id}"
    for address in (path, f"{path}/digits.txt", f"{path}?entry=a.txt"):
        wrong = {"authorization": f"Basic {base64.b64encode(b':wrong').decode()}"}
        for response in (navigate(api, address), navigate(api, address, **wrong)):
            assert (response.status_code, response.content) == (303, b"")
            assert response.headers["location"] == f"/download/{file_id}{'?entry=a.txt' if '?' in address else ''}"
            assert response.headers["cache-control"] == "no-store"
            assert not [name for name in response.headers if "authenticate" in name]
    assert 'type="password"' in page(navigate(api, response.headers["location"]))
    assert navigate(api, path, **BASIC).content == DIGITS
    assert api.count(file_id) == 1
    program = api.request("GET", path)
    assert problem(program, 401)["type"].endswith("password-required")
    assert challenge(program).startswith("Basic")


@CHALLENGES
def test_no_page_has_the_browser_itself_ask_for_a_password(api: Api) -> None:
    file_id = share(api, password="secret")
    response = navigate(api, f"/file/entries/{file_id}")
    assert f'href="/download/{file_id}"' in page(response, 401)
    assert not challenge(response).startswith("Basic")


@CHALLENGES
def test_a_list_that_needs_a_token_is_refused_by_a_page(api: Api) -> None:
    api.configure("SHARE_API_TOKEN", "a-token-of-sixteen-characters")
    response = navigate(api, "/file/metadata")
    assert "Access token required" in page(response, 401)
    assert challenge(response).startswith("Bearer")


@SERVERS
@pytest.mark.parametrize("host", ["[.]", "a b", "a:99999"])
def test_a_host_that_no_link_can_be_made_of_is_refused_by_a_page(api: Api, host: str) -> None:
    page(navigate(api, "/", host=host), 400)


def test_a_file_and_what_is_known_of_it_are_the_same_to_a_browser(api: Api) -> None:
    file_id = share(api)
    assert navigate(api, f"/file/download/{file_id}").content == DIGITS
    assert navigate(api, f"/file/metadata/{file_id}").json() == api.metadata(file_id)
    assert navigate(api, "/file/metadata").json() == api.listing()


def test_an_error_page_is_under_the_public_address(api: Api) -> None:
    api.configure("SHARE_PUBLIC_URL", "https://files.example.org/share")
    text = page(navigate(api, f"/file/download/{UNKNOWN}"), 404)
    assert re.findall(r'href="(/[^"]*)"', text)
    assert all(link.startswith("/share/") for link in re.findall(r'href="(/[^"]*)"', text))
