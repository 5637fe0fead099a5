"""Objects in an S3 bucket, or on any S3 server, under an optional prefix.

There are two clients. The ordinary one retries failed requests, as botocore does; the conditional one never does,
because only the caller can tell whether an unanswered conditional write took effect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    SSLError,
)

from shared.errors import StorageUnavailable
from shared.storage.contract import (
    ANYTHING,
    Ambiguous,
    Condition,
    Matches,
    NotFound,
    NotSent,
    Piece,
)
from shared.storage.keys import FILES, METADATA, RAW_ENTRIES
from shared.storage.s3.bucket import Bucket
from shared.storage.s3.clients import open_clients
from shared.storage.s3.compose import compose
from shared.storage.s3.errors import MISSING, failure, refused_put, status, translated
from shared.storage.s3.links import S3Links
from shared.storage.s3.multipart import S3Multipart
from shared.storage.s3.writer import S3Reader, S3Writer
from shared.time_limit import TimeLimit

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

PARALLEL_READS = 16
# Amazon S3 API reference, DeleteObjects.
DELETED_AT_ONCE = 1000
NOT_IMPLEMENTED = 501


def open_s3(bucket: str, prefix: str, limit: TimeLimit | None = None) -> S3Store:
    """The store at `s3://bucket/prefix`. Raises `StorageUnavailable`."""
    return S3Store(*open_clients(limit), bucket, prefix)


class S3Store:
    """An `ObjectStore` in one bucket. `conditional` is a client that never retries a request."""

    ready = None
    can_be_ambiguous = True

    def __init__(self, client: S3Client, conditional: S3Client, bucket: str, prefix: str = "") -> None:
        self._bucket = Bucket(client, bucket, prefix.strip("/") + "/" if prefix.strip("/") else "")
        self._conditional = conditional
        self.multipart = S3Multipart(self._bucket)
        self.links = S3Links(self._bucket)
        self.stat = self._bucket.stat
        # For all calls of `read_many`. Threads start when needed.
        self._readers = ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="s3-read")

    def read(self, key: str) -> tuple[bytes, str]:
        with translated(key):
            answer = self._bucket.client.get_object(**self._bucket.at(key))
            with contextlib.closing(answer["Body"]) as body:
                return body.read(), answer["ETag"]

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        def read(key: str) -> tuple[str, bytes] | None:
            try:
                return key, self.read(key)[0]
            except NotFound:
                return None

        yield from (document for document in self._readers.map(read, keys) if document is not None)

    def put(self, key: str, data: bytes, when: Condition = ANYTHING) -> str:
        if when is ANYTHING:
            with translated(key):
                return self._bucket.client.put_object(**self._bucket.at(key), Body=data)["ETag"]
        put = self._conditional.put_object
        try:
            if isinstance(when, Matches):
                return put(**self._bucket.at(key), Body=data, IfMatch=when.etag)["ETag"]
            return put(**self._bucket.at(key), Body=data, IfNoneMatch="*")["ETag"]
        except (HTTPClientError, SSLError) as error:
            raise Ambiguous(key) from error
        except ConnectionError as error:
            # No connection was made: refused, host not found or too slow. (A connection that breaks raises the above.)
            raise NotSent(key, str(error)) from error
        except ClientError as error:
            refused_put(key, when, error)
        except BotoCoreError as error:
            # Missing credentials and the like, so retrying would not help.
            raise failure(error) from error

    def open(self, key: str, start: int = 0, stop: int | None = None) -> S3Reader:
        span = f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"
        with translated(key):
            answer = self._bucket.client.get_object(**self._bucket.at(key), Range=span)
        body = answer["Body"]
        try:
            size = int(answer["ContentRange"].rpartition("/")[2])
        except (KeyError, ValueError) as error:
            body.close()
            raise StorageUnavailable("the S3 server ignores ranges") from error
        return S3Reader(body, size)

    def writer(self, key: str, reserve: int = 0) -> S3Writer:
        return S3Writer(self._bucket, key, reserve)

    def delete(self, *keys: str) -> None:
        if len(keys) == 1:
            self._delete(keys[0])
            return
        batches = (keys[start : start + DELETED_AT_ONCE] for start in range(0, len(keys), DELETED_AT_ONCE))
        left = [key for batch in batches for key in self._delete_batch(batch)]
        # One by one, which also reports why.
        deletions = [self._readers.submit(self._delete, key) for key in left]
        wait(deletions)
        for deletion in deletions:
            deletion.result()

    def _delete(self, key: str) -> None:
        with contextlib.suppress(NotFound), translated(key):
            self._bucket.client.delete_object(**self._bucket.at(key))

    def _delete_batch(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove these in one request, and return those that failed. Raises `StorageUnavailable`."""
        objects: list[ObjectIdentifierTypeDef] = [{"Key": self._bucket.prefix + key} for key in keys]
        try:
            answer = self._bucket.client.delete_objects(
                Bucket=self._bucket.name, Delete={"Objects": objects, "Quiet": True}
            )
        except ClientError as error:
            if status(error) >= 500 and status(error) != NOT_IMPLEMENTED:
                raise failure(error) from error
            # Some servers do not support this, or require a checksum that botocore does not send.
            return keys
        except BotoCoreError as error:
            raise failure(error) from error
        errors = (error for error in answer.get("Errors", []) if error.get("Code") not in MISSING)
        return [self._bucket.key(error["Key"]) for error in errors]

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        pages = self._bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name,
            Prefix=self._bucket.prefix + prefix,
            StartAfter=self._bucket.prefix + after if after else "",
        )
        last = after
        with translated(prefix):
            for page in pages:
                # Sort each page here. Across pages, another order would make us skip keys, so refuse it.
                for key in sorted(self._bucket.key(entry["Key"]) for entry in page.get("Contents", [])):
                    if key <= last:
                        raise StorageUnavailable("the S3 server does not list keys in byte order")
                    last = key
                    yield key

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None = None) -> None:
        compose(self._bucket, key, pieces, within)

    def discard_unfinished(self, before: datetime) -> int:
        # Our writers create large objects only there. Other multipart uploads in the bucket are not ours.
        return sum(self.multipart.discard(prefix, before) for prefix in (FILES, RAW_ENTRIES))

    def check(self) -> None:
        with translated(""):
            self._bucket.client.list_objects_v2(
                Bucket=self._bucket.name, Prefix=self._bucket.prefix + METADATA, MaxKeys=1
            )
