"""An S3 proxy that imitates servers whose conditional writes differ from those of AWS.

Signatures do not match what it passes on, so the server behind it must not check them, like moto.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit
from xml.etree import ElementTree

from tests.servers import HOST, S3Server

LOCKED = "locked"
CONDITIONS = ("If-Match", "If-None-Match")
# These concern one connection only, and are set anew for the next.
HOP_BY_HOP = {"connection", "content-length", "expect", "host", "keep-alive", "transfer-encoding"}


class Quirk(Enum):
    """A difference between a server and AWS."""

    IGNORES_CONDITIONS = auto()  # All writes succeed, whatever their conditions (rclone serve, s3rver).
    RECREATES = auto()  # `If-Match` succeeds for a deleted key (MinIO before minio#21526, versitygw before #1721).
    REFUSES_CONDITIONS = auto()  # 501 for either header (Alibaba OSS).
    ONE_WRITE_AT_A_TIME = auto()  # 429 for a second write of a key before `rest` (Cloudflare R2: within 1 s).
    ONE_DELETE_AT_A_TIME = auto()  # 501 for DeleteObjects.
    WANTS_MD5 = auto()  # 400 for DeleteObjects without `Content-MD5`, which boto3 has not sent since 1.36.
    LOCKS = auto()  # Keys with "locked" in them cannot be deleted, even by DeleteObjects (S3 Object Lock).
    EQUAL_PARTS = auto()  # All parts of an object except the last must have the same size (Cloudflare R2).


class OddS3:
    """The proxy. `quirks` can be changed at any time."""

    def __init__(self, behind: S3Server, quirks: Collection[Quirk], port: int) -> None:
        self.quirks = set(quirks)
        self.requests: list[tuple[str, str]] = []
        """Method and target of each request, in order."""
        self.refused: list[int] = []
        """The status of each refusal by the proxy itself."""
        self._behind = urlsplit(behind.endpoint).netloc
        self._written: set[str] = set()
        self._guard = threading.Lock()
        odd = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, data = odd.answer(self.command, self.path, dict(self.headers.items()), body)
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()
        self.server = replace(behind, endpoint=f"http://{HOST}:{self._server.server_port}")

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        self.requests.append((method, target))
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        conditional = method == "PUT" and any(name in headers for name in CONDITIONS)
        if Quirk.REFUSES_CONDITIONS in self.quirks and conditional:
            return self._refusal(501, "NotImplemented")
        if Quirk.ONE_WRITE_AT_A_TIME in self.quirks and method == "PUT" and not query and self._too_soon(url.path):
            return self._refusal(429, "TooManyRequests")
        if Quirk.EQUAL_PARTS in self.quirks and method == "POST" and "uploadId" in query and self._uneven(target):
            return self._refusal(400, "InvalidPart")
        if Quirk.ONE_DELETE_AT_A_TIME in self.quirks and method == "POST" and "delete" in query:
            return self._refusal(501, "NotImplemented")
        if Quirk.WANTS_MD5 in self.quirks and "delete" in query and "Content-MD5" not in headers:
            return self._refusal(400, "MissingContentMD5")
        if Quirk.LOCKS in self.quirks and method == "DELETE" and LOCKED in url.path:
            return self._refusal(403, "AccessDenied")
        if Quirk.LOCKS in self.quirks and method == "POST" and "delete" in query:
            return self._delete_unlocked(url.path, {"Authorization": headers["Authorization"]}, body)
        if Quirk.IGNORES_CONDITIONS in self.quirks and conditional:
            headers = {name: value for name, value in headers.items() if name not in CONDITIONS}
        if Quirk.RECREATES in self.quirks and "If-Match" in headers and self._send("HEAD", url.path)[0] == 404:
            headers = {name: value for name, value in headers.items() if name != "If-Match"}
        return self._send(method, target, headers, body)

    def rest(self) -> None:
        """Let every key be written again, as after a pause."""
        with self._guard:
            self._written.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _refusal(self, status: int, code: str) -> tuple[int, list[tuple[str, str]], bytes]:
        self.refused.append(status)
        body = f"<Error><Code>{code}</Code><Message>said the proxy</Message></Error>"
        return status, [("Content-Type", "application/xml")], body.encode()

    def _too_soon(self, path: str) -> bool:
        with self._guard:
            too_soon = path in self._written
            self._written.add(path)
        return too_soon

    def _delete_unlocked(
        self, bucket: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        answer = ElementTree.Element("DeleteResult")
        for key in ElementTree.fromstring(body).iterfind("{*}Object/{*}Key"):
            if LOCKED in (key.text or ""):
                error = ElementTree.SubElement(answer, "Error")
                ElementTree.SubElement(error, "Key").text = key.text
                ElementTree.SubElement(error, "Code").text = "AccessDenied"
            else:
                self._send("DELETE", f"{bucket}/{quote(key.text or '')}", headers)
        return 200, [("Content-Type", "application/xml")], ElementTree.tostring(answer)

    def _uneven(self, target: str) -> bool:
        """Whether the stored parts of the upload to be completed have different sizes."""
        listing = ElementTree.fromstring(self._send("GET", target)[2])
        sizes = [int(size.text or 0) for size in listing.findall(".//{*}Part/{*}Size")]
        return len(set(sizes[:-1])) > 1 or any(size > sizes[0] for size in sizes[-1:])

    def _send(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        passed_on = {name: value for name, value in (headers or {}).items() if name.lower() not in HOP_BY_HOP}
        with contextlib.closing(http.client.HTTPConnection(self._behind, timeout=60)) as connection:
            connection.request(method, target, body or None, passed_on)
            response = connection.getresponse()
            kept = [
                (name, value)
                for name, value in response.getheaders()
                if name.lower() not in HOP_BY_HOP or (method == "HEAD" and name.lower() == "content-length")
            ]
            return response.status, kept, response.read()


@contextlib.contextmanager
def odd_s3(behind: S3Server, *quirks: Quirk, port: int = 0) -> Iterator[OddS3]:
    """A proxy with these quirks, until the block ends. `server` describes it as an S3 server."""
    odd = OddS3(behind, quirks, port)
    try:
        yield odd
    finally:
        odd.close()
