"""What senders can do with an inbox ID and a receipt, on every route and with every method, and nothing else."""

from __future__ import annotations

import pytest

from functions.app import ROUTERS
from tests.api.client import DIGITS, Api, file_part, form
from tests.api.test_access import TOKENS, bearer
from tests.api.test_direct_upload import JSON
from tests.api.test_inboxes import Box

# All that a sender can do. Everything else is refused, on every route and with every method.
ANYONE = {
    ("GET", "/"),
    ("GET", "/file"),
    ("GET", "/health"),
    ("GET", "/inbox"),
    ("GET", "/inbox/{inbox_id}"),
    ("GET", "/inbox/{inbox_id}/qr.svg"),
    ("GET", "/download/{file_id}"),
    ("GET", "/download/{file_id}/qr.svg"),
    ("GET", "/static/{version}/{name}"),
    ("PUT", "/inbox/{inbox_id}"),
    ("PUT", "/inbox/{inbox_id}/{filename}"),
}
UPLOADS = {
    ("POST", "/file/upload"),
    ("PUT", "/file/upload"),
    ("PUT", "/file/upload/{filename}"),
    ("PUT", "/{filename}"),
    ("POST", "/file/s3/multipart"),
}
SENDERS = {
    "nothing": ANYONE,
    # Sending the ID twice is refused.
    "inbox": (ANYONE | UPLOADS) - {("PUT", "/inbox/{inbox_id}"), ("PUT", "/inbox/{inbox_id}/{filename}")},
    "receipt": ANYONE | {("DELETE", "/file/{file_id}")},
    "receipt in the query": ANYONE | {("DELETE", "/file/{file_id}")},
    "receipt in a form": ANYONE | {("POST", "/file/{file_id}")},
    "receipt as owner token": ANYONE - {("GET", "/inbox/{inbox_id}")},
    "inbox as owner token": ANYONE - {("GET", "/inbox/{inbox_id}")},
    "receipt as access token": ANYONE,
    "inbox as access token": ANYONE,
    "another receipt": ANYONE,
    "owner token of another inbox": ANYONE - {("GET", "/inbox/{inbox_id}")},
}


@pytest.mark.parametrize("sender", SENDERS)
def test_a_sender_can_do_nothing_else(api: Api, sender: str) -> None:
    box = Box(api, title="Photos")
    receipt = box.receive("secret-plans.txt", b"secret bytes", "?sender=Lovelace")
    stranger = api.request("PUT", "/file/upload/public.txt", bearer(), DIGITS).json()["file_id"]
    token = receipt["delete_token"]
    headers, query = {
        "nothing": ({}, ""),
        "inbox": ({}, f"inbox={box.id}"),
        "receipt": ({"x-delete-token": token}, ""),
        "receipt in the query": ({}, f"token={token}"),
        "receipt in a form": ({}, ""),
        "receipt as owner token": ({"x-owner-token": token}, ""),
        "inbox as owner token": ({"x-owner-token": box.id}, ""),
        "receipt as access token": (bearer(token), ""),
        "inbox as access token": (bearer(box.id), ""),
        "another receipt": ({"x-delete-token": box.receive("b.txt")["delete_token"]}, ""),
        "owner token of another inbox": (Box(api).owner, ""),
    }[sender]
    can = set()
    for method, template, path in sorted(_routes(box.id, receipt["file_id"]), key=lambda it: "/file/{" in it[1]):
        body, kind = _body(method, template, token if sender == "receipt in a form" else "")
        separator = "&" if "?" in path else "?"
        target = f"{path}{separator}{query}" if query else path
        answer = api.request(method, target, {**kind, **headers}, body)
        if answer.status_code < 400:
            can.add((method, template))
        assert answer.status_code < 500
        if method == "GET":
            assert api.request("HEAD", target, headers).status_code == answer.status_code, path
        # Too long to be in a random token.
        for secret in ("secret-plans", "secret bytes", "Lovelace", box.made["owner_token"], TOKENS[0]):
            assert secret not in f"{answer.headers}{answer.text}", (method, path)
    assert can == SENDERS[sender]
    assert api.download(stranger).content == DIGITS


def _routes(inbox_id: str, file_id: str) -> list[tuple[str, str, str]]:
    """The method, the declared path without convertors, and a sample path of every endpoint."""
    values = {
        "inbox_id": inbox_id,
        "file_id": file_id,
        # Senders cannot guess an upload ID.
        "upload_id": "unknown",
        "part_number": "1",
        "filename": "new.txt",
        "version": "0",
        "name": "tokens.css",
    }
    found = []
    for router in ROUTERS:
        for endpoint in router.endpoints:
            if not endpoint.include_in_schema:
                continue
            path = endpoint.path_format.format(**values)
            if "{upload_id}" in endpoint.path_format:
                path += f"?key=raw/{file_id}"
            for method in endpoint.methods or ():
                unnamed = method == "PUT" and not {"filename", "upload_id"} & endpoint.param_convertors.keys()
                found.append((method, endpoint.path_format, path + ("?filename=new.txt" if unnamed else "")))
    return found


def _body(method: str, template: str, token: str) -> tuple[bytes, dict[str, str]]:
    """A body that the endpoint would accept."""
    if (method, template) == ("POST", "/file/upload"):
        return form(file_part(DIGITS)), {"content-type": "multipart/form-data; boundary=X-boundary"}
    if method == "POST" and template in ("/file/{file_id}", "/download/{file_id}"):
        return f"token={token}&password={token}".encode(), {"content-type": "application/x-www-form-urlencoded"}
    if method in ("POST", "PATCH"):
        texts = {"/file/s3/multipart": b'{"filename": "new.bin"}', "/file/{file_id}": b'{"shared": true}'}
        complete = b'{"parts": [{"PartNumber": 1, "ETag": "x"}]}'
        return texts.get(template, complete if "complete" in template else b"{}"), JSON
    return (DIGITS, {}) if method == "PUT" else (b"", {})
