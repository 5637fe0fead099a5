"""Edge cases of valid forms mean the same in every way of running."""

from __future__ import annotations

import pytest

from tests.api.client import DIGITS, Api, form, problem, saved_as, text_part
from tests.linear import linear

NEAR_DELIMITERS = b"a--X-boundary--\r\n-X\r\n--\rX-boundary \n--X-boundary--\nb\r\n-"


def file_part(disposition: bytes, data: bytes = DIGITS, *headers: bytes) -> bytes:
    head = b"\r\n".join([b'Content-Disposition: form-data; name="file"; ' + disposition, *headers])
    return head + b"\r\n\r\n" + data


PLAIN = file_part(b'filename="a.txt"')

TAKEN: dict[str, tuple[bytes, str, bytes]] = {
    "only an extended name": (form(file_part(b"filename*=UTF-8''%e2%82%ac.txt")), "€.txt", DIGITS),
    "a name inside another": (form(file_part(b'note="x; filename=evil.exe "; filename="s.txt"')), "s.txt", DIGITS),
    "a short epilogue": (form(PLAIN) + b"\r\nepilogue", "a.txt", DIGITS),
    "near delimiters": (form(file_part(b'filename="a.txt"', NEAR_DELIMITERS)), "a.txt", NEAR_DELIMITERS),
    "a carriage return": (
        form(file_part(b'filename="a.txt"', b"\r" + bytes(100_000))),
        "a.txt",
        b"\r" + bytes(100_000),
    ),
    "transfer encoding": (
        form(file_part(b'filename="a.txt"', b"aGVsbG8=", b"Content-Transfer-Encoding: base64")),
        "a.txt",
        b"aGVsbG8=",
    ),
    "a name of 255 bytes": (form(file_part(b'filename="' + b"a" * 251 + b'.txt"')), "a" * 251 + ".txt", DIGITS),
}


@pytest.mark.parametrize(("sent", "name", "data"), TAKEN.values(), ids=TAKEN.keys())
def test_an_odd_form_is_taken_as_it_is_meant(api: Api, sent: bytes, name: str, data: bytes) -> None:
    response = api.post(sent)
    assert response.status_code == 201, response.text
    assert response.json()["original_name"] == name
    downloaded = api.download(response.json()["file_id"])
    assert (saved_as(downloaded), downloaded.content) == (name, data)


REFUSED: dict[str, bytes] = {
    "a header inside the name": form(file_part(b'filename="a.txt\r\nX-Injected: 1\r\n"')),
    "a name of 5,000 bytes": form(file_part(b'filename="' + b"a" * 5000 + b'"')),
    "two names": form(file_part(b'filename="one.txt"; filename="two.txt"')),
    "text behind the quotes": form(file_part(b'filename="payload.jpg".html')),
    "a type of 100,000 bytes": form(file_part(b'filename="a"', DIGITS, b"Content-Type: text/" + b"a" * 100_000)),
    "300 headers": form(file_part(b'filename="a"', DIGITS, *[b"X-%d: 1" % number for number in range(300)])),
    "headers without end": b"--X-boundary\r\nX-A: " + b"a" * 100_000,
    "1,500 parts": form(*[text_part("x", b"")] * 1500, PLAIN),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
def test_a_form_that_hides_something_is_refused_at_once(api: Api, sent: bytes) -> None:
    before = api.objects.keys()
    with linear():
        problem(api.post(sent), 400)
    assert api.objects.keys() == before


BOUNDARIES = {
    "quoted, with space and colon": ('; boundary="a b:c"', b"a b:c", 201),
    "of 70 bytes": ("; boundary=" + "b" * 70, b"b" * 70, 201),
    "of 71 bytes": ("; boundary=" + "b" * 71, b"b" * 71, 400),
    "empty": ("; boundary=", b"", 400),
    "a charset that is none": ("; charset=punycode; boundary=X", b"X", 201),
    "a charset with a space": ('; charset="a b"; boundary=X', b"X", 201),
    "backslashes": ('; boundary="' + "\\" * 60 + "a", b"X", 400),
    "capitals": ("; BOUNDARY=X", b"X", 201),
}


@pytest.mark.parametrize(("parameters", "boundary", "status"), BOUNDARIES.values(), ids=BOUNDARIES.keys())
def test_a_boundary_is_what_the_rfc_says(api: Api, parameters: str, boundary: bytes, status: int) -> None:
    sent = b"--" + boundary + b"\r\n" + PLAIN + b"\r\n--" + boundary + b"--\r\n"
    response = api.request("POST", "/file/upload/", {"Content-Type": f"Multipart/Form-Data{parameters}"}, sent)
    assert response.status_code == status, response.text
