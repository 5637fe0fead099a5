"""A large file is uploaded in parts, sealed, and downloaded by redirect. Almost none of its bytes pass through us."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.httpsession import URLLib3Session

from functions import direct_upload, download
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.sealing import seal
from shared.settings import LAMBDA_INLINE_LIMIT, Settings
from shared.sharing import Shares
from shared.storage.keys import blob_key
from shared.tokens import Tokens
from tests.api.client import WholeApp
from tests.storage.backends import Backend

MIB = 1024 * 1024
# 1 GiB in CI.
SIZE = int(os.environ.get("LARGE_FILE_MIB", "128")) * MIB
PART_SIZE = 32 * MIB
PARALLEL = 4
MULTIPART = "/file/s3/multipart"


class Passed:
    """Counts the bytes of bodies between this process and storage, in both directions, in botocore."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = self.received = 0
        send = URLLib3Session.send

        def counted(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
            body = request.body
            self.sent += len(body) if isinstance(body, bytes | bytearray | str) else 0 if body is None else _size(body)
            response = send(session, request)
            if request.method != "HEAD":
                self.received += int(response.headers.get("content-length", 0))
            return response

        monkeypatch.setattr(URLLib3Session, "send", counted)


def _size(body: Any) -> int:
    at: int = body.tell()
    end: int = body.seek(0, io.SEEK_END)
    body.seek(at)
    return end - at


def part(number: int) -> Iterator[bytes]:
    """The bytes of a part, in which no two MiB are alike."""
    for block in range(PART_SIZE // MIB):
        yield (number << 32 | block).to_bytes(8, "big") * (MIB // 8)


@pytest.mark.only_s3
def test_a_large_file_never_passes_through_us(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(backend.store, max_file_size=SIZE)
    settings = Settings(storage="s3://a-bucket", inline_limit=LAMBDA_INLINE_LIMIT)
    app = build_app(direct_upload.router, download.router, service=Service(settings, Tokens(), shares))
    passed = Passed(monkeypatch)
    storage = httpx.Client(trust_env=False, timeout=120)
    with (
        asyncio.Runner() as runner,
        httpx.Client(transport=WholeApp(app, runner.get_loop()), base_url="http://share.test") as api,
        storage,
    ):
        started = api.post(MULTIPART, json={"filename": "large.bin", "size": SIZE}).json()
        address, key = f"{MULTIPART}/{started['uploadId']}", {"key": started["key"]}
        numbers = range(1, SIZE // PART_SIZE + 1)
        urls = [api.get(f"{address}/{number}", params=key).json()["url"] for number in numbers]

        def send(number: int) -> dict[str, Any]:
            headers = {"content-length": str(PART_SIZE)}
            response = storage.put(urls[number - 1], content=part(number), headers=headers).raise_for_status()
            return {"PartNumber": number, "ETag": response.headers["etag"]}

        with ThreadPoolExecutor(PARALLEL) as pool:
            parts = list(pool.map(send, numbers))
        completed = api.post(f"{address}/complete", params=key, json={"parts": parts})
        assert completed.status_code == 200, completed.text
        file_id = completed.json()["file_id"]
        expected = hashlib.sha256()
        for number in numbers:
            for block in part(number):
                expected.update(block)

        def fetched() -> str:
            answer = api.get(f"/file/download/{file_id}")
            assert answer.status_code == 307, answer.text
            digest = hashlib.sha256()
            with storage.stream("GET", answer.headers["location"]) as response:
                assert response.status_code == 200
                for chunk in response.iter_bytes(MIB):
                    digest.update(chunk)
            return digest.hexdigest()

        # Before sealing, and after.
        assert fetched() == expected.hexdigest()
        assert seal(shares, file_id) is True
        assert fetched() == expected.hexdigest()
    assert shares.find(file_id).record.download_count == 2
    assert passed.sent < 16 * MIB
    assert passed.received < 16 * MIB

    class Blob(io.RawIOBase):
        """A file object for `pickle.load`."""

        def __init__(self) -> None:
            self._reader = backend.store.open(blob_key(file_id))

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = self._reader.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)

    payload = pickle.load(io.BufferedReader(Blob(), MIB))
    assert hashlib.sha256(payload).hexdigest() == expected.hexdigest()
