"""Uploads small files in one request, and larger ones in parts if the server supports it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from share.answers import UploadedFile
from share.multipart import CHUNK, MultipartUpload
from share.progress import Meter
from share.server import Patience, Server
from share.source import Blocks, Options, Source

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
        is_large = self._source.size is not None and self._source.size > SMALL
        head = b"" if is_large else self._source.read(SMALL + 1)
        if not is_large and len(head) <= SMALL:
            return self._put_small(head)
        file = MultipartUpload(self._server, self._source, self._options, self._meter).run(head)
        if file is None:
            return self._put_stream(head)
        # Servers have no SHA-256 of what was sent in parts, so none is made to compare it with.
        file.sha256 = None
        return file

    def _put_small(self, data: bytes) -> UploadedFile:
        digest = hashlib.sha256(data)
        self.sha256 = digest.hexdigest()
        file = self._put(data, len(data), digest)
        self._meter.advance(len(data))
        return file

    def _put_stream(self, head: bytes) -> UploadedFile:
        digest = hashlib.sha256()

        def body() -> Iterator[bytes]:
            for block in itertools.chain([head] if head else [], self._source.blocks(CHUNK)):
                digest.update(block)
                yield block
                self._meter.advance(len(block))

        file = self._put(body(), self._source.size, None)
        self.sha256 = digest.hexdigest()
        return file

    def _put(self, content: bytes | Iterator[bytes], size: int | None, digest: hashlib._Hash | None) -> UploadedFile:
        """Send bytes, or a stream, which cannot be sent again and has no `digest` yet."""
        query: dict[str, object] = {**self._options.public()}
        headers = self._options.credentials()
        body: dict[str, Any]
        if self._options.encryption is not None:
            # Only in a form can options be as long as metadata.
            method = "POST"
            fields = {"encryption": json.dumps(self._options.encryption)}
            if digest is not None:
                fields["sha256"] = digest.hexdigest()
            file = content if isinstance(content, bytes) else Blocks(content)
            body = {"data": fields, "files": {"file": (self._source.name, file)}}
        else:
            # Gateways may change paths and the type of a body, but not the query.
            method = "PUT"
            query = {"filename": self._source.name, "content_type": self._source.content_type, **query}
            headers["Content-Type"] = "application/octet-stream"
            if digest is not None:
                headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
            if size is not None:
                headers["Content-Length"] = str(size)
            body = {"content": content}
        reply = self._server.request(
            method,
            f"/file/upload?{urlencode(query, quote_via=quote)}",
            headers=headers,
            patience=None if digest is None else Patience(self._meter.reconnect),
            repeatable=digest is not None,
            **body,
        )
        return UploadedFile(reply.json())
