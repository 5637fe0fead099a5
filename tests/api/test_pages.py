"""The web pages: what they show and to whom, that viewing is never counted, and the cookie for a correct password."""

from __future__ import annotations

import html
import os
import re
import struct
import threading
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from pathlib import PurePath
from typing import Any

import httpx
import pytest
import segno

from shared.http.browsers import PAGES
from tests.api.client import CHALLENGES, DIGITS, Api, challenge, file_part, form, problem, text_part

PASSWORD = "correct horse: battery & sons"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}


def share(api: Api, **options: str) -> dict[str, Any]:
    parts = [text_part(name, value.encode()) for name, value in options.items()]
    answer: dict[str, Any] = api.post(form(*parts, file_part(DIGITS))).json()
    return answer


def page(response: httpx.Response, status: int = 200) -> str:
    """The text of a page, after checking that it can run and load only our own files."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(entry.split(" ", 1) for entry in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"
    return response.text


def landing(api: Api, file_id: str, status: int = 200) -> str:
    return page(api.request("GET", f"/download/{file_id}"), status)


def enter(api: Api, file_id: str, password: str, **headers: str) -> httpx.Response:
    sent = {**FORM_TYPE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    body = httpx.Request("POST", "http://x", data={"password": password}).content
    return api.request("POST", f"/download/{file_id}", sent, body)


def cookie_of(response: httpx.Response) -> Morsel[str]:
    assert response.status_code == 303, response.text
    (text,) = response.headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(text).values()
    return morsel


def passed(response: httpx.Response) -> dict[str, str]:
    """The header in which a browser sends the cookie back."""
    morsel = cookie_of(response)
    return {"cookie": f"{morsel.key}={morsel.value}"}


@pytest.mark.parametrize("path", ["/", "/file", "/file/", "/download/{}", "/download/{}/"])
def test_a_page_has_a_head(api: Api, path: str) -> None:
    path = path.format(api.upload()["file_id"])
    head = api.request("HEAD", path)
    page(api.request("GET", path))
    assert (head.status_code, head.content) == (200, b"")


def loads(text: str) -> set[str]:
    """The addresses of everything that a page loads."""
    return {address.partition("#")[0] for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', text)}


def test_what_a_page_loads_is_there_and_never_changes_under_its_address(api: Api) -> None:
    for text in (page(api.request("GET", "/")), landing(api, api.upload()["file_id"])):
        addresses = loads(text)
        assert {PurePath(address).suffix for address in addresses} == {".css", ".js", ".svg"}
        for address in addresses:
            response = api.request("GET", address)
            assert response.status_code == 200
            assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
            again = api.request("GET", address, {"if-none-match": response.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            packed, plain = (api.request("GET", address, {"accept-encoding": sent}) for sent in ("gzip", "gzip;q=0"))
            assert packed.headers["content-encoding"] == "gzip"
            assert "content-encoding" not in plain.headers
            assert packed.content == plain.content
            name = PurePath(address).name
            other_version = api.request("GET", f"/static/0123456789abcdef/{name}")
            assert other_version.content == response.content
            assert other_version.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/file", "/inbox", "/docs", "/download/{}"])
def test_a_page_loads_one_script_one_style_sheet_and_two_images(api: Api, path: str) -> None:
    """On AWS, each request runs a function, and a new account runs only a few at once."""
    addresses = loads(page(api.request("GET", path.format(api.upload()["file_id"]))))
    assert sorted(PurePath(address).suffix for address in addresses) == [".css", ".js", ".svg", ".svg"]
    for address in addresses:
        if not address.endswith(".svg"):
            assert not re.search(r"^@?import\b", api.request("GET", address).text, re.MULTILINE)


@pytest.mark.not_emulated("only the emulation knows where its bucket is")
def test_a_page_may_reach_the_storage_that_large_files_are_on(api: Api) -> None:
    elsewhere = os.environ.get("AWS_ENDPOINT_URL") if "s3:" in os.environ["SHARE_STORAGE"] else None
    expected = "'self'" if elsewhere is None else f"'self' {elsewhere}"
    file_id = share(api, password=PASSWORD)["file_id"]
    for path in ("/", f"/download/{file_id}"):
        policy = api.request("GET", path).headers["content-security-policy"].split("; ")
        assert f"connect-src {expected}" in policy
        # A redirect that answers the form's redirect still counts as part of the form's submission.
        assert f"form-action {expected}" in policy


def test_no_page_has_anything_inline_or_from_elsewhere(api: Api) -> None:
    for text in (page(api.request("GET", "/")), landing(api, api.upload()["file_id"])):
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
        assert all('src="/static/' in tag for tag in re.findall(r"<script[^>]*>", text))
        assert all(link.startswith("/") for link in re.findall(r'(?:src|href|action)="([^"]*)"', text))


@pytest.mark.parametrize("name", ["page.py", "upload.html", "texts.json", "..%2Fupload.html", "%2e%2e"])
def test_nothing_but_the_listed_files_is_served(api: Api, name: str) -> None:
    problem(api.request("GET", f"/static/0/{name}"), 404)


@pytest.mark.parametrize("path", ["/", "/file", "/inbox", "/docs"])
def test_a_page_without_data_is_compressed_for_those_who_take_that(api: Api, path: str) -> None:
    plain = api.request("GET", path, {"accept-encoding": "gzip;q=0"})
    packed = api.request("GET", path, {"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert page(packed) == page(plain)


def test_a_page_with_a_secret_is_never_compressed(api: Api) -> None:
    """Its size would depend on how much of the secret somebody else's part of the page repeats (BREACH)."""
    uploaded = share(api)
    headers = {"accept": "text/html", "sec-fetch-mode": "navigate", "accept-encoding": "gzip"}
    response = api.request("GET", f"/file/{uploaded['file_id']}", headers, params={"token": uploaded["delete_token"]})
    assert uploaded["delete_token"] in response.text
    assert "content-encoding" not in response.headers


