"""What uvicorn's access log must not reveal."""

from __future__ import annotations

import logging

import pytest

from shared.http.access_log import masked

ID = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"


def new_record(client: str, target: str, status: int = 200) -> logging.LogRecord:
    # In the form in which both of uvicorn's HTTP/1.1 implementations call their logger.
    message, arguments = '%s - "%s %s HTTP/%s" %d', (client, "PUT", target, "1.1", status)
    return logging.LogRecord("uvicorn.access", logging.INFO, "", 0, message, arguments, None)


def logged(client: str, target: str) -> str:
    record = new_record(client, target)
    assert masked(record)
    return record.getMessage()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (f"/file/{ID}?token=secret", f"/file/{ID}"),
        (f"/file/s3/multipart/secret/1?key=raw/{ID}", "/file/s3/multipart/-/1"),
        (f"/file/s3/multipart/secret/complete?key=raw/{ID}", "/file/s3/multipart/-/complete"),
        ("/file/s3/multipart/secret/", "/file/s3/multipart/-/"),
        ("/file/s3/multipart", "/file/s3/multipart"),
        ("/file/upload/salary%20of%20Bob.txt", "/file/upload/-"),
        (f"/file/download/{ID}/salary/of/Bob.txt", f"/file/download/{ID}/-"),
        (f"/inbox/{ID}/salary.txt", f"/inbox/{ID}/-"),
        ("/salary.txt", "/-"),
        ("/salary.txt/", "/-"),
        (f"/file/download/{ID}", f"/file/download/{ID}"),
        ("/health", "/health"),
        ("/docs/", "/docs/"),
    ],
)
def test_no_capability_and_no_name_is_in_it(target: str, path: str) -> None:
    assert logged("127.0.0.1:5", target) == f'127.0.0.1:5 - "PUT {path} HTTP/1.1" 200'


def test_an_address_from_a_header_cannot_forge_a_line() -> None:
    assert "\n" not in logged('1.2.3.4"\nforged', "/")
