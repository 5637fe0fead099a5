"""Download limits: they are exact, and only a resume ticket makes resuming free."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.signing import TICKET_LIFETIME, Signing
from tests.api.client import DIGITS, Api, blob_key, file_part, form, problem, text_part

SECRET = "a secret that only this test knows"


def share(api: Api, max_downloads: int) -> str:
    """Upload a file with a download limit. Returns its ID."""
    response = api.post(form(text_part("max_downloads", str(max_downloads).encode()), file_part(DIGITS)))
    assert response.status_code == 201, response.text
    file_id: str = response.json()["file_id"]
    return file_id


def spent(api: Api, max_downloads: int = 1) -> tuple[str, str]:
    """A file that has reached its download limit: its ID, and the ETag of its last download."""
    file_id = share(api, max_downloads)
    responses = [api.download(file_id) for _ in range(max_downloads)]
    assert {response.status_code for response in responses} == {200}
    return file_id, responses[-1].headers["etag"]


def assert_used_up(api: Api, file_id: str, **headers: str) -> None:
    assert problem(api.download(file_id, **headers), 410)["type"].endswith("used-up")


def change(api: Api, file_id: str, token: str, **options: Any) -> dict[str, Any]:
    headers = {"content-type": "application/json", "x-delete-token": token}
    response = api.request("PATCH", f"/file/{file_id}", headers, json.dumps(options).encode())
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


@pytest.mark.parametrize("cap", [1, 3])
def test_a_file_is_downloaded_exactly_as_often_as_its_cap_says(api: Api, cap: int) -> None:
    file_id = share(api, cap)
    for _ in range(cap):
        response = api.download(file_id)
        assert response.status_code == 200
        assert response.content == DIGITS
    for _ in range(3):
        assert_used_up(api, file_id)
    assert api.count(file_id) == cap


def test_a_file_that_is_used_up_is_still_shown(api: Api) -> None:
    file_id, _ = spent(api, 2)
    shown = api.metadata(file_id)
    assert shown["download_count"] == shown["max_downloads"] == 2
    assert api.listing()[file_id] == shown


REFUSED = {
    "whole": {},
    "from byte 0": {"range": "bytes=0-3"},
    "later range": {"range": "bytes=4-"},
    "suffix": {"range": "bytes=-3"},
    "not modified": {"if_none_match": "*"},
    "condition that fails": {"if_match": '"other"'},
    "range behind the end": {"range": "bytes=10-"},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_used_up_serves_nothing(api: Api, headers: dict[str, str]) -> None:
    file_id, _ = spent(api)
    assert_used_up(api, file_id, **headers)
    assert api.download(file_id, "HEAD", **headers).status_code == 410
    assert api.count(file_id) == 1


NOT_COUNTED = {
    "not modified": ("GET", {"if_none_match": "*"}, 304),
    "condition that fails": ("GET", {"if_match": '"other"'}, 412),
    "range behind the end": ("GET", {"range": "bytes=10-"}, 416),
    "prefetch": ("GET", {"sec_purpose": "prefetch"}, 503),
    "prefetch of a later range": ("GET", {"sec_purpose": "prefetch", "range": "bytes=4-"}, 503),
    "head": ("HEAD", {}, 200),
    "head with a range": ("HEAD", {"range": "bytes=4-"}, 200),
}


@pytest.mark.parametrize(("method", "headers", "status"), NOT_COUNTED.values(), ids=NOT_COUNTED.keys())
def test_what_is_no_download_leaves_the_cap_alone(api: Api, method: str, headers: dict[str, str], status: int) -> None:
    file_id = share(api, 1)
    for _ in range(3):
        assert api.download(file_id, method, **headers).status_code == status
    assert api.count(file_id) == 0
    assert api.download(file_id).status_code == 200


def test_a_missing_blob_spends_nothing(api: Api) -> None:
    file_id = share(api, 1)
    blob = api.objects.read(blob_key(file_id))
    api.objects.delete(blob_key(file_id))
    problem(api.download(file_id), 500)
    assert api.count(file_id) == 0
    api.objects.write(blob_key(file_id), blob)
    assert api.download(file_id).content == DIGITS


@pytest.mark.parametrize("asked", ["bytes=1-", "bytes=4-6", "bytes=-3", "bytes=9-"])
def test_a_later_range_without_a_ticket_is_a_download(api: Api, asked: str) -> None:
    file_id = share(api, 2)
    for count in (1, 2):
        assert api.download(file_id, range=asked).status_code == 206
        assert api.count(file_id) == count
    assert_used_up(api, file_id, range=asked)
    assert api.count(file_id) == 2


COUNTED = {"whole": {}, "first bytes": {"range": "bytes=0-3"}, "later range": {"range": "bytes=2-"}}


@pytest.mark.parametrize("headers", COUNTED.values(), ids=COUNTED.keys())
def test_every_counted_answer_carries_a_ticket_that_resumes_it(api: Api, headers: dict[str, str]) -> None:
    file_id = share(api, 1)
    ticket = api.download(file_id, **headers).headers["etag"]
    assert ticket != plain_tag(api, share(api, 1))
    for asked, expected in (("bytes=4-", DIGITS[4:]), ("bytes=9-9", b"9"), ("bytes=-2", b"89")):
        response = api.download(file_id, range=asked, if_range=ticket)
        assert response.status_code == 206
        assert response.content == expected
        assert response.headers["etag"] == ticket
    assert api.count(file_id) == 1
    assert_used_up(api, file_id)


def test_a_ticket_does_not_open_the_beginning_again(api: Api) -> None:
    file_id, ticket = spent(api)
    for asked in ({}, {"range": "bytes=0-"}, {"range": "bytes=-10"}, {"range": "bytes=0-0"}):
        assert_used_up(api, file_id, if_range=ticket, **asked)
    assert api.count(file_id) == 1


def test_from_byte_0_a_ticket_begins_a_new_download(api: Api) -> None:
    file_id = share(api, 2)
    ticket = api.download(file_id).headers["etag"]
    assert api.download(file_id, range="bytes=0-3", if_range=ticket).status_code == 206
    assert api.count(file_id) == 2


def test_every_download_has_a_strong_tag_in_ascii(api: Api) -> None:
    _, ticket = spent(api)
    assert ticket.startswith('"')
    assert ticket.endswith('"')
    assert ticket.isascii()


def plain_tag(api: Api, file_id: str) -> str:
    tag: str = api.download(file_id, "HEAD").headers["etag"]
    return tag


def signed(file_id: str, secret: str = SECRET, age: float = 0) -> str:
    """An ETag with a ticket that was signed this many seconds ago."""
    moment = datetime.now(UTC) - timedelta(seconds=age)
    return f'"{Signing(lambda: secret, lambda: moment).ticket(file_id)}"'


def with_another_signature(file_id: str) -> str:
    ticket = signed(file_id)
    body, _, signature = ticket.rpartition(".")
    return f"{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def of_a_later_time(file_id: str) -> str:
    old, new = signed(file_id, age=TICKET_LIFETIME + 60), signed(file_id)
    return f"{new.rpartition('.')[0]}.{old.rpartition('.')[2]}"


def with_the_delete_token(file_id: str) -> str:
    signing = Signing(lambda: SECRET, lambda: datetime.now(UTC))
    return f'{signed(file_id).rpartition(".")[0]}.{signing.delete_token(file_id)}"'


WORTHLESS: dict[str, Callable[[str], str]] = {
    "plain": lambda file_id: f'"{file_id}"',
    "weak": lambda file_id: f"W/{signed(file_id)}",
    "signed with another secret": lambda file_id: signed(file_id, "another secret, just as long"),
    "with another signature": with_another_signature,
    "without signature": lambda file_id: f'{signed(file_id).rpartition(".")[0]}"',
    "with an empty signature": lambda file_id: f'{signed(file_id).rpartition(".")[0]}."',
    "of another file": lambda _file_id: signed("3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"),
    "expired": lambda file_id: signed(file_id, age=TICKET_LIFETIME + 60),
    "expired, with a newer time": of_a_later_time,
    "signed as a delete token": with_the_delete_token,
    "two": lambda file_id: f"{signed(file_id)}, {signed(file_id)}",
    "without quotes": lambda file_id: signed(file_id).strip('"'),
}


@pytest.mark.parametrize("forge", WORTHLESS.values(), ids=WORTHLESS.keys())
def test_what_is_no_ticket_resumes_nothing(api: Api, forge: Callable[[str], str]) -> None:
    api.configure("SHARE_SECRET", SECRET)
    file_id = share(api, 1)
    tag = forge(file_id)
    assert api.download(file_id, range="bytes=4-", if_range=tag).status_code in (200, 206)
    assert api.count(file_id) == 1
    assert_used_up(api, file_id, range="bytes=4-", if_range=tag)
    assert api.count(file_id) == 1


def test_the_date_of_the_file_is_no_ticket(api: Api) -> None:
    file_id = share(api, 1)
    date = api.download(file_id, "HEAD").headers["last-modified"]
    assert api.download(file_id, range="bytes=4-", if_range=date).status_code == 206
    assert api.count(file_id) == 1
    assert_used_up(api, file_id, range="bytes=4-", if_range=date)


def test_firefox_resumes_with_the_ticket_in_if_match(api: Api) -> None:
    # Firefox never sends If-Range. After a 410 or 412, it deletes the partial file, and the link is used up.
    file_id = share(api, 1)
    first = api.download(file_id, range="bytes=0-3")
    condition = {"if_match": first.headers["etag"], "if_unmodified_since": first.headers["last-modified"]}
    rest = api.download(file_id, range="bytes=4-", **condition)
    assert (rest.status_code, rest.content) == (206, DIGITS[4:])
    assert rest.headers["etag"] == first.headers["etag"]
    assert api.count(file_id) == 1
    assert_used_up(api, file_id, range="bytes=4-", if_match=f"W/{first.headers['etag']}")
    assert_used_up(api, file_id, range="bytes=0-3", **condition)


@pytest.mark.parametrize("asked", ["bytes=0-0", "bytes=0-1"])
def test_a_probe_for_the_first_bytes_is_no_download(api: Api, asked: str) -> None:
    # Safari sends one before it plays anything; otherwise a one-time link would be spent on two bytes.
    file_id = share(api, 1)
    for _ in range(3):
        probe = api.download(file_id, range=asked)
        assert (probe.status_code, probe.headers["etag"]) == (206, plain_tag(api, file_id))
    assert api.count(file_id) == 0
    assert api.download(file_id, range="bytes=0-2").status_code == 206
    assert_used_up(api, file_id, range=asked)


def test_two_bytes_that_are_the_file_are_a_download(api: Api) -> None:
    file_id = api.upload(b"ab")["file_id"]
    assert api.download(file_id, range="bytes=0-1").content == b"ab"
    assert api.count(file_id) == 1


@pytest.mark.parametrize("age", [0, TICKET_LIFETIME - 60])
def test_a_ticket_lasts_a_day(api: Api, age: int) -> None:
    api.configure("SHARE_SECRET", SECRET)
    file_id, _ = spent(api)
    assert api.download(file_id, range="bytes=4-", if_range=signed(file_id, age=age)).status_code == 206


def test_a_ticket_counts_on_every_machine_with_the_same_storage(api: Api) -> None:
    file_id, ticket = spent(api)
    api.configure("SHARE_MAX_FILE_SIZE", 1000)
    assert api.download(file_id, range="bytes=4-", if_range=ticket).content == DIGITS[4:]


def test_what_was_not_counted_carries_the_plain_tag(api: Api) -> None:
    file_id = share(api, 2)
    ticket = api.download(file_id).headers["etag"]
    tag = plain_tag(api, file_id)
    assert tag != ticket
    assert tag == plain_tag(api, file_id)
    assert api.download(file_id, if_none_match=ticket).headers["etag"] == tag


def test_both_tags_say_that_the_client_has_the_file(api: Api) -> None:
    file_id = share(api, 2)
    ticket = api.download(file_id).headers["etag"]
    for tag in (ticket, plain_tag(api, file_id), f'"other", {ticket}', f"W/{ticket}"):
        assert api.download(file_id, if_none_match=tag).status_code == 304
        assert api.download(file_id, "HEAD", if_none_match=tag).status_code == 304
    assert api.count(file_id) == 1


def test_both_tags_say_that_the_client_wants_this_file(api: Api) -> None:
    file_id = share(api, 3)
    ticket = api.download(file_id).headers["etag"]
    for tag in (ticket, plain_tag(api, file_id)):
        assert api.download(file_id, if_match=tag).status_code == 200
    assert api.count(file_id) == 3


def test_a_higher_cap_revives_the_file(api: Api) -> None:
    answer = api.post(form(text_part("max_downloads", b"1"), file_part(DIGITS))).json()
    file_id, token = answer["file_id"], answer["delete_token"]
    api.download(file_id)
    assert_used_up(api, file_id)
    assert change(api, file_id, token, max_downloads=2)["max_downloads"] == 2
    assert api.download(file_id).status_code == 200
    assert_used_up(api, file_id)
    assert api.count(file_id) == 2


def test_a_cap_that_is_removed_ends_nothing_any_more(api: Api) -> None:
    answer = api.post(form(text_part("max_downloads", b"1"), file_part(DIGITS))).json()
    file_id, token = answer["file_id"], answer["delete_token"]
    ticket = api.download(file_id).headers["etag"]
    assert change(api, file_id, token, max_downloads=None)["max_downloads"] is None
    assert api.download(file_id, range="bytes=4-", if_range=ticket).status_code == 206
    assert api.count(file_id) == 1
    assert api.download(file_id).headers["etag"] == plain_tag(api, file_id)
    assert api.count(file_id) == 2


def test_a_cap_below_what_was_downloaded_ends_the_file(api: Api) -> None:
    uploaded = api.upload()
    file_id = uploaded["file_id"]
    plain = [api.download(file_id).headers["etag"] for _ in range(2)][-1]
    change(api, file_id, uploaded["delete_token"], max_downloads=1)
    assert_used_up(api, file_id)
    assert_used_up(api, file_id, range="bytes=4-", if_range=plain)
    assert api.count(file_id) == 2