def test_the_upload_answer_names_the_page_and_metadata_repeats_it(api: Api) -> None:
    uploaded = api.upload()
    assert uploaded["download_page"] == f"{api.base}/download/{uploaded['file_id']}"
    assert api.metadata(uploaded["file_id"])["download_page"] == uploaded["download_page"]
    page(api.request("GET", uploaded["download_page"]))


def test_the_page_shows_the_file(api: Api) -> None:
    uploaded = share(api, max_downloads="3", expires_in="3600")
    api.download(uploaded["file_id"])
    text = landing(api, uploaded["file_id"])
    assert "<bdi>digits.txt</bdi>" in text
    assert "10 bytes TXT · expires in 1 hour" in re.sub("<[^>]*>", "", text)
    assert "<dd>10 bytes</dd>" in text
    assert "text/plain" in text
    assert uploaded["sha256"] in text
    assert "2\u00a0downloads\u00a0left" in text
    assert f'datetime="{uploaded["expires_at"]}"' in text
    assert f'href="/file/download/{uploaded["file_id"]}"' in text


def card(text: str) -> dict[str, str]:
    """The preview card of a page for chats and social networks (https://ogp.me/)."""
    tags = re.findall(r'<meta property="og:([\w:]+)" content="([^"]*)">', text)
    return {name: html.unescape(value) for name, value in tags}


def test_the_card_of_an_open_file_shows_name_size_and_an_image(api: Api) -> None:
    uploaded = api.upload(bytes(1000))
    shown = card(landing(api, uploaded["file_id"]))
    assert (shown["title"], shown["description"]) == ("digits.txt", "1 kB TXT")
    assert shown["url"] == uploaded["download_page"]
    image = api.request("GET", shown["image"])
    assert (image.status_code, image.headers["content-type"]) == (200, "image/png")
    assert struct.unpack(">II", image.content[16:24]) == (int(shown["image:width"]), int(shown["image:height"]))


@pytest.mark.parametrize("options", [{"password": "secret"}, {"max_downloads": "2"}])
def test_the_card_of_a_file_that_is_not_for_all_names_the_service_alone(api: Api, options: dict[str, str]) -> None:
    file_id = share(api, **options)["file_id"]
    shown = card(landing(api, file_id))
    host = httpx.URL(api.base).host
    assert shown == {
        "type": "website",
        "site_name": host,
        "title": host,
        "url": f"{api.base}/download/{file_id}",
    }


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"max_downloads": "1"}, "This link works once."),
        ({"max_downloads": "2"}, "This link works one more time."),
        ({"max_downloads": "3"}, None),
        ({}, None),
    ],
)
def test_the_last_download_is_said_to_be_the_last(api: Api, options: dict[str, str], note: str | None) -> None:
    file_id = share(api, **options)["file_id"]
    if options.get("max_downloads", "1") != "1":
        api.download(file_id)
    notes = [
        each for each in ("This link works once.", "This link works one more time.") if each in landing(api, file_id)
    ]
    assert notes == ([] if note is None else [note])


