"""Downloads equal uploads: any bytes, in any chunks, with any boundary, under any name, and any range of them."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidValue
from shared.names import clean_name
from tests.properties.asgi import Answer, Client
from tests.properties.effort import examples

# RFC 2046 §5.1.1: bchars, but a space must not be the last.
BCHARS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? "
boundaries = st.text(BCHARS, min_size=1, max_size=70).filter(lambda text: not text.endswith(" "))


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """`data` cut into pieces of these sizes, repeatedly; pieces can be empty."""
    position, turn = 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)] or (turn % 2)
        yield data[position : position + size]
        position, turn = position + size, turn + 1


def posted(client: Client, boundary: str, part: bytes, sizes: list[int]) -> Answer:
    delimiter = b"--" + boundary.encode()
    body = delimiter + b"\r\n" + part + b"\r\n" + delimiter + b"--\r\n"
    form_type = f'multipart/form-data; boundary="{boundary}"'.encode()
    return client.ask("POST", b"/file/upload/", [(b"content-type", form_type)], pieces(body, sizes))


def downloaded(client: Client, file_id: str, *headers: tuple[bytes, bytes]) -> Answer:
    return client.ask("GET", f"/file/download/{file_id}".encode(), headers)


SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 5, 7, 60, 1000]), min_size=1, max_size=8).filter(any)


@examples(60)
@given(st.data())
def test_any_bytes_come_out_of_a_form_as_they_went_in(client: Client, data: st.DataObject) -> None:
    boundary = data.draw(boundaries)
    near = st.sampled_from(
        [b"\r\n", b"--", b"\r\n--", boundary.encode(), b"\r\n--" + boundary.encode()[:-1], b"\n", b"\r"]
    )
    content = b"".join(data.draw(st.lists(near | st.binary(max_size=30), max_size=40)))
    # A file cannot contain the delimiter, and a sender would choose another boundary in that case.
    delimiter = b"\r\n--" + boundary.encode()
    content = (b"\r\n" + content).replace(delimiter, b"")[2:] if delimiter in b"\r\n" + content else content
    part = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content
    answer = posted(client, boundary, part, data.draw(SIZES))
    assert answer.status == 201, answer.body
    upload = json.loads(answer.body)
    assert (upload["file_size"], upload["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert downloaded(client, upload["file_id"]).body == content


@examples(40)
@given(content=st.binary(max_size=300), sizes=SIZES)
def test_any_bytes_come_out_of_a_put_as_they_went_in(client: Client, content: bytes, sizes: list[int]) -> None:
    answer = client.ask("PUT", b"/file/upload/a.bin", (), pieces(content, sizes))
    assert answer.status == 201, answer.body
    assert downloaded(client, json.loads(answer.body)["file_id"]).body == content


names = st.text(st.characters() | st.sampled_from("/\\\".;%=*'\x00\r\n\t\u202e\u2028\ufeffé漢😀"), max_size=60)


def plainly_cleaned(text: str) -> str:
    """The rule for names, written simply: the last segment, without invisible and unencodable characters."""
    kept = ""
    for character in text:
        if character in "/\\":
            kept = ""
        elif unicodedata.category(character) not in ("Cc", "Cs") and unicodedata.bidirectional(character) not in (
            *("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"),
        ):
            kept += character
    kept = "".join(character for character in kept if character not in "\u061c\u200e\u200f")
    return "file" if kept in (".", "..") else kept


@examples(300)
@given(names)
def test_the_rule_for_names_is_what_it_says(text: str) -> None:
    expected = plainly_cleaned(text)
    if 1 <= len(expected.encode()) <= 255:
        assert clean_name(text) == expected
    else:
        with pytest.raises(InvalidValue):
            clean_name(text)


def header_name(answer: Answer) -> str:
    """The name under which a client saves a download: the extended one if there is one (RFC 6266 §4.3)."""
    disposition = answer.header("content-disposition")
    plain, separator, extended = disposition.partition("; filename*=UTF-8''")
    if separator:
        return unquote(extended, errors="strict")
    return plain.removeprefix('attachment; filename="').removesuffix('"')


@examples(80)
@given(text=names, by_put=st.booleans())
def test_any_name_is_the_same_in_json_and_header(client: Client, text: str, by_put: bool) -> None:
    if by_put:
        # A path consists of bytes, and invalid UTF-8 becomes U+FFFD.
        text = text.encode(errors="replace").decode()
        answer = client.ask("PUT", b"/file/upload/" + quote(text, safe="").encode(), (), [b"x"])
        text = text.removesuffix("/")
    else:
        # As browsers encode it (HTML, "multipart/form-data encoding algorithm"). A header cannot contain a null byte. A
        # backslash before another one, or before the closing quote, is half of an escape sequence.
        text = text.encode(errors="replace").decode().replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
        text = re.sub(r"\\+", r"\\", text.replace("\x00", "")).removesuffix("\\")
        part = b'Content-Disposition: form-data; name="file"; filename="' + text.encode() + b'"\r\n\r\nx'
        answer = posted(client, "X", part, [1000])
    expected = plainly_cleaned(text)
    if not 1 <= len(expected.encode()) <= 255:
        assert answer.status == 422
        return
    assert answer.status == 201, answer.body
    upload = json.loads(answer.body)
    assert upload["original_name"] == expected
    one = client.ask("GET", f"/file/metadata/{upload['file_id']}".encode())
    listed = client.ask("GET", f"/file/metadata/?limit=1000&after={upload['file_id'][:-4]}0000".encode())
    assert json.loads(one.body)["original_name"] == expected
    listing = json.loads(listed.body)
    assert upload["file_id"] not in listing or listing[upload["file_id"]]["original_name"] == expected
    answer = client.ask("HEAD", f"/file/download/{upload['file_id']}".encode())
    assert answer.header("content-disposition").isascii()
    assert header_name(answer) == expected


# Ranges

TEN = b"0123456789"
numbers = st.integers(0, 12).map(str) | st.sampled_from(["", "00", "007", "9" * 30, "+1", "-1", "1_0", "٣", " 1"])
ranges = st.one_of(
    st.builds("bytes={}-{}".format, numbers, numbers),
    st.builds(
        "{}={}-{}".format, st.sampled_from(["BYTES", "Bytes", "items", "byte", "bytes ", " bytes"]), numbers, numbers
    ),
    st.builds("bytes={}-{},{}-{}".format, numbers, numbers, numbers, numbers),
    st.text("bytes=0123456789-, \t", max_size=20),
)


def plainly_selected(text: str, size: int) -> range | None:
    """The positions that a `Range` selects, directly following RFC 9110 §14.1.2; None if it must be ignored.

    Several ranges, other units and invalid syntax are ignored (§14.2).
    """
    unit, separator, spec = text.partition("=")
    if unit.lower() != "bytes" or not separator:
        return None
    first, hyphen, last = spec.strip(" \t").partition("-")
    digits = set("0123456789")
    if not hyphen or not set(first) <= digits or not set(last) <= digits or not (first or last):
        return None
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1 if last else size))


@pytest.fixture
def ten(client: Client) -> str:
    answer = client.ask("PUT", b"/file/upload/ten", (), [TEN])
    file_id: str = json.loads(answer.body)["file_id"]
    return file_id


@examples(300)
@given(text=ranges)
def test_any_range_is_answered_with_what_it_asks_for(client: Client, ten: str, text: str) -> None:
    # A server strips the whitespace around a value (RFC 9112 §5.1).
    text = text.strip(" \t")
    answer = downloaded(client, ten, (b"range", text.encode()))
    positions = plainly_selected(text, len(TEN))
    if positions is None:
        assert (answer.status, answer.body) == (200, TEN)
    elif not positions:
        assert answer.status == 416
        assert answer.header("content-range") == "bytes */10"
    else:
        assert (answer.status, answer.body) == (206, bytes(TEN[position] for position in positions))
        assert answer.header("content-range") == f"bytes {positions[0]}-{positions[-1]}/10"
        assert answer.header("content-length") == str(len(positions))
