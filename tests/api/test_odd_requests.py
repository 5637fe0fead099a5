"""Forms and ranges at the edge of what is legal: on no way of running does anything change their meaning."""

from __future__ import annotations

import time

import pytest

from tests.api.client import DIGITS, Api, form, problem, saved_as, text_part

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
    began = time.monotonic()
    problem(api.post(sent), 400)
    assert time.monotonic() - began < 10
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


# Digits only, and ASCII ones (RFC 9110 §14.1.1): what is no range is as good as none.
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


@pytest.mark.parametrize("host", ["[.]", "[::::]", "[1.2.3.4]", "evil.example/x?", "a b", "a:99999", "a" * 300])
def test_a_host_that_no_link_can_be_made_of_is_refused_everywhere(api: Api, host: str) -> None:
    file_id = api.upload()["file_id"]
    before = api.objects.keys()
    headers = {"host": host}
    pages = ("/", f"/download/{file_id}", f"/download/{file_id}/qr.svg", "/static/icon.svg", "/health", "/no/such/page")
    for path in ("/file/metadata/", f"/file/metadata/{file_id}", f"/file/download/{file_id}", *pages):
        problem(api.request("GET", path, headers), 400)
    problem(api.request("PUT", "/file/upload/a.txt", headers, DIGITS), 400)
    problem(api.request("DELETE", f"/file/{file_id}", headers), 400)
    assert api.objects.keys() == before