@pytest.mark.parametrize(("seconds", "shown"), [("604800", "7 days"), (None, None)])
def test_the_lifetime_is_in_words(api: Api, seconds: str | None, shown: str | None) -> None:
    file_id = share(api, **({} if seconds is None else {"expires_in": seconds}))["file_id"]
    assert ("never expires" if shown is None else f"expires in {shown}") in landing(api, file_id)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 minute"), (3540, "59 minutes"), (3600, "1 hour"), (86400, "1 day"), (129600, "36 hours")],
)
def test_a_time_is_in_whole_units(seconds: int, text: str) -> None:
    assert PAGES.span_text(timedelta(seconds=seconds)) == text


def test_the_service_is_called_as_its_owner_says(api: Api) -> None:
    file_id = share(api, max_downloads="9")["file_id"]
    assert f">{httpx.URL(api.base).host}</a>" in landing(api, file_id)
    api.configure("SHARE_TITLE", "Müller & <b>Söhne</b>")
    for text in (landing(api, file_id), page(api.request("GET", "/")), landing(api, UNKNOWN, 404)):
        assert "Müller &amp; &lt;b&gt;Söhne&lt;/b&gt;</a>" in text


def test_the_accent_is_a_style_sheet_of_the_pages(api: Api) -> None:
    file_id = api.upload()["file_id"]
    assert "accent" not in landing(api, file_id)
    api.configure("SHARE_ACCENT", "#0A7D5A")
    for text in (landing(api, file_id), page(api.request("GET", "/")), landing(api, UNKNOWN, 404)):
        (address,) = re.findall(r'<link rel="stylesheet" href="(/static/\w+/accent-[^"]+)">', text)
        sheet = api.request("GET", address)
        assert (sheet.status_code, sheet.headers["content-type"]) == (200, "text/css; charset=utf-8")
        assert "--accent:#0a7d5a" in sheet.text


@pytest.mark.parametrize("name", ["accent-.css", "accent-fff.css", "accent-0A7D5A.css", "accent-gggggg.css"])
def test_no_other_colour_has_a_style_sheet(api: Api, name: str) -> None:
    problem(api.request("GET", f"/static/0/{name}"), 404)


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1 kB"), (99_960, "100 kB")]
)
def test_a_size_is_shown_in_decimal_units(api: Api, size: int, shown: str) -> None:
    assert f">{shown} TXT" in landing(api, api.upload(bytes(size))["file_id"])


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)<!--",
        "<img src=x onerror=alert(1)>.txt",
        "'><b>&amp;.txt",
        "{{ 7 * 7 }}{% raw %}.txt",
        "עברית מסמך.pdf",
    ],
)
def test_a_name_is_text_whatever_it_holds(api: Api, name: str) -> None:
    uploaded = api.upload(name=name)
    text = landing(api, uploaded["file_id"])
    escaped = html.escape(uploaded["original_name"]).replace("&#x27;", "&#39;")
    assert f"<bdi>{escaped}</bdi>" in text
    assert f'<meta property="og:title" content="{escaped}">' in text
    assert uploaded["original_name"] == escaped or uploaded["original_name"] not in text


def test_a_quote_does_not_end_an_attribute(api: Api) -> None:
    uploaded = api.request("PUT", "/file/upload/%22%20onload=%22x.txt", content=DIGITS).json()
    assert uploaded["original_name"] == '" onload="x.txt'
    assert 'content="&#34; onload=&#34;x.txt"' in landing(api, uploaded["file_id"])


def test_looking_counts_nothing(api: Api) -> None:
    file_id = share(api, password=PASSWORD, max_downloads="1")["file_id"]
    for headers in ({}, {"sec-purpose": "prefetch"}, {"user-agent": "Slackbot-LinkExpanding 1.0"}):
        page(api.request("GET", f"/download/{file_id}", headers))
        assert api.request("HEAD", f"/download/{file_id}", headers).status_code == 200
    assert api.request("GET", f"/download/{file_id}/qr.svg").status_code == 200
    page(enter(api, file_id, "wrong"), 401)
    assert enter(api, file_id, PASSWORD).status_code == 303
    assert api.count(file_id) == 0


