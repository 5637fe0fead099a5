"""Uploads small files in one request, and larger ones in parts if the server supports it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import secrets
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlencode

from share.answers import UploadedFile
from share.multipart import CHUNK, MultipartUpload
from share.progress import Meter
from share.server import Patience, Server
from share.source import Options, Source

SMALL = 4 * 1024 * 1024  # bytes that fit into one request everywhere, AWS Lambda included


class Upload:
    """One upload. `sha256` (hex) is that of what was sent in one request; None if it was sent in parts."""

    def __init__(self, server: Server, source: Source, options: Options, meter: Meter) -> None:
        self._server = server
        self._source = source
        self._options = options
        self._meter = meter
        self.sha256: str | None = None

    def run(self) -> UploadedFile:
        """Upload, and return the server's answer. Raises `Fault`; sent parts stay, so that a later run can resume."""
        head = b"" if self._source.size is not None and self._source.size > SMALL else self._source.read(SMALL + 1)
        if (self._source.size is None or self._source.size <= SMALL) and len(head) <= SMALL:
            return self._put_small(head)
        file = MultipartUpload(self._server, self._source, self._options, self._meter).run(head)
        if file is None:
            return self._put_stream(head)
        # Servers have no SHA-256 of what was sent in parts, so none is made to compare it with.
        file.sha256 = None
        return file

    def _put_small(self, data: bytes) -> UploadedFile:
        digest = hashlib.sha256(data)
        file = self._put(data, len(data), Patience(self._meter.reconnect), digest.digest())
        self.sha256 = digest.hexdigest()
        self._meter.advance(len(data))
        return file

    def _put_stream(self, head: bytes) -> UploadedFile:
        digest = hashlib.sha256()

        def body() -> Iterator[bytes]:
            for block in pieces(head, self._source.blocks(CHUNK)):
                digest.update(block)
                yield block
                self._meter.advance(len(block))

        # A stream cannot be sent again.
        file = self._put(body(), self._source.size, None, None)
        self.sha256 = digest.hexdigest()
        return file

    def _put(
        self, content: bytes | Iterator[bytes], size: int | None, patience: Patience | None, sha256: bytes | None
    ) -> UploadedFile:
        query: dict[str, object] = {**self._options.public()}
        if self._options.encryption is not None:
            fields = {"encryption": json.dumps(self._options.encryption)}
            form = Form(fields if sha256 is None else {**fields, "sha256": sha256.hex()}, self._source.name)
            method, kind = "POST", form.content_type
            content, size = form.around(content), None if size is None else size + form.overhead
            headers = {}
        else:
            # Gateways may change paths and the type of a body, but not the query.
            method, kind = "PUT", "application/octet-stream"
            query = {"filename": self._source.name, "content_type": self._source.content_type, **query}
            headers = {} if sha256 is None else {"Repr-Digest": f"sha-256=:{base64.b64encode(sha256).decode()}:"}
        reply = self._server.request(
            method,
            f"/file/upload?{urlencode(query, quote_via=quote)}",
            content=content,
            headers={
                "Content-Type": kind,
                **headers,
                **self._options.credentials(),
                **({} if size is None else {"Content-Length": str(size)}),
            },
            patience=patience,
        )
        return UploadedFile(reply.json())


class Form:
    """A form (RFC 7578) with text fields and one file: the only upload whose options can be as long as metadata."""

    def __init__(self, fields: dict[str, str], file_name: str) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        texts = "".join(f'{part}{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
        self._start = f'{texts}{part}file"; filename="{file_name}"\r\n\r\n'.encode()
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self.overhead = len(self._start) + len(self._end)

    def around(self, content: bytes | Iterator[bytes]) -> bytes | Iterator[bytes]:
        if isinstance(content, bytes):
            return self._start + content + self._end
        return itertools.chain([self._start], content, [self._end])


def pieces(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    for start in range(0, len(head), CHUNK):
        yield head[start : start + CHUNK]
    yield from rest
