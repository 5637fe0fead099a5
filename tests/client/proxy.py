"""A proxy between the client and the real server, which counts bytes and can hold, break and falsify what passes."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

CHUNK = 64 * 1024

Answer = tuple[int, dict[str, str], bytes]


@dataclasses.dataclass(slots=True)
class Seen:
    """A request, the bytes of its body, and the bytes of the body it was answered with."""

    method: str
    target: str
    headers: dict[str, str]
    received: int = 0
    sent: int = 0

    @property
    def is_part(self) -> bool:
        return self.method == "PUT" and self.target.startswith("/file/s3/")

    @property
    def is_download(self) -> bool:
        return self.method == "GET" and self.target.startswith("/file/download/")


class Cut(Exception):
    """Raised by a hook: the connection breaks here."""


class Proxy:
    """In front of the server at `port`.

    `before` may answer itself, `alter` may change what goes up, `through` sees what comes down.
    """

    def __init__(self, port: int, *, direct: bool = True) -> None:
        self.seen: list[Seen] = []
        self.before: Callable[[Seen], Answer | None] = lambda _seen: None
        self.through: Callable[[Seen, Iterator[bytes]], Iterator[bytes]] = lambda _seen, chunks: chunks
        self.alter: Callable[[bytes], bytes] = lambda body: body
        self._port = port
        self._direct = DirectUploads(self) if direct else None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (Cut, ConnectionError):
                    self.close_connection = True

            def do_GET(self) -> None:
                proxy._handle(self)

            do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A connection that a test holds must not hold up its end.
        self._server.block_on_close = False
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def part_bytes(self) -> int:
        return sum(seen.received for seen in self.seen if seen.is_part)

    def downloaded_bytes(self) -> int:
        return sum(seen.sent for seen in self.seen if seen.is_download)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        seen = Seen(handler.command, handler.path, {name.lower(): value for name, value in handler.headers.items()})
        self.seen.append(seen)
        answer = self.before(seen)
        body = self.alter(self._body(handler, seen))
        if answer is None and self._direct is not None:
            answer = self._direct.answer(seen, body)
        if answer is None:
            self._forward(handler, seen, body)
            return
        status, headers, content = answer
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _body(self, handler: BaseHTTPRequestHandler, seen: Seen) -> bytes:
        body = bytearray()
        if seen.headers.get("transfer-encoding") == "chunked":
            while size := int(handler.rfile.readline(), 16):
                body += handler.rfile.read(size)
                handler.rfile.readline()
            handler.rfile.readline()
        else:
            left = int(seen.headers.get("content-length", 0))
            while left > 0 and (data := handler.rfile.read(min(left, CHUNK))):
                body += data
                left -= len(data)
            if left:
                raise Cut
        seen.received = len(body)
        return bytes(body)

    def request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
        upstream = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        upstream.request(method, target, body, {**headers, "connection": "close"})
        return upstream.getresponse()

    def _forward(self, handler: BaseHTTPRequestHandler, seen: Seen, body: bytes) -> None:
        hops = ("transfer-encoding", "content-length", "connection")
        headers = {name: value for name, value in seen.headers.items() if name not in hops}
        with self.request(seen.method, seen.target, headers, body) as response:
            handler.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("connection", "date", "server"):
                    handler.send_header(name, value)
            handler.end_headers()
            chunks = iter(lambda: response.read(CHUNK), b"")
            for chunk in self.through(seen, chunks):
                handler.wfile.write(chunk)
                seen.sent += len(chunk)


class DirectUploads:
    """Direct upload as the API describes it, in memory, in front of a server that takes the whole file at the end."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._uploads: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        self._uploads.clear()

    def answer(self, seen: Seen, body: bytes) -> Answer | None:
        target = urlsplit(seen.target)
        found = re.fullmatch(r"/file/s3/multipart(?:/([^/]+)(?:/([^/]+))?)?", target.path)
        if found is None:
            return None
        with self._lock:
            if found[1] is None:
                return self._begin(seen, json.loads(body))
            upload = self._uploads.get(found[1])
            if upload is None or parse_qs(target.query).get("key") != [upload["key"]]:
                detail = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "No such upload."}
                return _json(detail, 404)
            return self._go_on(seen, upload, found[2], body)

    def _begin(self, seen: Seen, announced: dict[str, Any]) -> Answer:
        upload_id, file_id = uuid.uuid4().hex, str(uuid.uuid4())
        password = {"x-password": seen.headers["x-password"]} if "x-password" in seen.headers else {}
        upload = {"key": f"raw/{file_id}", "uploadId": upload_id, "file_id": file_id}
        self._uploads[upload_id] = {**upload, "announced": announced, "headers": password, "parts": {}}
        return _json(upload)

    def _go_on(self, seen: Seen, upload: dict[str, Any], action: str | None, body: bytes) -> Answer:
        parts: dict[int, bytes] = upload["parts"]
        match seen.method, action:
            case "GET", None:
                return _json([{"PartNumber": n, "Size": len(parts[n]), "ETag": _tag(parts[n])} for n in sorted(parts)])
            case "DELETE", None:
                del self._uploads[upload["uploadId"]]
                return _json({})
            case "POST", "complete":
                if "answer" not in upload:
                    listed = [(part["PartNumber"], part["ETag"]) for part in json.loads(body)["parts"]]
                    assert listed == [(n, _tag(parts[n])) for n in sorted(parts)]
                    upload["answer"] = self._store(seen, upload)
                return _json(upload["answer"])
            case "GET", _:
                return _json({"url": f"{self._proxy.address}{seen.target}", "expires": 60})
            case "PUT", number:
                parts[int(str(number))] = body
                return 200, {"ETag": _tag(body)}, b""
            case _:
                raise AssertionError(seen)

    def _store(self, seen: Seen, upload: dict[str, Any]) -> dict[str, Any]:
        parts, announced = upload["parts"], upload["announced"]
        query = "&".join(f"{name}={value}" for name, value in announced["metadata"].items())
        headers = {"host": seen.headers["host"], "content-type": announced["type"], **upload["headers"]}
        if "authorization" in seen.headers:
            headers["authorization"] = seen.headers["authorization"]
        target = f"/file/upload/{quote(announced['filename'], safe='')}?{query}"
        with self._proxy.request("PUT", target, headers, b"".join(parts[n] for n in sorted(parts))) as response:
            assert response.status == 201
            answer: dict[str, Any] = json.loads(response.read())
        return {**answer, "location": answer["download_link"], "key": upload["key"], "sha256": None}


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _json(value: object, status: int = 200) -> Answer:
    kind = "application/json" if status == 200 else "application/problem+json"
    return status, {"Content-Type": kind}, json.dumps(value).encode()