@pytest.mark.parametrize("file_id", [UNKNOWN, "cut-off", UNKNOWN.replace("4000", "1000")])
def test_an_unknown_file_is_a_page(api: Api, file_id: str) -> None:
    assert "This file isn&#39;t here" in landing(api, file_id, 404)
    assert "This file isn&#39;t here" in page(enter(api, file_id, "x"), 404)


def test_a_deleted_file_is_unknown(api: Api) -> None:
    uploaded = api.upload()
    api.request("DELETE", f"/file/{uploaded['file_id']}", {"x-delete-token": uploaded["delete_token"]})
    assert "This file isn&#39;t here" in landing(api, uploaded["file_id"], 404)


def test_a_used_up_file_is_a_page(api: Api) -> None:
    file_id = share(api, max_downloads="1")["file_id"]
    assert api.download(file_id).content == DIGITS
    assert "reached its download limit" in landing(api, file_id, 410)
    assert api.request("HEAD", f"/download/{file_id}").status_code == 410


def test_the_right_password_gets_a_cookie_for_this_download_alone(api: Api) -> None:
    file_id = share(api, password=PASSWORD)["file_id"]
    assert '<form method="post"' in landing(api, file_id)
    response = enter(api, file_id, PASSWORD)
    assert response.headers["location"] == f"/file/download/{file_id}"
    morsel = cookie_of(response)
    assert morsel["path"] == f"/file/download/{file_id}"
    assert morsel["max-age"] == "60"
    assert morsel["httponly"] is True
    assert morsel["samesite"].lower() == "strict"
    assert bool(morsel["secure"]) == api.base.startswith("https:")
    assert morsel["domain"] == ""
    assert PASSWORD not in str(response.headers)
    assert api.download(file_id, **passed(response)).content == DIGITS
    assert api.count(file_id) == 1


@CHALLENGES
def test_a_wrong_password_gets_the_page_again(api: Api) -> None:
    file_id = share(api, password=PASSWORD)["file_id"]
    response = enter(api, file_id, "wrong")
    assert "Wrong password" in page(response, 401)
    assert "set-cookie" not in response.headers
    # With Basic authentication, the browser would open its own password dialog.
    assert not challenge(response).startswith("Basic")


@pytest.mark.parametrize("body", [b"", b"pass=x", b"password=a&password=b", b"password=%ff", b"\xff", b"&" * 99])
def test_a_form_without_one_password_is_a_wrong_password(api: Api, body: bytes) -> None:
    file_id = share(api, password="b")["file_id"]
    page(api.request("POST", f"/download/{file_id}", FORM_TYPE, body), 401)


def test_a_form_may_be_neither_large_nor_of_another_type(api: Api) -> None:
    file_id = share(api, password=PASSWORD)["file_id"]
    problem(api.request("POST", f"/download/{file_id}", FORM_TYPE, b"password=" + bytes(16 * 1024)), 413)
    problem(api.request("POST", f"/download/{file_id}", {"content-type": "text/plain"}, b"password=x"), 415)


def test_without_a_password_the_form_leads_to_the_download(api: Api) -> None:
    file_id = api.upload()["file_id"]
    response = enter(api, file_id, "whatever")
    assert (response.status_code, response.headers["location"]) == (303, f"/file/download/{file_id}")
    assert "set-cookie" not in response.headers


def test_a_cookie_opens_no_other_file(api: Api) -> None:
    one, other = (share(api, password=PASSWORD)["file_id"] for _ in range(2))
    problem(api.download(other, **passed(enter(api, one, PASSWORD))), 401)


@pytest.mark.parametrize("value", ["", "x", f"{UNKNOWN}.x.y"])
def test_a_made_up_cookie_opens_nothing(api: Api, value: str) -> None:
    file_id = share(api, password=PASSWORD)["file_id"]
    problem(api.request("GET", f"/file/download/{file_id}", {"cookie": f"pass={value}"}), 401)


