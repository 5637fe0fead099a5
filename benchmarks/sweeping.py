"""P16: sweeping many due files on S3."""

from __future__ import annotations

import contextlib
import io
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session

from benchmarks.counting import BUCKET, environment
from benchmarks.harness import Goal, Result, Setup, WrongAnswer
from benchmarks.stores import WRITE_SECONDS, MemoryStore
from shared.sharing import Shares
from shared.storage.contract import ABSENT, ANYTHING, AlreadyExists, Changed, Condition, Matches, NotFound, ObjectStore
from shared.storage.keys import blob_key
from shared.storage.records import READY, Record
from shared.storage.s3.store import open_s3
from shared.sweeping import Sweep

DUE = 20_000
PAGE = 1000
ENDPOINT = "http://s3.test"
CREDENTIALS = {
    "AWS_ENDPOINT_URL_S3": ENDPOINT,
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


class DistantS3:
    """One bucket in memory. botocore works unchanged; only the network is replaced, by a pause."""

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

        with environment(CREDENTIALS), mock.patch.object(URLLib3Session, "send", send):
            yield

    def _answer(self, request: AWSPreparedRequest) -> tuple[int, Mapping[str, str], bytes]:
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        key = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        try:
            match request.method, key:
                case "GET", "" if "uploads" in query:
                    return 200, {}, b"<ListMultipartUploadsResult/>"
                case "GET", "":
                    return 200, {}, self._listing(query)
                case "GET", _:
                    data, etag = self.store.read(key)
                    return 200, {"ETag": f'"{etag}"'}, data
                case "PUT", _:
                    etag = self.store.put(key, _bytes(request.body), _condition(request.headers))
                    return 200, {"ETag": f'"{etag}"'}, b""
                case "POST", "" if "delete" in query:
                    deletion = ElementTree.fromstring(_bytes(request.body))  # noqa: S314 - it is our own
                    listed = deletion.iterfind("{*}Object/{*}Key")
                    self.store.delete(*(each.text or "" for each in listed))
                    return 200, {}, b"<DeleteResult/>"
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


def _bytes(body: Any) -> bytes:
    return body.read() if hasattr(body, "read") else bytes(body or b"")


def _condition(headers: HTTPHeaders) -> Condition:
    sent = {name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
    if "if-match" in sent:
        return Matches(sent["if-match"].strip('"'))
    return ABSENT if "if-none-match" in sent else ANYTHING


def sweeping(setup: Setup) -> Result:
    """P16: one sweep per round: its duration, processor time and requests, each for 20,000 due files."""
    count = setup.sized(DUE, 100)
    names = {"20,000 due files": "s", "processor time of that": "s", "requests of that": ""}
    result = Result({name: [] for name in names}, names)
    for _ in range(setup.rounds):
        distant = DistantS3()
        now = datetime.now(UTC)
        fill(distant.store, count, now)
        with distant.connected():
            shares = Shares(open_s3(BUCKET, ""), max_file_size=1, clock=lambda now=now: now)  # type: ignore[misc]
            began, processor = time.perf_counter(), time.process_time()
            swept = Sweep(shares).run()
            figures = time.perf_counter() - began, time.process_time() - processor, distant.requests
        if (swept.removed, swept.failed) != (count, 0) or any(distant.store.list("files/")):
            raise WrongAnswer(f"{swept} of {count}")
        for name, figure in zip(names, figures, strict=True):
            result.figures[name].append(figure * DUE / count)
    result.goals = [Goal("P16", "sweep on S3", "20,000 due files", most=900, unit="s")]
    if count != DUE:
        result.notes.append(f"Measured with {count:,} files, and multiplied.")
    return result


def fill(store: MemoryStore, count: int, now: datetime) -> None:
    """Store this many files that expired a day ago."""
    shares = Shares(cast("ObjectStore", store), max_file_size=1, clock=lambda: now - timedelta(days=2))
    over = now - timedelta(days=1)
    for _ in range(count):
        file_id = str(uuid.uuid4())
        shares.expiries.add(file_id, over)
        store.put(blob_key(file_id), b"x")
        shares.records.create(
            Record(file_id, READY, "file.bin", "text/plain", 1, "0" * 64, shares.now(), expires_at=over)
        )
