"""Edge cases of ranges mean the same in every way of running."""

from __future__ import annotations

import pytest

from tests.api.client import DIGITS, Api, problem

# Only ASCII digits are valid (RFC 9110 §14.1.1); an invalid range is ignored.
NO_RANGES = ["bytes=abc", "bytes=", "bytes=1-2-3", "bytes=--3", "bytes=+1-2", "bytes=0x1-3", "bytes=1_0-", "bytes 0-3"]


@pytest.mark.parametrize("text", NO_RANGES)
def test_what_is_no_range_gets_the_whole_file(api: Api, text: str) -> None:
    response = api.download(api.upload()["file_id"], range=text)
    assert (response.status_code, response.content) == (200, DIGITS)


def test_an_empty_file_has_no_range(api: Api) -> None:
    file_id = api.upload(b"")["file_id"]
    for text in ("bytes=0-", "bytes=-1"):
        response = api.download(file_id, range=text)
        problem(response, 416)
        assert response.headers["content-range"] == "bytes */0"
    assert api.count(file_id) == 0


def test_a_condition_is_looked_at_before_the_range(api: Api) -> None:
    file_id = api.upload()["file_id"]
    tag = api.download(file_id, "HEAD").headers["etag"]
    response = api.download(file_id, if_none_match=tag, range="bytes=0-3")
    assert (response.status_code, response.content) == (304, b"")
    assert api.count(file_id) == 0
