"""Valid names of files, whatever their uploader sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidValue
from shared.names import MAX_NAME_BYTES, clean_name

UNTOUCHED = {
    "several scripts": "报告-ä-😀.txt",
    "separators of headers": "semi;colon, comma=1.txt",
    "percent text is not decoded": "50%25 a%22b%0D%0Ac.txt",
    "composed": "\u00e9.txt",
    "decomposed": "e\u0301.txt",
    "percent-encoded slash": "..%2f..%2fx",
    "reserved on Windows": "NUL.txt",
    "trailing dot": "file.txt.",
    "spaces around": " lead ",
    "hidden file": ".htaccess",
    "three dots": "...",
    "markup": '"><img src=x onerror=alert(1)>.txt',
    "line separators": "a\u2028b\u2029c",
    "byte order mark and non-characters": "\ufeff\uffff",
    "combining marks": "a" + "\u0301" * 30,
}

CLEANED = {
    "backslash separates": ('q"uo\\te.txt', "te.txt"),
    "NUL": ("a\x00b.txt", "ab.txt"),
    "escape and DEL": ("\x1b[2Jx\x7f.txt", "[2Jx.txt"),
    "C1 control": ("a\x85b", "ab"),
    "parent directories": ("../../etc/passwd", "passwd"),
    "drive path": ("C:\\Users\\me\\r.txt", "r.txt"),
    "network path": ("\\\\server\\share\\r.txt", "r.txt"),
    "dot": (".", "file"),
    "two dots": ("..", "file"),
    "dots that were hidden by a control": (".\x00.", "file"),
    "tab goes, spaces stay": ("a\tb  c.txt", "ab  c.txt"),
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
def test_an_empty_name_is_refused(raw: str) -> None:
    with pytest.raises(InvalidValue, match="empty") as refusal:
        clean_name(raw)
    assert refusal.value.field == "filename"


@pytest.mark.parametrize("name", ["a" * 255, "漢" * 85], ids=["ASCII", "three bytes each"])
def test_a_name_of_exactly_the_limit_is_kept(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize("name", ["a" * 256, "漢" * 90], ids=["ASCII", "three bytes each"])
def test_a_longer_name_is_refused_with_the_limit_in_bytes(name: str) -> None:
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
