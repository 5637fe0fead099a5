"""Uploading: small files in one request, larger ones in parts if the server supports it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, urlencode

from share.answers import UploadedFile
from share.parts import CHUNK, DirectUpload
from share.server import Server
from share.source import Options, Source

SMALL = 4 * 1024 * 1024  # bytes that fit into one request everywhere, AWS Lambda included


class Upload:
    """One upload. After `run`, `sha256` and `sent` describe the bytes that were read."""

    def __init__(self, server: Server, source: Source, options: Options, advance: Callable[[int], None]) -> None:
        self._server = server
        self._source = source
        self._options = options
        self._advance = advance
        self._digest = hashlib.sha256()
        self.sent = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def run(self) -> UploadedFile:
        """The server's answer. Raises `Fault`; the parts sent so far stay, so that a later run can resume."""
        head = b"" if self._source.size is not None and self._source.size > SMALL else self._source.read(SMALL + 1)
        if (self._source.size is None or self._source.size <= SMALL) and len(head) <= SMALL:
            return self._put_small(head)
        answer = DirectUpload(self._server, self._source, self._options, self._advance).run(self._taken, head)
        return self._put_stream(head) if answer is None else answer

    def _taken(self, block: bytes) -> None:
        self._digest.update(block)
        self.sent += len(block)

    def _put_small(self, data: bytes) -> UploadedFile:
        self._taken(data)
        digest = base64.b64encode(self._digest.digest()).decode()
        answer = self._put(data, {"Repr-Digest": f"sha-256=:{digest}:", "Content-Length": str(len(data))})
        self._advance(len(data))
        return answer

    def _put_stream(self, head: bytes) -> UploadedFile:
        def body() -> Iterator[bytes]:
            for block in pieces(head, self._source.blocks(CHUNK)):
                self._taken(block)
                yield block
                self._advance(len(block))

        size = self._source.size
        return self._put(body(), {} if size is None else {"Content-Length": str(size)})

    def _put(self, content: bytes | Iterable[bytes], headers: dict[str, str]) -> UploadedFile:
        # Gateways may change paths and the type of a body, but not the query.
        query = {"filename": self._source.name, "content_type": self._source.content_type, **self._options.public()}
        reply = self._server.request(
            "PUT",
            f"/file/upload?{urlencode(query, quote_via=quote)}",
            content=content,
            headers={"Content-Type": "application/octet-stream", **headers},
            with_password=True,
        )
        return UploadedFile.read(reply.json())


def pieces(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    for start in range(0, len(head), CHUNK):
        yield head[start : start + CHUNK]
    yield from rest
