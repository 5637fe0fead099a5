"""Headers from proxies: the scheme and host of links, and headers that can be read in two ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.server import FORM_HEAD, FORM_TAIL, FORM_TYPE, Server, everything, request

HOST = "Host: share.test"


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("cases") / "data", "--http", request.param) as server:
        yield server


def answer_to(server: Server, data: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to these bytes. The connection then closes."""
    with server.connect() as connection:
        connection.sendall(data)
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def link_of_upload(server: Server, *headers: str) -> str:
    body = FORM_HEAD + b"hello" + FORM_TAIL
    length = f"Content-Length: {len(body)}"
    sent = request(
        "POST", "/file/upload/", HOST, f"Content-Type: {FORM_TYPE}", length, "Connection: close", *headers, body=body
    )
    status, answer = answer_to(server, sent)
    assert status == 201
    upload = json.loads(answer)
    # All five bytes are stored, whatever the other header says.
    assert upload["file_size"] == 5
    return str(upload["download_link"])


SCHEMES = [
    ("X-Forwarded-Proto: https", "https"),
    ("X-Forwarded-Proto: javascript", "http"),
    # Names with underscores are different headers (RFC 9110 §5.1), although CGI maps both to the same name.
    ("X_Forwarded_Proto: https", "http"),
    ("Content_Length: 3", "http"),
]


@pytest.mark.parametrize(("header", "scheme"), SCHEMES)
def test_a_proxy_on_this_machine_says_what_scheme_links_have(server: Server, header: str, scheme: str) -> None:
    assert link_of_upload(server, header).startswith(f"{scheme}://share.test/file/download/")


def test_a_proxy_that_is_not_trusted_says_nothing(tmp_path: Path) -> None:
    with Server(tmp_path / "data", FORWARDED_ALLOW_IPS="192.0.2.1") as server:
        assert link_of_upload(server, "X-Forwarded-Proto: https").startswith("http://share.test/")


TARGETS = {
    # Not a valid form (RFC 9112 §3.2).
    "@evil.example": {400, 404},
    # The absolute form, which servers must accept (RFC 9112 §3.2.2); one of our parsers takes its path.
    "http://evil.example/file/metadata/": {200, 404},
}


@pytest.mark.parametrize(("target", "statuses"), TARGETS.items())
def test_a_target_cannot_name_the_host_of_links(server: Server, target: str, statuses: set[int]) -> None:
    link_of_upload(server)
    status, body = answer_to(server, request("GET", target, HOST, "Connection: close"))
    assert status in statuses
    assert b"evil" not in body


MALFORMED_FIELDS = {
    # A proxy could have read it as another field, so it must be refused (RFC 9112 §5.1).
    "space before the colon": ("Authorization : Bearer x", {400}),
    "NUL in the value": ("X-Test: 1\x00", {400}),
    # Refused, or read as one line with a space (RFC 9112 §5.2), as by h11.
    "folded line": ("X-Folded: a\r\n b", {400, 200}),
}


@pytest.mark.parametrize(("field", "statuses"), MALFORMED_FIELDS.values(), ids=MALFORMED_FIELDS.keys())
def test_a_header_that_may_be_read_in_two_ways_is_no_second_header(
    server: Server, field: str, statuses: set[int]
) -> None:
    assert answer_to(server, request("GET", "/health", HOST, field, "Connection: close"))[0] in statuses
