"""Inboxes: what owners and senders can do, and above all what senders cannot do."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.api.client import DIGITS, Api, file_part, form, problem, text_part
from tests.api.test_access import TOKENS, bearer, with_tokens
from tests.api.test_direct_upload import JSON, MULTIPART
from tests.wire.server import until

UNKNOWN = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
NAVIGATION = {"accept": "text/html", "sec-fetch-mode": "navigate"}


class Box:
    """An inbox on a server with access tokens, which senders do not have."""

    def __init__(self, api: Api, **options: Any) -> None:
        with_tokens(api)
        self.api = api
        answer = api.request("POST", "/inbox", {**bearer(), **JSON}, json.dumps(options).encode())
        assert answer.status_code == 201, answer.text
        self.made: dict[str, Any] = answer.json()
        self.id: str = self.made["inbox_id"]
        self.owner = {"x-owner-token": self.made["owner_token"]}

    def put(self, name: str = "digits.txt", data: bytes = DIGITS, query: str = "") -> httpx.Response:
        return self.api.request("PUT", f"/inbox/{self.id}/{name}{query}", {"content-type": "text/plain"}, data)

    def receive(self, name: str = "digits.txt", data: bytes = DIGITS, query: str = "") -> dict[str, Any]:
        answer = self.put(name, data, query)
        assert answer.status_code == 201, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    def show(self, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        answer = self.api.request("GET", f"/inbox/{self.id}", self.owner if headers is None else headers)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def change(self, **options: Any) -> httpx.Response:
        return self.api.request("PATCH", f"/inbox/{self.id}", {**self.owner, **JSON}, json.dumps(options).encode())

    def close(self, headers: Mapping[str, str]) -> httpx.Response:
        return self.api.request("DELETE", f"/inbox/{self.id}", headers)


def test_an_inbox_has_defaults_and_links(api: Api) -> None:
    with_tokens(api)
    answer = api.request("POST", "/inbox", bearer())
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == made["inbox_page"] == f"{api.base}/inbox/{made['inbox_id']}"
    assert made["owner_link"] == f"{made['inbox_page']}#owner={made['owner_token']}"
    assert (made["max_files"], made["max_bytes"], made["files"]) == (100, 10 * 1024**3, [])
    problem(api.request("POST", "/inbox"), 401)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_files": 1001}, "max_files"),
        ({"max_files": 0}, "max_files"),
        ({"max_bytes": "5"}, "max_bytes"),
        ({"expires_in": 0}, "expires_in"),
        ({"title": "x" * 201}, "title"),
        ({"note": "x" * 2001}, "note"),
        ({"owner": "me"}, "body"),
    ],
)
def test_a_wrong_option_makes_no_inbox(api: Api, options: dict[str, Any], field: str) -> None:
    answer = problem(api.request("POST", "/inbox", JSON, json.dumps(options).encode()), 422)
    assert answer["errors"][0]["field"] == field
    assert api.objects.keys() == []


def test_senders_see_what_is_left_and_owners_what_came_in(api: Api) -> None:
    box = Box(api, title="Photos", note="Only <b>good</b> ones", max_files=3, max_bytes=1000)
    receipt = box.receive(query="?sender=Ada")
    assert receipt.keys() == {"file_id", "inbox_id", "original_name", "file_size", "sha256", "delete_token"}
    seen = box.show({})
    assert (seen["title"], seen["note"]) == ("Photos", "Only <b>good</b> ones")
    assert (seen["files_left"], seen["bytes_left"]) == (2, 990)
    assert not seen.keys() & {"files", "max_files", "owner_token", "created_at"}
    for headers in (box.owner, bearer()):
        (file,) = box.show(headers)["files"]
        assert (file["file_id"], file["original_name"]) == (receipt["file_id"], "digits.txt")
        assert (file["sender"], file["file_size"], file["shared"]) == ("Ada", 10, False)
    problem(api.request("GET", f"/inbox/{box.id}", {"x-owner-token": "wrong"}), 403)
    problem(api.request("GET", f"/inbox/{UNKNOWN}"), 404)


def test_every_way_of_uploading_works_without_a_token(api: Api) -> None:
    box = Box(api)
    fields = (text_part("inbox", box.id.encode()), text_part("sender", "Åsa".encode()))
    answers = [
        box.put("a.txt"),
        api.request("PUT", f"/inbox/{box.id}?filename=b.txt", {}, DIGITS),
        api.request("PUT", f"/file/upload?filename=c.txt&inbox={box.id}", {}, DIGITS),
        api.request("PUT", f"/file/upload/d.txt?inbox={box.id}", {}, DIGITS),
        api.request("PUT", f"/e.txt?inbox={box.id}", {}, DIGITS),
        api.post(form(*fields, file_part(DIGITS, "f.txt"))),
    ]
    assert [answer.status_code for answer in answers] == [201] * 6
    files = {file["original_name"]: file["sender"] for file in box.show()["files"]}
    assert files == {"a.txt": None, "b.txt": None, "c.txt": None, "d.txt": None, "e.txt": None, "f.txt": "Åsa"}
    assert api.request("PUT", f"/inbox/{box.id}/").status_code == 422
    assert api.request("PUT", f"/inbox/{box.id}").status_code == 422


@pytest.mark.parametrize("place", ["query", "metadata"])
def test_a_direct_upload_into_an_inbox_needs_only_its_upload_id(api: Api, place: str) -> None:
    box = Box(api, max_bytes=100)
    query = f"?inbox={box.id}" if place == "query" else ""
    body = {"filename": "big.bin", "size": 10} | ({} if query else {"metadata": {"inbox": box.id, "sender": "Ada"}})
    started = api.request("POST", MULTIPART + query, JSON, json.dumps(body).encode()).json()
    assert box.show({})["bytes_left"] == 90
    path, key = f"{MULTIPART}/{started['uploadId']}", {"key": started["key"]}
    assert api.request("GET", path, params=key).json() == []
    problem(api.request("GET", path, params={"key": f"raw/{UNKNOWN}"}), 401)
    url = api.request("GET", f"{path}/1", params=key).json()["url"]
    etag = (httpx.put(url, content=DIGITS) if "/file/s3/" not in url else api.request("PUT", url, {}, DIGITS)).headers[
        "etag"
    ]
    done = api.request(
        "POST", f"{path}/complete", JSON, json.dumps({"parts": [{"PartNumber": 1, "ETag": etag}]}).encode(), params=key
    )
    assert done.status_code == 200, done.text
    assert "download_link" not in done.json()
    assert (box.show({})["bytes_left"], len(box.show()["files"])) == (90, 1)


def test_a_form_names_its_inbox_before_its_file(api: Api) -> None:
    box = Box(api)
    inbox = text_part("inbox", box.id.encode())
    for body in (
        form(file_part(DIGITS)),
        form(file_part(DIGITS), inbox),
        form(text_part("other", b"x" * 70_000), inbox, file_part(DIGITS)),
        form(),
        b"no form at all",
    ):
        problem(api.post(body), 401)
    problem(api.post(form(file_part(DIGITS), inbox), **bearer()), 422)
    assert box.show()["files"] == []


def test_limits_hold_and_say_so(api: Api) -> None:
    box = Box(api, max_files=2, max_bytes=25, max_file_size=20)
    assert problem(box.put(data=b"x" * 21), 413)["type"].endswith("too-large-for-inbox")
    box.receive()
    full = problem(box.put(data=b"x" * 16), 413)
    assert (full["type"].rpartition(":")[2], full["limit"]) == ("inbox-full", 15)
    box.receive(data=b"x" * 15)
    problem(box.put(data=b""), 413)
    assert box.change(max_files=3).json()["files_left"] == 1
    box.receive(data=b"")


def test_what_the_owner_decides_senders_cannot(api: Api) -> None:
    box = Box(api, file_expires_in=3600)
    for query, headers in (("?expires_in=5", {}), ("?max_downloads=1", {}), ("", {"x-password": "secret"})):
        problem(api.request("PUT", f"/inbox/{box.id}/a.txt{query}", headers, DIGITS), 422)
    problem(api.post(form(text_part("inbox", box.id.encode()), file_part(DIGITS), text_part("password", b"x"))), 422)
    assert box.show()["files_left"] == 100
    file_id = box.receive()["file_id"]
    record = api.request("GET", f"/file/metadata/{file_id}", box.owner).json()
    assert record["expires_at"] is not None
    assert (record["inbox_id"], record["sender"], record["shared"]) == (box.id, None, False)


def test_a_file_is_its_owners_until_it_is_shared(api: Api) -> None:
    box, other = Box(api), Box(api)
    file_id = box.receive()["file_id"]
    paths = [f"/file/download/{file_id}", f"/file/metadata/{file_id}", f"/file/{file_id}"]
    for path in paths:
        assert problem(api.request("GET", path), 401)["type"].endswith("owner-only")
        problem(api.request("GET", path, other.owner), 403)
        assert api.request("GET", path, box.owner).status_code == 200
        assert api.request("GET", path, bearer()).status_code == 200
    problem(api.request("GET", f"/file/entries/{file_id}"), 401)
    problem(api.request("GET", f"/file/entries/{file_id}", box.owner), 415)
    listing = api.request("GET", "/file/metadata", bearer()).json()
    assert (listing[file_id]["inbox_id"], listing[file_id]["shared"]) == (box.id, False)
    shared = api.request("PATCH", f"/file/{file_id}", {**box.owner, **JSON}, b'{"shared": true}')
    assert (shared.status_code, shared.json()["shared"]) == (200, True)
    for path in paths:
        assert api.request("GET", path).status_code == 200
    assert not api.metadata(file_id).keys() & {"inbox_id", "sender", "shared"}
    assert api.request("PATCH", f"/file/{file_id}", {**box.owner, **JSON}, b'{"shared": null}').status_code == 200
    problem(api.request("GET", paths[0]), 401)
    assert api.request("DELETE", f"/file/{file_id}", box.owner).status_code == 204


def test_without_tokens_the_open_list_has_no_private_files(api: Api) -> None:
    made = api.request("POST", "/inbox").json()
    file_id = api.request("PUT", f"/inbox/{made['inbox_id']}/a.txt", {}, DIGITS).json()["file_id"]
    public = api.upload()["file_id"]
    assert api.listing().keys() == {public}
    problem(api.request("GET", f"/file/download/{file_id}"), 401)
    assert api.request("GET", f"/file/download/{file_id}", {"x-owner-token": made["owner_token"]}).content == DIGITS


def test_a_browser_enters_the_owner_token_where_a_password_would_be(api: Api) -> None:
    box = Box(api)
    file_id = box.receive("secret-plans.txt")["file_id"]
    sent = api.request("GET", f"/file/download/{file_id}", NAVIGATION)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/download/{file_id}")
    page = api.request("GET", f"/download/{file_id}", NAVIGATION)
    assert page.status_code == 200
    assert "secret-plans" not in page.text
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "text/html"}
    wrong = api.request("POST", f"/download/{file_id}", headers, b"password=wrong")
    assert wrong.status_code == 401
    # The page for owners sends what its user has: the owner token or an access token.
    for token in (box.made["owner_token"], TOKENS[0]):
        right = api.request("POST", f"/download/{file_id}", headers, f"password={token}".encode())
        assert right.status_code == 303
        cookie = right.headers["set-cookie"].partition(";")[0]
        assert api.request("GET", f"/file/download/{file_id}", {"cookie": cookie}).content == DIGITS
        problem(api.request("GET", f"/file/metadata/{file_id}", {"cookie": cookie}), 401)


def test_a_receipt_deletes_and_does_nothing_else(api: Api) -> None:
    box = Box(api)
    receipt = box.receive("secret-plans.txt")
    file_id, token = receipt["file_id"], {"x-delete-token": receipt["delete_token"]}
    problem(api.request("PATCH", f"/file/{file_id}", {**token, **JSON}, b'{"shared": true}'), 401)
    page = api.request("GET", f"/file/{file_id}?token={receipt['delete_token']}", NAVIGATION)
    assert page.status_code == 200
    assert "secret-plans" not in page.text
    assert receipt["delete_token"] in page.text
    assert api.request("DELETE", f"/file/{file_id}", token).status_code == 204
    assert box.show()["files"] == []


def test_a_closed_inbox_takes_nothing_more_and_keeps_what_came(api: Api) -> None:
    box = Box(api)
    file_id = box.receive()["file_id"]
    problem(box.close({}), 401)
    problem(box.close({"x-owner-token": "wrong"}), 403)
    assert box.close(box.owner).status_code == 204
    assert box.close(bearer()).status_code == 204
    problem(box.put(), 410)
    problem(api.request("GET", f"/inbox/{box.id}"), 410)
    problem(box.change(max_files=5), 410)
    assert [file["file_id"] for file in box.show()["files"]] == [file_id]
    assert box.show()["open"] is False


def test_the_page_of_an_inbox_says_why_it_accepts_no_more(api: Api) -> None:
    box = Box(api, title="Trip to Oslo", note="Photos, please", max_files=2, max_bytes=20)

    def page() -> tuple[int, str]:
        answer = api.request("GET", f"/inbox/{box.id}", NAVIGATION)
        assert answer.headers["cache-control"] == "no-store"
        return answer.status_code, html.unescape(answer.text)

    status, text = page()
    assert (status, "room for 2 more files, 20 bytes in all" in text) == (200, True)
    # Parts of large files go to storage from here, too.
    policies = [
        api.request("GET", path, NAVIGATION).headers["content-security-policy"] for path in ("/", f"/inbox/{box.id}")
    ]
    assert policies[0] == policies[1]
    box.receive()
    status, text = page()
    assert (status, "room for 1 more file, up to 10 bytes" in text) == (200, True)
    box.receive()
    status, text = page()
    assert (status, "This inbox is full" in text, "Trip to Oslo" in text) == (200, True, True)
    assert box.change(expires_in=1).status_code == 200
    until(lambda: page()[0] == 410)
    status, text = page()
    assert "This inbox has expired" in text
    # Only its owner can still see its title and note.
    assert "Oslo" not in text
    assert "Photos" not in text
    box.close(box.owner)
    status, text = page()
    assert (status, "This inbox is closed" in text, "Oslo" in text) == (410, True, False)
    answer = api.request("GET", f"/inbox/{UNKNOWN}", NAVIGATION)
    assert (answer.status_code, "This inbox isn't here" in html.unescape(answer.text)) == (404, True)


def test_texts_of_people_are_escaped_on_pages(api: Api) -> None:
    box = Box(api, title="<script>1</script>", note="a\n<i>b</i>")
    page = api.request("GET", f"/inbox/{box.id}", NAVIGATION)
    assert page.headers["content-type"].startswith("text/html")
    assert "&lt;script&gt;1" in page.text
    assert "&lt;i&gt;b" in page.text
    answer = api.request(
        "POST",
        "/file/upload",
        {**NAVIGATION, "content-type": "multipart/form-data; boundary=X-boundary"},
        form(text_part("inbox", box.id.encode()), file_part(DIGITS, "<u>.txt")),
    )
    assert answer.status_code == 201
    assert "&lt;u&gt;.txt" in answer.text
    problem(box.put(query="?sender=" + "x" * 101), 422)
