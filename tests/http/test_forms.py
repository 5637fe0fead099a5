"""Upload forms: the file's bytes exactly, everything else bounded, and a clear answer to invalid forms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from shared.errors import InvalidValue
from shared.http.forms import Form, receive_form
from tests.linear import linear

MULTIPART = "multipart/form-data; boundary=X"
SECRET = b"s3cret content"


def part(disposition: bytes | None, data: bytes, *headers: bytes) -> bytes:
    lines = list(headers) if disposition is None else [b"Content-Disposition: " + disposition, *headers]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + data


def file_part(data: bytes = SECRET, filename: bytes = b'"n.txt"', *headers: bytes) -> bytes:
    return part(b'form-data; name="file"; filename=' + filename, data, *headers)


def text_part(name: bytes, value: bytes) -> bytes:
    return part(b'form-data; name="' + name + b'"', value)


def body(*parts: bytes, boundary: bytes = b"X", end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + each + b"\r\n" for each in parts) + b"--" + boundary + end


def receive(
    sent: bytes | Iterable[bytes],
    content_type: str = MULTIPART,
    field_names: frozenset[str] = frozenset({"password", "note"}),
) -> tuple[Form, bytes]:
    """The form, and the file bytes that were written while it arrived."""
    written: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in [sent] if isinstance(sent, bytes) else sent:
            yield chunk

    async def write(piece: bytes) -> None:
        written.append(piece)

    form = asyncio.run(receive_form(content_type, chunks(), write, fields=dict.fromkeys(field_names, 1024)))
    return form, b"".join(written)


def status_of(sent: bytes | Iterable[bytes], content_type: str = MULTIPART) -> int:
    """The status of a refusal, whose message must not repeat any content of the form."""
    with pytest.raises(HTTPException) as refusal:
        receive(sent, content_type)
    assert refusal.value.detail.endswith(".")
    assert "s3cret" not in refusal.value.detail
    return refusal.value.status_code


def field_of(sent: bytes) -> str:
    """The field that the error names."""
    with pytest.raises(InvalidValue) as refusal:
        receive(sent)
    assert "s3cret" not in str(refusal.value)
    return refusal.value.field


def test_file_and_known_fields_are_received_in_any_order() -> None:
    sent = body(
        text_part(b"password", b"pw"),
        file_part(b"data", b'"n.txt"', b"Content-Type: text/plain"),
        text_part(b"note", "é".encode()),
    )
    assert receive(sent) == (Form("n.txt", "text/plain", {"password": "pw", "note": "é"}), b"data")


def test_an_empty_file_without_a_type_is_a_file() -> None:
    assert receive(body(file_part(b""))) == (Form("n.txt", None, {}), b"")


NAMES = {
    "raw UTF-8": ('"报告-ä-😀.txt"'.encode(), "报告-ä-😀.txt"),
    "quoted pairs": (rb'"q\"uo\\te.txt"', "te.txt"),
    "separators": (b'"semi;colon, comma=1.txt"', "semi;colon, comma=1.txt"),
    "percent text": (b'"50%25 a%22b%0D%0Ac.txt"', "50%25 a%22b%0D%0Ac.txt"),
    "NUL": (b'"a\x00b.txt"', "ab.txt"),
    "drive path": (rb'"C:\Users\me\r.txt"', "r.txt"),
    "plain and extended": (b"\"plain.txt\"; filename*=UTF-8''evil.exe", "plain.txt"),
    "extended in another encoding": (b"\"x\"; filename*=iso-8859-1''%e9", "x"),
    "not UTF-8": (b'"\xff\xfe.txt"', "\ufffd\ufffd.txt"),
    "token": (b"n.txt", "n.txt"),
    "space around the equals sign": (b' "n.txt" ; x = y ;', "n.txt"),
}


@pytest.mark.parametrize(("filename", "name"), NAMES.values(), ids=NAMES.keys())
def test_the_file_name_is_handed_over_as_meant(filename: bytes, name: str) -> None:
    assert receive(body(file_part(b"", filename)))[0].file_name == name


# PowerShell 6 to 7.3 writes non-ASCII names like this. A name that only resembles this form stays unchanged.
ENCODED_WORDS = {
    "base64": ("=?utf-8?B?Z3LDtsOfZS56aXA=?=", "größe.zip"),
    "in capitals": ("=?UTF-8?b?Z3LDtsOfZS56aXA=?=", "größe.zip"),
    "quoted": ("=?utf-8?Q?gr=C3=B6=C3=9Fe_1.zip?=", "größe 1.zip"),
    "a path": ("=?utf-8?B?Li4vLi4vZXRjL3Bhc3N3ZA==?=", "passwd"),
    "control characters": ("=?utf-8?Q?a=0D=0A=00b.txt?=", "ab.txt"),
    "as long as a header may be": (f"=?utf-8?Q?{'=61' * 255}?=", "a" * 255),
    "another charset": ("=?iso-8859-1?B?Z3L2/2U=?=", "2U=?="),
    "no base64": ("=?utf-8?B?Z3L?=", "=?utf-8?B?Z3L?="),
    "no UTF-8": ("=?utf-8?Q?=FF?=", "=?utf-8?Q?=FF?="),
    "another encoding": ("=?utf-8?X?YQ==?=", "=?utf-8?X?YQ==?="),
    "text around it": ("a =?utf-8?B?YQ==?=", "a =?utf-8?B?YQ==?="),
}


@pytest.mark.parametrize(("sent", "name"), ENCODED_WORDS.values(), ids=ENCODED_WORDS.keys())
def test_a_name_that_is_an_encoded_word_is_decoded(sent: str, name: str) -> None:
    assert receive(body(file_part(b"", f'"{sent}"'.encode())))[0].file_name == name


def test_an_extended_file_name_alone_is_enough() -> None:
    sent = body(part(b"form-data; name=\"file\"; filename*=utf-8'en'%e2%82%ac.txt", b""))
    assert receive(sent)[0].file_name == "€.txt"


def test_a_file_name_inside_another_parameter_is_not_seen() -> None:
    sent = body(part(b'form-data; name="file"; note="x; filename=evil.exe "; filename="safe.txt"', b""))
    assert receive(sent)[0].file_name == "safe.txt"


@pytest.mark.parametrize("charset", ["punycode", "nope", '"a b"', "idna", "rot13"])
def test_the_charset_of_the_form_is_ignored(charset: str) -> None:
    sent = body(file_part(b"", b'"\xff-zzzzzzzzzzzz9999999"'))
    assert receive(sent, f"{MULTIPART}; charset={charset}")[0].file_name == "\ufffd-zzzzzzzzzzzz9999999"


BAD_PARTS = {
    "line break in a name": file_part(SECRET, b'"a.txt\r\nX-Injected: 1\r\n"'),
    "bare line feed in a header": file_part(SECRET, b'"a.txt"\nX-Injected: 1'),
    "name of 5000 bytes": file_part(SECRET, b'"' + b"a" * 5000 + b'"'),
    "file name twice": file_part(SECRET, b'"one.txt"; filename="two.txt"'),
    "text after the closing quote": file_part(SECRET, b'"payload.jpg".html'),
    "quote in a token": file_part(SECRET, b'payload.jpg"x"'),
    "quote never closed": file_part(SECRET, b'"' + b"\\" * 4001),
    "extended name in another encoding": part(b"form-data; name=\"file\"; filename*=iso-8859-1''%e9", SECRET),
    "parameter without value": file_part(SECRET, b'"x"; name2'),
    "type of 100 KB": file_part(SECRET, b'"x"', b"Content-Type: text/" + b"a" * 100_000),
    "no Content-Disposition": part(None, SECRET, b"Content-Type: text/plain"),
    "no headers": b"\r\n" + SECRET,
    "two Content-Dispositions": file_part(SECRET, b'"x"', b'content-disposition: form-data; name="other"'),
    "two Content-Types": file_part(SECRET, b'"x"', b"Content-Type: a/b", b"Content-Type: c/d"),
    "not form-data": part(b'attachment; name="file"; filename="x"', SECRET),
    "no name": part(b'form-data; filename="x"', SECRET),
    "many headers": file_part(SECRET, b'"x"', *[b"X-%d: y" % i for i in range(300)]),
    "long header": file_part(SECRET, b'"x"', b"X: " + b"y" * 100_000),
    "space before the colon": file_part(SECRET, b'"x"', b"X : y"),
}


@pytest.mark.parametrize("bad", BAD_PARTS.values(), ids=BAD_PARTS.keys())
def test_a_malformed_part_is_refused(bad: bytes) -> None:
    assert status_of(body(bad)) == 400


BAD_FRAMING = {
    "no closing delimiter": body(file_part())[: -len(b"\r\n--X--\r\n")],
    "ends after a delimiter": body(file_part(), end=b"\r\n"),
    "cut inside the closing delimiter": body(file_part(), end=b"-"),
    "preamble": b"s3cret\r\n" + body(file_part()),
    "preamble after a line break": b"\r\ns3cret\r\n" + body(file_part()),
    "line feeds only": body(file_part()).replace(b"\r\n", b"\n"),
    "many parts": body(*[part(b'form-data; name="f%d"; filename="z"' % i, b"") for i in range(1500)], file_part()),
    "headers never end": b"--X\r\n" + b"X-1: y\r\n" * 3000,
    "empty body": b"",
}


@pytest.mark.parametrize("sent", BAD_FRAMING.values(), ids=BAD_FRAMING.keys())
def test_broken_framing_is_refused(sent: bytes) -> None:
    assert status_of(sent) == 400
    assert status_of(sent[i : i + 5] for i in range(0, len(sent), 5)) == 400


def test_a_line_break_before_the_first_delimiter_is_fine() -> None:
    sent = b"\r\n" + body(file_part(b"data"))
    assert receive(sent)[1] == b"data"
    assert receive(sent[i : i + 1] for i in range(len(sent)))[1] == b"data"


UNUSABLE = {
    "empty file name": (body(file_part(SECRET, b'""')), "file"),
    "no file name": (body(text_part(b"file", SECRET)), "file"),
    "two files": (body(file_part(), file_part()), "file"),
    "text part called file beside the file": (body(file_part(), text_part(b"file", SECRET)), "file"),
    "file under another name": (body(part(b'form-data; name="upload"; filename="x"', SECRET)), "file"),
    "no parts": (b"--X--\r\n", "file"),
    "known field twice": (body(text_part(b"note", SECRET), text_part(b"note", SECRET), file_part()), "note"),
    "known field too long": (body(text_part(b"note", SECRET * 100), file_part()), "note"),
    "known field not UTF-8": (body(text_part(b"note", SECRET + b"\xff"), file_part()), "note"),
    "known field as a file": (body(part(b'form-data; name="note"; filename="x"', SECRET), file_part()), "note"),
}


@pytest.mark.parametrize(("sent", "field"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_form_is_blamed_on_its_field(sent: bytes, field: str) -> None:
    assert field_of(sent) == field


def test_a_field_of_exactly_the_limit_is_kept() -> None:
    assert receive(body(text_part(b"note", b"n" * 1024), file_part()))[0].fields == {"note": "n" * 1024}


def test_unknown_parts_are_ignored() -> None:
    unknown_file = part(b'form-data; name="other"; filename="o"', b"zzz")
    sent = body(text_part(b"x", b"\xff"), text_part(b"x", b"y" * 5000), unknown_file, file_part(b"data"))
    assert receive(sent) == (Form("n.txt", None, {}), b"data")


def test_transfer_encoding_of_a_part_is_ignored() -> None:
    assert receive(body(file_part(b"aGVsbG8=", b'"x"', b"Content-Transfer-Encoding: base64")))[1] == b"aGVsbG8="


BIG = b"\r" * 70_000

TOO_MUCH = {
    "epilogue": body(file_part()) + BIG,
    "unknown text": body(text_part(b"x", BIG), file_part()),
    "unknown file": body(part(b'form-data; name="other"; filename="o"', BIG), file_part()),
    "line breaks in front": BIG + body(file_part()),
}


@pytest.mark.parametrize("sent", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_what_surrounds_the_file_is_bounded(sent: bytes) -> None:
    assert status_of(sent) == 413
    assert status_of(sent[i : i + 1000] for i in range(0, len(sent), 1000)) == 413


def test_a_short_epilogue_is_fine_and_the_file_does_not_count_as_overhead() -> None:
    assert receive(body(file_part(BIG * 2)) + b"epilogue")[1] == BIG * 2


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/mixed; boundary=X", "application/x-www-form-urlencoded"]
)
def test_another_media_type_is_unsupported(content_type: str) -> None:
    assert status_of(body(file_part()), content_type) == 415


BOUNDARIES = {
    "quoted, with space and colon": ('multipart/form-data; boundary="a b:c"', b"a b:c"),
    "of 70 bytes": ("multipart/form-data; boundary=" + "b" * 70, b"b" * 70),
    "capitals": ("Multipart/Form-Data; BOUNDARY=X", b"X"),
    "unquoted punctuation": ("multipart/form-data; boundary=--=_/?:'()", b"--=_/?:'()"),
    "after another parameter": ("multipart/form-data ; charset=utf-8 ;boundary=X;", b"X"),
}


@pytest.mark.parametrize(("content_type", "boundary"), BOUNDARIES.values(), ids=BOUNDARIES.keys())
def test_a_legal_boundary_is_understood(content_type: str, boundary: bytes) -> None:
    assert receive(body(file_part(b"data"), boundary=boundary), content_type)[1] == b"data"


BAD_BOUNDARIES = {
    "of 71 bytes": "boundary=" + "b" * 71,
    "empty": "boundary=",
    "empty, quoted": 'boundary=""',
    "missing": "",
    "backslashes": 'boundary="' + "\\" * 60 + "a",
    "800 KB of backslashes": 'boundary="' + "\\" * 800_001,
    "twice": "boundary=X; boundary=Y",
    "not ASCII": 'boundary="é"',
    "control character": 'boundary="a\tb"',
    "text after the quotes": 'boundary="X"Y',
}


@pytest.mark.parametrize("parameter", BAD_BOUNDARIES.values(), ids=BAD_BOUNDARIES.keys())
def test_a_bad_boundary_is_refused_at_once(parameter: str) -> None:
    with linear():
        assert status_of(body(file_part()), f"multipart/form-data; {parameter}") == 400


def test_near_delimiters_in_the_file_are_data_however_it_arrives() -> None:
    data = b"a--X--\r\n-X\r\n--\rX \n--X--\nb\r\n-\r"
    sent = body(file_part(data))
    assert receive(sent)[1] == data
    for cut in range(1, len(sent)):
        assert receive([sent[:cut], b"", sent[cut:]])[1] == data
    assert receive(sent[i : i + 1] for i in range(len(sent)))[1] == data


# Parts of the delimiter make near misses likely; only the delimiter itself cannot be in a file.
near = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", b"X", b"\r\n-", b"\r\n--", b" "]) | st.binary(max_size=8))
contents = (st.binary(max_size=300) | near.map(b"".join)).filter(lambda data: b"\r\n--X" not in b"\r\n" + data)


@given(data=contents, sizes=st.lists(st.integers(min_value=1, max_value=40), min_size=1))
def test_any_bytes_in_any_chunking_come_through(data: bytes, sizes: list[int]) -> None:
    sent = body(text_part(b"note", b"hello"), file_part(data))
    chunks: list[bytes] = []
    position = 0
    while position < len(sent):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(sent[position : position + size])
        position += size
    assert receive(chunks) == (Form("n.txt", None, {"note": "hello"}), data)


@given(sent=st.binary(max_size=200), content_type=st.text(max_size=30))
def test_junk_is_refused_without_any_other_error(sent: bytes, content_type: str) -> None:
    with pytest.raises((HTTPException, InvalidValue)):
        receive(b"--X\r\n" + sent)
    with pytest.raises(HTTPException):
        receive(sent, f"multipart/form-data;{content_type}")


def test_megabytes_after_a_carriage_return_take_linear_time() -> None:
    with linear():
        assert len(receive(body(file_part(b"\r" + b"\0" * 4_000_000)))[1]) == 4_000_001
