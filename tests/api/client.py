"""Requests and checks that all API tests share, for every way of running."""

from __future__ import annotations

import asyncio
import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import httpx
import pytest
from starlette.types import ASGIApp

from functions.app import ROUTERS
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import SECRET_KEY
from shared.tokens import Tokens
from tests.environment import service
from tests.gateway import Gateway
from tests.servers import ask

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BOUNDARY = "X-boundary"
DIGITS = b"0123456789"

# The slowest way to start, so one pytest process runs all of its tests.
EMULATED = pytest.param("emulated", marks=pytest.mark.xdist_group("emulated API"))
# The emulator with a gateway that renames WWW-Authenticate, as the real one might.
REMAPPED = pytest.param("remapped", marks=pytest.mark.xdist_group("emulated API"))
SERVER = "http://share.test:8080"
WAYS = ("directory", "s3", "functions", EMULATED)

# For tests that look at WWW-Authenticate, or depend on it otherwise.
CHALLENGES = pytest.mark.parametrize("api", [*WAYS, REMAPPED], indirect=True)
# For tests of what the gateway changes: it refuses some requests itself, and alters names in paths and some text.
SERVERS = pytest.mark.parametrize("api", ["directory", "s3"], indirect=True)
BEHIND_GATEWAY = pytest.mark.parametrize("api", ["functions", EMULATED], indirect=True)

# All members of a file's metadata.
METADATA = {
    "original_name",
    "content_type",
    "file_size",
    "download_count",
    "download_link",
    "download_page",
    "sha256",
    "encryption",
    "created_at",
    "expires_at",
    "max_downloads",
    "password_protected",
}


@functools.cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of the whole application, which does not depend on settings."""
    with tempfile.TemporaryDirectory() as root:
        shares = Shares(DirectoryStore(Path(root)), max_file_size=1)
        return build_app(*ROUTERS, service=Service(Settings(), Tokens(), shares)).openapi()


class Objects(Protocol):
    """Direct access to the stored objects, past the API."""

    def read(self, key: str) -> bytes: ...

    def write(self, key: str, data: bytes) -> None: ...

    def delete(self, key: str) -> None: ...

    def keys(self) -> list[str]:
        """All keys, including those of unfinished writes."""
        ...


class DirectoryObjects:
    """The files of a data directory, except locks and spare files, which hold no data."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def delete(self, key: str) -> None:
        (self._root / key).unlink()

    def keys(self) -> list[str]:
        stored_keys = [path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file()]
        return sorted(key for key in stored_keys if not key.startswith(".spares/"))


class BucketObjects:
    """The objects under one prefix of a bucket, or all of them if the prefix is empty."""

    def __init__(self, client: S3Client, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def keys(self) -> list[str]:
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix).get("Contents", [])
        begun = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix).get("Uploads", [])
        return sorted(entry["Key"].removeprefix(self._prefix) for entry in (*listed, *begun))

    def clear(self, keep: str) -> None:
        """Delete every object but one, and abort all unfinished multipart uploads."""
        begun = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix).get("Uploads", [])
        for upload in begun:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix).get("Contents", [])
        if keys := [entry["Key"] for entry in listed if entry["Key"] != self._prefix + keep]:
            self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in keys]})


