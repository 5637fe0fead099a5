"""What a file may be called, whatever its uploader sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidValue
from shared.names import MAX_NAME_BYTES, clean_name

UNTOUCHED = {
    "C001 several scripts": "报告-ä-😀.txt",
    "C003 separators of headers": "semi;colon, comma=1.txt",
    "C005 percent text is not decoded": "50%25 a%22b%0D%0Ac.txt",
    "C010 composed": "\u00e9.txt",
    "C010 decomposed": "e\u0301.txt",
    "C013 percent-encoded slash": "..%2f..%2fx",
    "C015 reserved on Windows": "NUL.txt",
    "C015 trailing dot": "file.txt.",
    "C015 spaces around": " lead ",
    "C016 hidden file": ".htaccess",
    "C016 three dots": "...",
    "C027 markup": '"><img src=x onerror=alert(1)>.txt',
    "C206 line separators": "a\u2028b\u2029c",
    "C206 byte order mark and non-characters": "\ufeff\uffff",
    "C206 combining marks": "a" + "\u0301" * 30,
}

CLEANED = {
    "C002 backslash separates": ('q"uo\\te.txt', "te.txt"),
    "C007 NUL": ("a\x00b.txt", "ab.txt"),
    "C008 escape and DEL": ("\x1b[2Jx\x7f.txt", "[2Jx.txt"),
    "C1 control": ("a\x85b", "ab"),
    "C013 parent directories": ("../../etc/passwd", "passwd"),
    "C014 drive path": ("C:\\Users\\me\\r.txt", "r.txt"),
    "C014 network path": ("\\\\server\\share\\r.txt", "r.txt"),
    "C016 dot": (".", "file"),
    "C016 two dots": ("..", "file"),
    "dots that were hidden by a control": (".\x00.", "file"),
    "C028 tab goes, spaces stay": ("a\tb  c.txt", "ab  c.txt"),
    "right-to-left override": ("\u202etxt.exe", "txt.exe"),
    "bidi isolates and marks": ("\u2066a\u2069\u200eb\u200f\u061c", "ab"),
    "lone surrogate": ("a\ud800b", "ab"),
}


@pytest.mark.parametrize("name", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_a_harmless_name_is_kept_code_point_for_code_point(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize(("raw", "name"), CLEANED.values(), ids=CLEANED.keys())
def test_paths_and_invisible_characters_are_removed(raw: str, name: str) -> None:
    assert clean_name(raw) == name


@pytest.mark.parametrize("raw", ["", "dir/", "\x00", "a\\\u202e"], ids=repr)
def test_an_empty_name_is_refused(raw: str) -> None:  # C017
    with pytest.raises(InvalidValue, match="empty") as refusal:
        clean_name(raw)
    assert refusal.value.field == "filename"


@pytest.mark.parametrize("name", ["a" * 255, "漢" * 85], ids=["ASCII", "three bytes each"])
def test_a_name_of_exactly_the_limit_is_kept(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize("name", ["a" * 256, "漢" * 90], ids=["ASCII", "three bytes each"])
def test_a_longer_name_is_refused_with_the_limit_in_bytes(name: str) -> None:  # C011
    with pytest.raises(InvalidValue, match="255 bytes"):
        clean_name(name)


@given(st.text(st.characters(), max_size=60))
def test_a_clean_name_is_short_utf8_without_separators_and_stays_clean(raw: str) -> None:
    try:
        name = clean_name(raw)
    except InvalidValue:
        return
    assert 0 < len(name.encode("utf-8")) <= MAX_NAME_BYTES
    assert not set("/\\\r\n\x00") & set(name)
    assert clean_name(name) == name
