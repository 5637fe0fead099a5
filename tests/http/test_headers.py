"""Header values: safe for any text, and readable without loss."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.headers import (
    accepts_gzip,
    body_media_type,
    content_disposition,
    http_date,
    media_type,
    parse_http_date,
    repr_digest,
)
from tests.linear import linear

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


DISPOSITION = re.compile(
    r'attachment; filename="(?P<plain>[ !#-\[\]-~]*)"'
    r"(?:; filename\*=UTF-8''(?P<extended>(?:%[0-9A-F]{2}|[A-Za-z0-9!#$&+.^_`|~-])*))?"
)


def saved_as(disposition: str) -> str:
    """The name under which a client saves a file, by a parser of RFC 6266 that is independent of the tested code."""
    match = DISPOSITION.fullmatch(disposition)
    assert match is not None
    if match["extended"] is None:
        return match["plain"]
    return unquote_to_bytes(match["extended"]).decode()


DISPOSITIONS = {
    "plain": ("report.txt", 'attachment; filename="report.txt"'),
    "separators stay in quotes": ("a;b, c=1.txt", 'attachment; filename="a;b, c=1.txt"'),
    "not ASCII": ("ä😀.txt", "attachment; filename=\"__.txt\"; filename*=UTF-8''%C3%A4%F0%9F%98%80.txt"),
    "quote": ('q"t.txt', "attachment; filename=\"q_t.txt\"; filename*=UTF-8''q%22t.txt"),
    "percent is encoded again": ("50%25.txt", "attachment; filename=\"50_25.txt\"; filename*=UTF-8''50%2525.txt"),
    "apostrophe and star are no attr-char": ("é'*", "attachment; filename=\"_'*\"; filename*=UTF-8''%C3%A9%27%2A"),
}


@pytest.mark.parametrize(("name", "header"), DISPOSITIONS.values(), ids=DISPOSITIONS.keys())
def test_disposition(name: str, header: str) -> None:
    assert content_disposition(name) == header


@given(st.text(st.characters(codec="utf-8")))
def test_any_name_is_printable_ascii_in_the_header_and_comes_back(name: str) -> None:
    header = content_disposition(name)
    assert re.fullmatch(r"[ -~]+", header)
    assert saved_as(header) == name


def test_a_name_that_has_no_utf8_still_gives_a_header() -> None:
    assert saved_as(content_disposition("a\ud800")) == "a?"


VALID_TYPES = {
    "plain": "text/plain",
    "capitals": "TEXT/HTML",
    "space before the semicolon": "text/html ;charset=x",
    "charset": "text/html; charset=utf-7",
    "quoted parameter": 'image/png; a=b; c="d;e"',
    "byteranges": "multipart/byteranges; boundary=Z",
    "quoted pair": r'a/b; c="\"\\"',
    "suffix and dots": "application/vnd.api+json",
    "trailing semicolon (RFC 9110 §5.6.6)": "text/plain;",
    "exactly 255 characters": "a/" + "b" * 253,
}

INVALID_TYPES = {
    "none": None,
    "empty": "",
    "not ASCII": "text/плейн",
    "no slash": "text",
    "words": "not a type",
    "open quote": 'text/plain; charset="x',
    "slash alone": "/",
    "parameter without value": "text/plain; charset=",
    "space around the equals sign": "text/plain; a = b",
    "two types": "text/plain, text/html",
    "not ASCII in quotes": 'text/plain; a="é"',
    "line break": "text/plain\r\nX-Injected: 1",
    "line break at the end": "text/plain\n",
    "longer than 255 characters": "a/" + "b" * 254,
}


@pytest.mark.parametrize("value", VALID_TYPES.values(), ids=VALID_TYPES.keys())
def test_a_valid_media_type_is_kept_as_sent(value: str) -> None:
    assert media_type(f" {value}\t" if len(value) < 255 else value) == value


@pytest.mark.parametrize("value", INVALID_TYPES.values(), ids=INVALID_TYPES.keys())
def test_anything_else_is_octet_stream(value: str | None) -> None:
    assert media_type(value) == "application/octet-stream"


def test_a_type_with_many_readings_is_refused_in_linear_time() -> None:
    with linear():
        assert media_type("a/b" + ";  " * 80 + "!") == "application/octet-stream"


DATES = {
    "IMF-fixdate": "Sun, 06 Nov 1994 08:49:37 GMT",
    "RFC 850": "Sunday, 06-Nov-94 08:49:37 GMT",
    "asctime": "Sun Nov  6 08:49:37 1994",
}


@pytest.mark.parametrize("text", DATES.values(), ids=DATES.keys())
def test_all_three_forms_of_http_date_are_read(text: str) -> None:  # RFC 9110 §5.6.7
    assert parse_http_date(text) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


def test_a_date_is_written_in_gmt_and_whole_seconds() -> None:
    moment = (NOON + timedelta(microseconds=999_999)).astimezone(timezone(timedelta(hours=14)))
    assert http_date(moment) == "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize("text", ["", " ", "garbage", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT", "9" * 8000])
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None


@pytest.mark.parametrize("text", ["Fri, 31 Dec 9999 23:59:59 -2359", "Sun, 06 Nov 1994 08:49:37 +9999", ",,, : : :"])
def test_dates_out_of_range_are_none(text: str) -> None:
    assert parse_http_date(text) is None


@given(st.text() | st.text("0123456789 ,:-+aAGMTSunNov", max_size=35))
def test_reading_a_date_never_raises(text: str) -> None:
    parse_http_date(text)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_a_written_date_is_read_back(moment: datetime) -> None:
    assert parse_http_date(http_date(moment)) == moment.replace(microsecond=0)


def test_digest_is_base64_between_colons() -> None:  # RFC 9530 §3
    empty = hashlib.sha256(b"").hexdigest()
    assert repr_digest(empty) == "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


FORM_TYPE = "application/x-www-form-urlencoded"
JSON = "application/json"
# curl and wget send the first type if they are given none, and HTTPie sends the second.
RAW = {
    "curl, a photo": (FORM_TYPE, "photo.jpg", "image/jpeg"),
    "curl, a suffix in capitals": (FORM_TYPE, "PHOTO.JPG", "image/jpeg"),
    "curl, no suffix": (FORM_TYPE, "photo", "application/octet-stream"),
    "curl, an unknown suffix": (FORM_TYPE, "a.no-such-suffix", "application/octet-stream"),
    "a packed archive is no plain one": (FORM_TYPE, "a.tar.gz", "application/octet-stream"),
    "HTTPie, a photo": (JSON, "photo.jpg", "image/jpeg"),
    "HTTPie, or a program that means it": (JSON, "data.json", JSON),
    "JSON of a suffix that has no other type": (JSON, "map.geojson", JSON),
    "JSON without a suffix": (JSON, "data", JSON),
    "JSON with a parameter, which no tool adds by itself": (f"{JSON}; charset=utf-8", "photo.jpg", None),
    "what the sender has said": ("text/plain", "photo.jpg", None),
    "another type": ("image/png", "a", None),
    "a malformed type": ("x", "photo.jpg", "application/octet-stream"),
    "no type": (None, "photo.jpg", "application/octet-stream"),
}


@pytest.mark.parametrize(("sent", "name", "kept"), RAW.values(), ids=RAW.keys())
def test_a_type_that_a_tool_writes_for_any_body_gives_way_to_the_name(
    sent: str | None, name: str, kept: str | None
) -> None:
    assert body_media_type(sent, name) == (sent if kept is None else kept)


@pytest.mark.parametrize(
    ("sent", "accepted"),
    {
        "gzip": True,
        "gzip, deflate, br": True,
        "br;q=1.0, GZIP;q=0.5": True,
        "gzip;q=0.001": True,
        "*": True,
        "": False,
        "br, identity": False,
        "gzip;q=0": False,
        "gzip; q=0.000, br": False,
        "*;q=0": False,
        "*, gzip;q=0": False,
        "gzip, *;q=0": True,
        "gzipped": False,
    }.items(),
)
def test_a_client_can_refuse_gzip(sent: str, accepted: bool) -> None:
    assert accepts_gzip({"accept-encoding": sent}) == accepted