class WholeApp(httpx.BaseTransport):
    """The application as a server would run it, answering one request after another on `loop`.

    Without an `app`, it is built from the environment, and rebuilt whenever that changes.
    """

    def __init__(self, app: ASGIApp | None, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._service: Service | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._service is not None or self._app is None:
            self.services()
        return self._loop.run_until_complete(self._answer(request))

    def services(self) -> list[Service]:
        """The service, as configured by the current environment."""
        settings = Settings.from_environment()
        if self._service is None or self._service.settings != settings:
            self._service = service()
            self._app = build_app(*ROUTERS, service=self._service)
        return [self._service]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        assert self._app is not None
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        response = await transport.handle_async_request(request)
        # A server sends no body in answer to HEAD, whatever the application returns.
        assert isinstance(response.stream, httpx.AsyncByteStream)
        content = b"" if request.method == "HEAD" else b"".join([chunk async for chunk in response.stream])
        return httpx.Response(response.status_code, headers=response.headers, content=content)


class Api:
    """The API in one way of running, with its own storage. Its links should start with `base`."""

    def __init__(
        self, transport: httpx.BaseTransport, base: str, objects: Objects, configure: Callable[[str, str], None]
    ) -> None:
        self._transport = transport
        self._client = httpx.Client(transport=transport, base_url=base)
        self._configure = configure
        self.base = base
        self.objects = objects

    def configure(self, variable: str, value: str | int) -> None:
        """Restart with this environment variable."""
        self._configure(variable, str(value))

    def services(self) -> list[Service]:
        """The services that answer requests in this process."""
        assert isinstance(self._transport, WholeApp | Gateway)
        return self._transport.services()

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request for a path, or for an absolute link that the API returned."""
        return self._client.request(method, path, headers=headers, content=content, params=params)

    def post(self, content: bytes, **headers: str) -> httpx.Response:
        """Send an upload form."""
        sent = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **_header_names(headers)}
        return self.request("POST", "/file/upload", sent, content)

    def upload(
        self, data: bytes = DIGITS, name: str | bytes = "digits.txt", content_type: str | None = "text/plain"
    ) -> dict[str, Any]:
        """Upload a file. Returns the JSON answer."""
        return _json(self.post(form(file_part(data, name, content_type))), 201)

    def download(self, file_id: str, method: str = "GET", **headers: str) -> httpx.Response:
        return self.request(method, f"/file/download/{file_id}", _header_names(headers))

    def metadata(self, file_id: str) -> dict[str, Any]:
        return _json(self.request("GET", f"/file/metadata/{file_id}"), 200)

    def listing(self) -> dict[str, Any]:
        return _json(self.request("GET", "/file/metadata"), 200)

    def count(self, file_id: str) -> int:
        """The download count in the metadata."""
        counted = self.metadata(file_id)["download_count"]
        assert type(counted) is int
        return counted


def file_part(data: bytes, name: str | bytes = "digits.txt", content_type: str | None = "text/plain") -> bytes:
    """The `file` part of a form; `name` goes between the quotes unchanged."""
    raw = name.encode() if isinstance(name, str) else name
    typed = b"" if content_type is None else f"Content-Type: {content_type}\r\n".encode()
    return b'Content-Disposition: form-data; name="file"; filename="' + raw + b'"\r\n' + typed + b"\r\n" + data


def text_part(name: str, value: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


def form(*parts: bytes) -> bytes:
    delimiter = f"--{BOUNDARY}".encode()
    return b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The members of a problem document, after checking it (RFC 9457)."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    members: dict[str, Any] = response.json()
    assert members["status"] == status
    assert all(isinstance(members[name], str) and members[name] for name in ("type", "title", "detail"))
    return members


def challenge(response: httpx.Response) -> str:
    """The authentication challenge (RFC 9110 §11.6.1), whichever name the gateway gives the header."""
    (name,) = {"www-authenticate", "x-amzn-remapped-www-authenticate"} & response.headers.keys()
    return response.headers[name]


def saved_as(response: httpx.Response) -> str:
    """The name under which a client saves a download (RFC 6266 §4.3)."""
    (disposition,) = response.headers.get_list("content-disposition")
    assert disposition.isascii()
    assert disposition.startswith("attachment; filename=")
    plain, separator, extended = disposition.partition("; filename*=UTF-8''")
    return unquote(extended, errors="strict") if separator else plain.removeprefix('attachment; filename="')[:-1]


def blob_key(file_id: str) -> str:
    return f"files/{file_id[:2]}/{file_id}.pickle"


def record_key(file_id: str) -> str:
    return f"metadata/{file_id[:2]}/{file_id}.json"


def stored(api: Api) -> list[str]:
    """All keys in storage, except the signing key and the entries of the expiry index."""
    return [key for key in api.objects.keys() if key != SECRET_KEY and not key.startswith("expiries/")]  # noqa: SIM118


def is_tombstone(api: Api, key: str) -> bool:
    """Whether this is the record of a deleted file, which stays for an hour."""
    return key.startswith("metadata/") and json.loads(api.objects.read(key))["state"] == "deleted"


def _header_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _json(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    members: dict[str, Any] = response.json()
    return members


def redirected(response: httpx.Response) -> str:
    """The target of a redirect, which must not leak to other sites."""
    assert response.status_code == 307, response.text
    assert response.content == b""
    assert response.headers["cache-control"] == "no-store"
    # Anyone with this address can download the file.
    assert response.headers["referrer-policy"] == "no-referrer"
    location: str = response.headers["location"]
    return location


def fetch(location: str, **headers: str) -> httpx.Response:
    return ask("GET", location, headers={name.replace("_", "-"): value for name, value in headers.items()})
