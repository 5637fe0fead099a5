"""Downloads above the size limit of an answer: counted, then redirected to storage."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.client import DIGITS, EMULATED, Api, fetch, file_part, form, problem, redirected, saved_as, text_part

LIMIT = 4
RAW = "raw/"

pytestmark = pytest.mark.parametrize("api", ["s3", "functions", EMULATED], indirect=True)


@pytest.fixture(autouse=True)
def limited(api: Api) -> None:
    api.configure("SHARE_INLINE_LIMIT", LIMIT)


def share(api: Api, **options: str) -> str:
    parts = [text_part(name, value.encode()) for name, value in options.items()]
    file_id: str = api.post(form(*parts, file_part(DIGITS, "Über.txt"))).json()["file_id"]
    return file_id


def lifetime(location: str) -> int:
    return int(parse_qs(urlsplit(location).query)["X-Amz-Expires"][0])


def raw(api: Api) -> list[str]:
    keys = api.objects.keys()
    return [key for key in keys if key.startswith(RAW)]


def test_a_large_download_is_counted_and_sent_to_storage(api: Api) -> None:
    file_id = share(api)
    location = redirected(api.download(file_id))
    assert api.count(file_id) == 1
    answer = fetch(location)
    assert (answer.status_code, answer.content) == (200, DIGITS)
    assert answer.headers["content-type"] == "text/plain"
    assert saved_as(answer) == "Über.txt"
    # Browsers request further ranges from storage.
    assert fetch(location, range="bytes=2-3").content == DIGITS[2:4]
    assert api.count(file_id) == 1
    assert lifetime(location) == 300


def test_what_fits_into_an_answer_needs_no_copy(api: Api) -> None:
    file_id = share(api)
    assert api.download(file_id, "HEAD").headers["content-length"] == str(len(DIGITS))
    assert api.download(file_id, range="bytes=6-").content == DIGITS[6:]
    assert api.download(file_id, range="bytes=0-3").content == DIGITS[:4]
    assert api.download(file_id, if_none_match=f'"{file_id}"').status_code == 304
    assert api.download(file_id, range="bytes=10-").status_code == 416
    assert raw(api) == []
    assert api.count(file_id) == 1


def test_a_later_range_is_not_counted_and_opens_that_range_only(api: Api) -> None:
    file_id = share(api)
    location = redirected(api.download(file_id, range="bytes=3-"))
    assert api.count(file_id) == 0
    assert "range" in parse_qs(urlsplit(location).query)["X-Amz-SignedHeaders"][0].split(";")
    assert fetch(location, range="bytes=3-").content == DIGITS[3:]


def test_a_range_from_the_first_byte_is_a_download(api: Api) -> None:
    file_id = share(api)
    location = redirected(api.download(file_id, range="bytes=0-"))
    assert api.count(file_id) == 1
    assert fetch(location, range="bytes=0-").content == DIGITS


def test_a_copy_that_is_gone_is_made_again(api: Api) -> None:
    file_id = share(api)
    redirected(api.download(file_id))
    api.objects.delete(f"{RAW}{file_id}")
    assert fetch(redirected(api.download(file_id))).content == DIGITS
    assert api.count(file_id) == 2


def test_a_capped_file_gives_shorter_addresses_and_a_ticket(api: Api) -> None:
    file_id = share(api, max_downloads="1")
    first = api.download(file_id)
    assert lifetime(redirected(first)) == 60
    resumed = api.download(file_id, range="bytes=3-", if_range=first.headers["etag"])
    assert fetch(redirected(resumed), range="bytes=3-").content == DIGITS[3:]
    problem(api.download(file_id, range="bytes=3-"), 410)
    problem(api.download(file_id), 410)
    assert api.count(file_id) == 1


def test_an_address_is_good_no_longer_than_its_file(api: Api) -> None:
    assert 100 < lifetime(redirected(api.download(share(api, expires_in="200")))) <= 200


def test_a_prefetch_is_not_sent_anywhere(api: Api) -> None:
    file_id = share(api)
    problem(api.download(file_id, purpose="prefetch"), 503)
    assert (api.count(file_id), raw(api)) == (0, [])


def test_a_file_that_is_missing_counts_nothing(api: Api) -> None:
    file_id = share(api)
    api.objects.delete(f"files/{file_id[:2]}/{file_id}.pickle")
    problem(api.download(file_id), 500)
    assert api.count(file_id) == 0


def test_a_copy_of_the_wrong_size_counts_nothing(api: Api) -> None:
    file_id = share(api)
    api.objects.write(f"{RAW}{file_id}", DIGITS + b"more")
    assert problem(api.download(file_id), 500)["type"].endswith("damaged-file")
    assert api.count(file_id) == 0


def test_a_deleted_file_takes_its_copy_along(api: Api) -> None:
    shared = api.post(form(file_part(DIGITS))).json()
    redirected(api.download(shared["file_id"]))
    assert raw(api) == [f"{RAW}{shared['file_id']}"]
    api.request("DELETE", f"/file/{shared['file_id']}", {"x-delete-token": shared["delete_token"]})
    keys = api.objects.keys()
    assert [key for key in keys if key.startswith(("raw/", "files/"))] == []
