"""P12: sealing a large file that was uploaded directly to S3. It becomes a pickle there, and its bytes do not pass
through us."""

from __future__ import annotations

import contextlib
import functools
import os
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING
from unittest import mock

import boto3.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.httpsession import URLLib3Session

from benchmarks.counting import BUCKET
from benchmarks.harness import Goal, Result, Setup, WrongAnswer, interleave
from shared.storage.blobs import HEAD_SIZE, head, make_blob, require_raw
from shared.storage.contract import ObjectStore
from shared.storage.keys import blob_key, raw_key
from shared.storage.s3 import compose
from shared.storage.s3.store import open_s3
from tests.servers import S3Server, moto_server, seaweedfs

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 1024 * 1024
SIZE = 1024 * MIB
PART = 64 * MIB
PARALLEL = (1, 4, 16)
# For SeaweedFS: room for all sealed blobs, including deleted ones.
VOLUMES = 400


class Traffic:
    """Counts the bytes of request and response bodies between us and S3."""

    def __init__(self) -> None:
        self.moved = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        send = URLLib3Session.send

        def counted(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
            answer = send(session, request)
            self.moved += int(request.headers.get("Content-Length", 0))
            if request.method != "HEAD":
                self.moved += int(answer.headers.get("Content-Length", 0))
            return answer

        with mock.patch.object(URLLib3Session, "send", counted):
            yield


def sealing(setup: Setup) -> Result:
    """P12 on both servers: bytes that pass through us, and duration with more parallel copies."""
    result = Result()
    for name, server in (("moto", moto_server()), ("SeaweedFS", seaweedfs(VOLUMES))):
        with server as running:
            result.add(on(name, running, setup))
    # moto runs in one Python process and copies one part after another.
    first, *_, last = (_case("SeaweedFS", parallel) for parallel in PARALLEL)
    result.goals.append(Goal("P12", "more copies at once", last, first, most=1))
    return result


def _case(name: str, parallel: int) -> str:
    return f"sealing on {name}, {parallel} at once"


def on(name: str, server: S3Server, setup: Setup) -> Result:
    """P12 on one server."""
    server.client().create_bucket(Bucket=BUCKET)
    with mock.patch.dict(os.environ, server.environment()):
        return _sealing_in(open_s3(BUCKET, ""), name, setup)


def _sealing_in(store: ObjectStore, name: str, setup: Setup) -> Result:
    size = setup.sized(SIZE, 12 * MIB)
    file_id = str(uuid.uuid4())
    _upload(store, file_id, size)
    moved: list[float] = []

    def seconds(parallel: int) -> float:
        traffic = Traffic()
        with traffic.watched(), mock.patch.object(compose, "PARALLEL_PARTS", parallel):
            began = time.perf_counter()
            make_blob(store, file_id, [require_raw(store, file_id, size)])
            took = time.perf_counter() - began
        moved.append(traffic.moved / MIB)
        with contextlib.closing(store.open(blob_key(file_id), 0, HEAD_SIZE)) as reader:
            if reader.object_size != size + HEAD_SIZE + 1 or reader.read(HEAD_SIZE) != head(size):
                raise WrongAnswer("the blob is another")
        store.delete(blob_key(file_id))
        return took

    cases = {_case(name, parallel): functools.partial(seconds, parallel) for parallel in PARALLEL}
    result = interleave(cases, setup.rounds, "s", warm_up=False)
    through = f"through us on {name}"
    result.figures[through] = moved
    result.units[through] = "MiB"
    result.goals = [Goal("P12", through, through, most=16, unit="MiB")]
    return result


def _upload(store: ObjectStore, file_id: str, size: int) -> None:
    """Store the raw object as a client's direct upload would."""
    client = boto3.session.Session().client("s3")
    key = raw_key(file_id)
    upload_id = store.multipart.start(key)
    parts: list[CompletedPartTypeDef] = []
    for number, start in enumerate(range(0, size, PART), start=1):
        body = bytes(min(PART, size - start))
        etag = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload_id, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    client.complete_multipart_upload(
        Bucket=BUCKET,
        Key=key,
        UploadId=upload_id,
        MultipartUpload={"Parts": parts},
    )
