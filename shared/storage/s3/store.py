"""Objects in an S3 bucket, or in any server that speaks S3, under an optional prefix.

Two clients: the ordinary one repeats what failed, as botocore knows how; the conditional one never does, for only the
caller can tell whether a conditional write that got no answer took effect.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from typing import TYPE_CHECKING, Literal, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    SSLError,
)

from shared.errors import FileTooLarge, StorageUnavailable
from shared.storage.contract import (
    ANYTHING,
    MAX_PARTS,
    Ambiguous,
    Condition,
    Info,
    Matches,
    NotFound,
    NotSent,
    Part,
    PartWriter,
    Piece,
    Slice,
)
from shared.storage.keys import FILES, METADATA
from shared.storage.s3.clients import open_clients
from shared.storage.s3.errors import MISSING, code, failure, refused_put, status, translated
from shared.storage.s3.multipart import S3Parts
from shared.time_limit import TimeLimit

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef, ObjectIdentifierTypeDef

log = logging.getLogger(__name__)

PART_SIZE = 16 * 1024 * 1024
PARALLEL_READS = 16
# Amazon S3 API reference, DeleteObjects.
DELETED_AT_ONCE = 1000
NOT_IMPLEMENTED = 501


def open_s3(bucket: str, prefix: str, limit: TimeLimit | None = None) -> S3Store:
    """The store behind `s3://bucket/prefix`. Raises `StorageUnavailable`."""
    return S3Store(*open_clients(limit), bucket, prefix)


class S3Store:
    """An `ObjectStore` in one bucket. `conditional` is a client that never repeats a request by itself."""

    signs = True

    def __init__(self, client: S3Client, conditional: S3Client, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._conditional = conditional
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._parts = S3Parts(client, bucket, self._prefix)
        # One for all who read many, whose threads start when needed.
        self._readers = ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="s3-read")

    def read(self, key: str) -> tuple[bytes, str]:
        with translated(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            with contextlib.closing(answer["Body"]) as body:
                return body.read(), answer["ETag"]

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        def read(key: str) -> tuple[str, bytes] | None:
            try:
                return key, self.read(key)[0]
            except NotFound:
                return None

        yield from (found for found in self._readers.map(read, keys) if found is not None)

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        name = self._prefix + key
        if when is ANYTHING:
            with translated(key):
                return self._client.put_object(Bucket=self._bucket, Key=name, Body=data)["ETag"]
        put = self._conditional.put_object
        try:
            if isinstance(when, Matches):
                return put(Bucket=self._bucket, Key=name, Body=data, IfMatch=when.etag)["ETag"]
            return put(Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*")["ETag"]
        except (HTTPClientError, SSLError) as error:
            raise Ambiguous(key) from error
        except ConnectionError as error:
            # Refused, not found or too slow to be made: a connection that was there before is closed, not missing.
            raise NotSent(key, str(error)) from error
        except ClientError as error:
            refused_put(key, when, error)
        except BotoCoreError as error:
            # No credentials and the like, which the next try would not have either.
            raise failure(error) from error

    def open(self, key: str, start: int = 0, stop: int | None = None) -> S3Reader:
        span = f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"
        with translated(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, Range=span)
        body = answer["Body"]
        try:
            size = int(answer["ContentRange"].rpartition("/")[2])
        except (KeyError, ValueError) as error:
            body.close()
            raise StorageUnavailable("the S3 server ignores ranges") from error
        return S3Reader(body, size)

    def writer(self, key: str, reserve: int = 0) -> S3Writer:
        return S3Writer(self._client, self._bucket, self._prefix + key, reserve)

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFound), translated(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def delete_many(self, keys: Sequence[str]) -> None:
        batches = (keys[start : start + DELETED_AT_ONCE] for start in range(0, len(keys), DELETED_AT_ONCE))
        left = [key for batch in batches for key in self._delete_batch(batch)]
        # One by one, which also tells why.
        deletions = [self._readers.submit(self.delete, key) for key in left]
        wait(deletions)
        for deletion in deletions:
            deletion.result()

    def _delete_batch(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove these in one request; those that could not be. Raises `StorageUnavailable` if S3 does not answer."""
        objects: list[ObjectIdentifierTypeDef] = [{"Key": self._prefix + key} for key in keys]
        try:
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        except ClientError as error:
            if status(error) >= 500 and status(error) != NOT_IMPLEMENTED:
                raise failure(error) from error
            # Some servers do not offer this, or require a checksum that boto3 does not send.
            return keys
        except BotoCoreError as error:
            raise failure(error) from error
        errors = (error for error in answer.get("Errors", []) if error.get("Code") not in MISSING)
        return [error["Key"].removeprefix(self._prefix) for error in errors]

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, StartAfter=self._prefix + after if after else ""
        )
        last = after
        with translated(prefix):
            for page in pages:
                # Inside a page the order is mended; across pages a server that sorts otherwise would make us skip keys.
                for key in sorted(entry["Key"][len(self._prefix) :] for entry in page.get("Contents", [])):
                    if key <= last:
                        raise StorageUnavailable("the S3 server does not list keys in byte order")
                    last = key
                    yield key

    def discard_unfinished(self, before: datetime) -> int:
        # Our own writers put large objects there. Other multipart uploads in the bucket are not ours.
        return self._parts.discard(FILES, before)

    def stat(self, key: str) -> Info:
        return self._parts.stat(key)

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        self._parts.compose(key, pieces, within)

    def start_parts(self, key: str) -> str:
        return self._parts.start(key)

    def list_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        return self._parts.list(key, upload_id)

    def finish_parts(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        return [self._parts.finish(key, upload_id, parts, allow)]

    def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        for each in self._parts.begun(key) if upload_id is None else (upload_id,):
            self._parts.abort(key, each)

    def part_writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        raise NotImplementedError("clients send parts to S3 themselves")

    def signed_part_url(self, key: str, upload_id: str, number: int, expires_in: int) -> str:
        return self._signed("upload_part", key, expires_in, UploadId=upload_id, PartNumber=number)

    def signed_url(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        # Whatever becomes a header of the request is signed with it.
        headers = {} if range is None else {"Range": range}
        return self._signed(
            "get_object",
            key,
            expires_in,
            ResponseContentDisposition=disposition,
            ResponseContentType=content_type,
            **headers,
        )

    def _signed(
        self, call: Literal["upload_part", "get_object"], key: str, expires_in: int, **arguments: str | int
    ) -> str:
        with translated(key):
            return self._client.generate_presigned_url(
                call, {"Bucket": self._bucket, "Key": self._prefix + key, **arguments}, expires_in
            )

    def check(self) -> None:
        with translated(""):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + METADATA, MaxKeys=1)


class S3Reader:
    """A `Reader` of one response body."""

    def __init__(self, body: StreamingBody, object_size: int) -> None:
        self._body = body
        self.object_size = object_size

    def read(self, size: int) -> bytes:
        with translated(""):
            return self._body.read(size)

    def read_ready(self, size: int) -> None:
        return None

    def close(self) -> None:
        self._body.close()


class S3Writer:
    """A `Writer`: one plain PUT for what fits into a part, a multipart upload for more.

    The first part waits until `commit` knows its head. Memory is bounded by two parts: that one, and a buffer which all
    others are sent from, since fresh buffers of this size would leave the allocator holding several.
    """

    def __init__(self, client: S3Client, bucket: str, key: str, reserve: int) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._reserve = reserve
        self._first: bytearray | None = None
        self._buffer = bytearray(reserve)
        self._filled = reserve
        self._upload_id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # A full buffer is sent only once more follows, so that the last part is never empty.
            if self._filled == PART_SIZE:
                self._flush()
            taken = view[: PART_SIZE - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            view = view[len(taken) :]

    def commit(self, head: bytes = b"") -> None:
        if len(head) != self._reserve:
            raise ValueError("the head does not fill the bytes reserved for it")
        if self._first is None:
            self._buffer[: len(head)] = head
            with translated(self._key):
                self._client.put_object(Bucket=self._bucket, Key=self._key, Body=_body(self._buffer))
            return
        del self._buffer[self._filled :]
        self._send(len(self._parts) + 2, self._buffer)
        self._first[: len(head)] = head
        self._send(1, self._first)
        self._complete()

    def abort(self) -> None:
        self._buffer = bytearray()
        self._first = None
        if self._upload_id is None:
            return
        upload_id, self._upload_id = self._upload_id, None
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=upload_id)
        except (ClientError, BotoCoreError) as error:
            # What cannot be removed now is left to the bucket's lifecycle rule; the caller is reporting its own fault.
            log.warning("a multipart upload could not be aborted: %s", error)

    def _flush(self) -> None:
        if self._first is None:
            self._first, self._buffer = self._buffer, bytearray(PART_SIZE)
        else:
            self._send(len(self._parts) + 2, self._buffer)
        self._filled = 0

    def _send(self, number: int, data: bytearray) -> None:
        if number > MAX_PARTS:
            raise FileTooLarge(PART_SIZE * MAX_PARTS - self._reserve)
        with translated(self._key):
            if self._upload_id is None:
                self._upload_id = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]
            etag = self._client.upload_part(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload_id, PartNumber=number, Body=_body(data)
            )["ETag"]
        self._parts.append({"PartNumber": number, "ETag": etag})

    def _complete(self) -> None:
        assert self._upload_id is not None
        parts = sorted(self._parts, key=lambda part: part["PartNumber"])
        try:
            self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
            )
        except ClientError as error:
            # A repeated completion whose first answer was lost finds the upload gone, and the object there: the key is
            # ours alone, so it can only be this one.
            if code(error) != "NoSuchUpload" or not self._exists():
                raise failure(error) from error
        except BotoCoreError as error:
            raise failure(error) from error
        self._upload_id = None

    def _exists(self) -> bool:
        try:
            self._client.head_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            if code(error) in MISSING:
                return False
            raise failure(error) from error
        return True


def _body(data: bytearray) -> bytes:
    # botocore takes any buffer, though its types say otherwise; a real `bytes` would be one more copy of a part.
    return cast("bytes", data)
