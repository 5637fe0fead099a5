"""The requests of `local.smoke` to a deployment, the files that they stored, and unexpected answers."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import urlencode, urlsplit

LIFETIME = "3600"  # seconds, for all uploads
TIMEOUT = 60.0  # seconds


class Differs(Exception):
    """The deployment behaves differently from its documentation."""

    def __init__(self, what: str, meaning: str) -> None:
        super().__init__(what)
        self.meaning = meaning


class NotApplicable(Exception):
    """The check does not apply to this server; the message says why."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Differs(f"no JSON object: {self.body[:80]!r}", "Another server answers at this address.")
        return document


def send(method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Send one request to any server, without following redirects. Raises `OSError`, `http.client.HTTPException`."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=TIMEOUT)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target or "/", body or None, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@dataclass
class Session:
    """The deployment at `url`, and the files stored there: IDs with their delete tokens."""

    url: str
    token: str
    stored: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Answer:
        """Send a request with the token; `_` in a header name becomes `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token and "Authorization" not in fields:
            fields["Authorization"] = f"Bearer {self.token}"
        return send(method, self.url + path, body, fields)

    def put(self, name: str, data: bytes, content_type: str = "text/plain") -> dict[str, Any]:
        """Upload a file like our page and client, and return the answer."""
        query = urlencode({"filename": name, "content_type": content_type, "expires_in": LIFETIME})
        answer = self.ask("PUT", f"/file/upload?{query}", data, Content_Type="application/octet-stream")
        return self.keep(answer)

    def keep(self, answer: Answer) -> dict[str, Any]:
        """Remember an uploaded file, to delete it at the end."""
        if answer.status == 401:
            raise Differs("401 for an upload", "TOKEN is missing or wrong. On AWS, it is in the stack's secret.")
        expect(answer.status, 201, "status of an upload", "Uploads fail: see the log of the functions.")
        uploaded = answer.json()
        self.stored[uploaded["file_id"]] = uploaded.get("delete_token") or ""
        return uploaded

    def metadata(self, file_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/file/metadata/{file_id}").json()

    def delete_all(self) -> list[str]:
        """Delete all stored files, and return the IDs of those that could not be deleted."""
        left = []
        for file_id, token in self.stored.items():
            headers = {"X_Delete_Token": token} if token else {}
            try:
                answer = self.ask("DELETE", f"/file/{file_id}", **headers)
            except (OSError, http.client.HTTPException):
                left.append(file_id)
            else:
                left += [file_id] * (answer.status not in (204, 404))
        return left


def expect(actual: object, expected: object, what: str, meaning: str) -> None:
    if actual != expected:
        raise Differs(f"{what}: {shown(actual)} instead of {shown(expected)}", meaning)


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def form(fields: Mapping[str, str], name: str, data: bytes) -> tuple[bytes, str]:
    """A multipart form with one file, and its content type."""
    boundary = uuid.uuid4().hex
    parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
    parts.append(f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + data)
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
