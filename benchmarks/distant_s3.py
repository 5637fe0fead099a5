"""One bucket in memory behind botocore, whose network is replaced by a pause."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session

from benchmarks.harness import WrongAnswer
from benchmarks.stores import WRITE_SECONDS, MemoryStore
from shared.storage.contract import ABSENT, ANYTHING, AlreadyExists, Changed, Condition, Matches, NotFound

BUCKET = "benchmark"
PAGE = 1000
_ENVIRONMENT = {
    "AWS_ENDPOINT_URL_S3": "http://s3.test",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


class DistantS3:
    """The bucket. botocore works unchanged, except for its network."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.requests = 0
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        def send(_session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
            time.sleep(WRITE_SECONDS)
            with self._guard:
                self.requests += 1
                status, headers, body = self._answer(request)
            return AWSResponse(
                request.url, status, HTTPHeaders.from_dict({"Content-Length": str(len(body)), **headers}), _Body(body)
            )

        with mock.patch.dict(os.environ, _ENVIRONMENT), mock.patch.object(URLLib3Session, "send", send):
            yield

    def _answer(self, request: AWSPreparedRequest) -> tuple[int, Mapping[str, str], bytes]:
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        key = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        try:
            match request.method, key:
                case "GET", "" if "uploads" in query:
                    return 200, {}, b"<ListMultipartUploadsResult/>"
                case "GET", "":
                    return 200, {}, self._listing(query)
                case "GET", _:
                    data, etag = self.store.read(key)
                    return _part(data, headers.get("range", ""), {"ETag": f'"{etag}"'})
                case "PUT", _:
                    etag = self.store.put(key, _bytes(request.body), _condition(headers))
                    return 200, {"ETag": f'"{etag}"'}, b""
                case "POST", "" if "delete" in query:
                    deletion = ElementTree.fromstring(_bytes(request.body))  # noqa: S314 - it is our own
                    listed = deletion.iterfind("{*}Object/{*}Key")
                    self.store.delete(*(each.text or "" for each in listed))
                    return 200, {}, b"<DeleteResult/>"
                case "DELETE", _:
                    self.store.delete(key)
                    return 204, {}, b""
        except NotFound:
            return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        except (AlreadyExists, Changed):
            return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        raise WrongAnswer(f"nobody answers {request.method} {request.url}")

    def _listing(self, query: Mapping[str, str]) -> bytes:
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = list(self.store.list(query["prefix"], after))
        page = keys[: int(query.get("max-keys", PAGE))]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(keys) > len(page) else ""
        listed = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in page)
        truncated = str(bool(more)).lower()
        answer = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{listed}</ListBucketResult>"
        return answer.encode()


class _Body(io.BytesIO):
    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _bytes(body: Any) -> bytes:
    return body.read() if hasattr(body, "read") else bytes(body or b"")


def _condition(headers: Mapping[str, str]) -> Condition:
    if "if-match" in headers:
        return Matches(headers["if-match"].strip('"'))
    return ABSENT if "if-none-match" in headers else ANYTHING


def _part(data: bytes, wanted: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    """The answer to a GET, with or without a range of the form `bytes=FIRST-LAST`."""
    if not wanted:
        return 200, headers, data
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    part = data[int(first) : int(last) + 1 if last else None]
    return 206, {**headers, "Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}, part