def test_a_cookie_ends_with_the_password_it_stood_for(api: Api) -> None:
    uploaded = share(api, password=PASSWORD)
    file_id = uploaded["file_id"]
    cookie = passed(enter(api, file_id, PASSWORD))
    # The same password has another salt when it is set again, so its cookie changes.
    changed = api.request(
        "PATCH",
        f"/file/{file_id}",
        {"x-delete-token": uploaded["delete_token"], "content-type": "application/json"},
        b'{"password": "%s"}' % PASSWORD.encode(),
    )
    assert changed.status_code == 200
    problem(api.download(file_id, **cookie), 401)


def test_the_pages_own_form_is_let_through_and_another_sites_is_not(api: Api) -> None:
    file_id = share(api, password=PASSWORD)["file_id"]
    assert enter(api, file_id, PASSWORD, origin=api.base, sec_fetch_site="same-origin").status_code == 303
    refused = enter(api, file_id, PASSWORD, origin="https://evil.example", sec_fetch_site="cross-site")
    assert problem(refused, 403)["type"].endswith("cross-site")


def test_the_page_of_all_files_holds_nothing_of_them(api: Api) -> None:
    uploaded = api.upload(name="private.txt")
    text = page(api.request("GET", "/file"))
    assert "private.txt" not in text
    assert uploaded["file_id"] not in text


def test_pages_need_no_token(api: Api) -> None:
    file_id = share(api, password=PASSWORD)["file_id"]
    api.configure("SHARE_API_TOKEN", "a-token-of-sixteen-characters")
    page(api.request("GET", "/"))
    page(api.request("GET", "/file"))
    landing(api, file_id)
    assert enter(api, file_id, PASSWORD).status_code == 303


def test_under_a_public_address_everything_is_under_its_path(api: Api) -> None:
    file_id = share(api, password=PASSWORD)["file_id"]
    api.configure("SHARE_PUBLIC_URL", "https://files.example.org/share")
    text = landing(api, file_id)
    assert f'action="/share/download/{file_id}"' in text
    assert '<meta property="og:url" content="https://files.example.org/share/download/' in text
    response = enter(api, file_id, PASSWORD)
    assert response.headers["location"] == f"/share/file/download/{file_id}"
    assert cookie_of(response)["path"] == f"/share/file/download/{file_id}"
    assert cookie_of(response)["secure"] is True


def test_the_qr_code_leads_to_the_page(api: Api) -> None:
    inbox = api.request("POST", "/inbox").json()
    for address in (api.upload()["download_page"], inbox["inbox_page"]):
        shown = api.request("GET", f"{address.removeprefix(api.base)}/qr.svg").text
        expected = segno.make(address, micro=False, error="m").svg_inline()
        assert modules(shown) == modules(expected)


def test_the_page_for_owners_of_inboxes_loads_frames_only_to_download(api: Api) -> None:
    response = api.request("GET", "/inbox", {"accept": "text/html"})
    assert "Receive files" in page(response)
    policy = dict(entry.split(" ", 1) for entry in response.headers["content-security-policy"].split("; "))
    assert policy["frame-src"] == policy["connect-src"] == policy["form-action"]


def modules(image: str) -> str:
    """The dark modules of a QR code, as its last path draws them."""
    return str(re.findall(r' d="([^"]+)"', image)[-1])


def test_the_qr_code_is_an_image_of_the_pages_address(api: Api) -> None:
    one, other = (api.request("GET", f"/download/{file_id}/qr.svg") for file_id in (UNKNOWN, UNKNOWN[:-1] + "1"))
    assert one.status_code == 200
    assert one.headers["content-type"] == "image/svg+xml"
    assert "<svg" in one.text
    assert one.content != other.content
    problem(api.request("GET", "/download/cut-off/qr.svg"), 404)


# A Lambda function serves one request at a time, and has no threads for slow work.
on_a_server = pytest.mark.parametrize("api", ["directory", "s3"], indirect=True)


@on_a_server
def test_a_qr_code_is_made_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    make = segno.make

    def recorded(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name)
        return make(*arguments, **options)

    monkeypatch.setattr(segno, "make", recorded)
    host = ".".join(["a" * 60] * 4) + ":8080"
    assert api.request("GET", f"/download/{UNKNOWN}/qr.svg", {"host": host}).status_code == 200
    assert [name.startswith("storage") for name in threads] == [True]
