"""Uploads small files in one request, and larger ones in parts if the server supports it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlencode

from share.answers import UploadedFile
from share.multipart import CHUNK, MultipartUpload
from share.progress import Meter
from share.server import Patience, Server
from share.source import Options, Source

SMALL = 4 * 1024 * 1024  # bytes that fit into one request everywhere, AWS Lambda included


class Upload:
    """One upload."""

    def __init__(self, server: Server, source: Source, options: Options, meter: Meter) -> None:
        self._server = server
        self._source = source
        self._options = options
        self._meter = meter

    def run(self) -> UploadedFile:
        """Upload, and return the server's answer. Raises `Fault`; sent parts stay, so that a later run can resume."""
        head = b"" if self._source.size is not None and self._source.size > SMALL else self._source.read(SMALL + 1)
        if (self._source.size is None or self._source.size <= SMALL) and len(head) <= SMALL:
            return self._put_small(head)
        file = MultipartUpload(self._server, self._source, self._options, self._meter).run(head)
        return self._put_stream(head) if file is None else file

    def _put_small(self, data: bytes) -> UploadedFile:
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        headers = {"Repr-Digest": f"sha-256=:{digest}:", "Content-Length": str(len(data))}
        file = self._put(data, headers, Patience(self._meter.reconnect))
        self._meter.advance(len(data))
        return file

    def _put_stream(self, head: bytes) -> UploadedFile:
        def body() -> Iterator[bytes]:
            for block in pieces(head, self._source.blocks(CHUNK)):
                yield block
                self._meter.advance(len(block))

        size = self._source.size
        # A stream cannot be sent again.
        return self._put(body(), {} if size is None else {"Content-Length": str(size)}, None)

    def _put(
        self, content: bytes | Iterable[bytes], headers: dict[str, str], patience: Patience | None
    ) -> UploadedFile:
        # Gateways may change paths and the type of a body, but not the query.
        query = {"filename": self._source.name, "content_type": self._source.content_type, **self._options.public()}
        reply = self._server.request(
            "PUT",
            f"/file/upload?{urlencode(query, quote_via=quote)}",
            content=content,
            headers={"Content-Type": "application/octet-stream", **headers},
            with_password=True,
            patience=patience,
        )
        return UploadedFile.read(reply.json())


def pieces(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    for start in range(0, len(head), CHUNK):
        yield head[start : start + CHUNK]
    yield from rest
