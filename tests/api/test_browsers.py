"""Browsers: an error in a navigation is a page with the usual status. Nothing changes for programs."""

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
from tests.archives import packed

UNKNOWN = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
HTML_FIRST = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NAVIGATE = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "accept": HTML_FIRST}
BASIC = {"authorization": f"Basic {base64.b64encode(b'anyone:secret').decode()}"}

NAVIGATIONS = {
    "to a document": NAVIGATE,
    "in a frame": {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    "without a destination": {"sec-fetch-mode": "navigate"},
    # Over plain HTTP, browsers send Fetch Metadata only to their own machine.
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
        (unknown_file, 404, "This file isn't here"),
        (incomplete_link, 404, "This file isn't here"),
        (deleted, 404, "This file isn't here"),
        (metadata_of_nothing, 404, "This file isn't here"),
        (used_up, 410, "This link has reached its download limit"),
        (wrong_address, 404, "Page not found"),
        (for_programs, 405, "Page not found"),
        (no_archive, 415, "That didn't work"),
        (bad_value, 422, "That didn't work"),
    ],
)
def test_the_page_of_an_error_says_what_happened_and_offers_a_way_on(
    api: Api, place: Callable[[Api], str], status: int, title: str
) -> None:
    path = place(api)
    response = navigate(api, path)
    text = page(response, status)
    assert f"<h1>{title}</h1>" in html.unescape(text)
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


def test_the_password_page_of_an_entry_leads_to_that_entry(api: Api) -> None:
    sent = api.post(form(text_part("password", b"secret"), file_part(packed({"a&b.txt": b"inner"}), "a.zip")))
    file_id = sent.json()["file_id"]
    response = navigate(api, f"/file/download/{file_id}?entry=a%26b.txt")
    text = page(navigate(api, response.headers["location"]))
    (action,) = re.findall(rf'action="(/download/{file_id}[^"]*)"', text)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    passed = api.request("POST", html.unescape(action), headers, b"password=secret")
    assert passed.headers["location"] == f"/file/download/{file_id}?entry=a%26b.txt"
    cookie = passed.headers["set-cookie"].partition(";")[0]
    assert api.request("GET", passed.headers["location"], {**NAVIGATE, "cookie": cookie}).content == b"inner"


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


def delete_link(api: Api, **options: str) -> httpx.URL:
    """The delete link, which only the uploader receives."""
    response = api.request("PUT", "/file/upload", content=DIGITS, params={"filename": "digits.txt", **options})
    return httpx.URL(response.headers["x-url-delete"])


def press_delete(api: Api, text: str) -> httpx.Response:
    """Send a page's form as a browser does."""
    (action,) = re.findall(r'<form [^>]*action="([^"]+)"', text)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
    body = httpx.Request("POST", "http://x", data=fields).content
    sent = {"content-type": "application/x-www-form-urlencoded", "origin": api.base, "sec-fetch-site": "same-origin"}
    return api.request("POST", action, {**NAVIGATE, **sent}, body)


def opened(api: Api, link: httpx.URL) -> str:
    """The page of a delete link; no request of that page sends the link as its referrer."""
    response = navigate(api, str(link))
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert response.headers["referrer-policy"] == "strict-origin"
    return response.text


def test_a_delete_link_opens_a_page_that_deletes_only_when_asked(api: Api) -> None:
    link = delete_link(api)
    file_id = link.path.rpartition("/")[2]
    text = opened(api, link)
    assert api.request("HEAD", str(link), NAVIGATE).status_code == 200
    assert api.download(file_id).content == DIGITS
    assert "The file was deleted" in page(press_delete(api, text))
    problem(api.download(file_id), 404)
    assert "This file isn&#39;t here" in page(press_delete(api, text), 404)


def test_a_file_that_has_reached_its_limit_can_be_deleted(api: Api) -> None:
    link = delete_link(api, max_downloads="1")
    file_id = link.path.rpartition("/")[2]
    assert api.download(file_id).content == DIGITS
    page(navigate(api, link.path), 410)
    text = opened(api, link)
    assert "reached its download limit" in text
    assert "/file/download/" not in text
    page(press_delete(api, text))
    problem(api.request("GET", link.path), 404)


@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_wrong_delete_link_deletes_nothing(api: Api, token: str) -> None:
    link = delete_link(api)
    text = opened(api, link.copy_set_param("token", token))
    assert "This delete link doesn&#39;t work" in page(press_delete(api, text), 403)
    assert api.download(link.path.rpartition("/")[2]).content == DIGITS


def test_another_site_cannot_press_the_button(api: Api) -> None:
    link = delete_link(api)
    sent = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "cross-site"}
    body = link.query
    page(api.request("POST", link.path, {**NAVIGATE, **sent}, body), 403)
    assert api.download(link.path.rpartition("/")[2]).content == DIGITS


def test_a_program_gets_the_metadata_at_the_address_of_a_file(api: Api) -> None:
    file_id = share(api, max_downloads="1")
    api.download(file_id)
    assert api.request("GET", f"/file/{file_id}").json() == api.metadata(file_id)
    assert api.request("GET", f"/file/{file_id}?token=wrong").json() == api.metadata(file_id)
    problem(api.request("GET", f"/file/{UNKNOWN}"), 404)


def test_a_browser_gets_the_page_at_the_address_of_a_file(api: Api) -> None:
    file_id = share(api)
    text = page(navigate(api, f"/file/{file_id}"))
    assert text == page(navigate(api, f"/download/{file_id}"))
    assert "This file isn&#39;t here" in page(navigate(api, f"/file/{UNKNOWN}"), 404)


def test_a_form_sent_by_a_browser_is_answered_by_a_page_with_the_links(api: Api) -> None:
    sent = {"origin": api.base, "sec-fetch-site": "same-origin", **NAVIGATE}
    response = api.post(form(file_part(DIGITS, "a&b.txt")), **sent)
    text = page(response, 201)
    file_id = response.headers["location"].rpartition("/")[2]
    assert f'value="{api.base}/download/{file_id}"' in text
    assert "a&amp;b.txt</bdi>" in text
    assert html.escape(httpx.URL(response.headers["x-url-delete"]).raw_path.decode()) in text
    assert api.download(file_id).content == DIGITS
    page(api.post(form(), **sent), 422)


def test_an_error_page_is_under_the_public_address(api: Api) -> None:
    api.configure("SHARE_PUBLIC_URL", "https://files.example.org/share")
    text = page(navigate(api, f"/file/download/{UNKNOWN}"), 404)
    assert re.findall(r'href="(/[^"]*)"', text)
    assert all(link.startswith("/share/") for link in re.findall(r'href="(/[^"]*)"', text))
