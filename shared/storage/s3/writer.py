"""Readers and writers of objects in a bucket."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from shared.errors import FileTooLarge, StorageFull, StorageUnavailable
from shared.storage.contract import NotFound, ObjectError
from shared.storage.multipart import MAX_PARTS, Part
from shared.storage.s3.bucket import Bucket
from shared.storage.s3.errors import NoSuchUpload, translated
from shared.storage.s3.multipart import S3Multipart

if TYPE_CHECKING:
    from botocore.response import StreamingBody

log = logging.getLogger(__name__)

PART_SIZE = 16 * 1024 * 1024


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
    """A `Writer`: one plain PUT for objects that fit into a part, a multipart upload for larger ones.

    The first part waits until `commit` passes its head. Memory is limited to two parts: that one, and one buffer to
    send all others from. With new buffers of this size, the allocator would keep several.
    """

    def __init__(self, bucket: Bucket, key: str, reserve: int) -> None:
        self._bucket = bucket
        self._multipart = S3Multipart(bucket)
        self._key = key
        self._reserve = reserve
        self._first: bytearray | None = None
        self._buffer = bytearray(reserve)
        self._filled = reserve
        self._upload_id: str | None = None
        self._parts: list[Part] = []

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # Send a full buffer only when more follows, so that the last part is never empty.
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
                self._bucket.client.put_object(**self._bucket.at(self._key), Body=_body(self._buffer))
            return
        del self._buffer[self._filled :]
        self._send(len(self._parts) + 2, self._buffer)
        self._first[: len(head)] = head
        self._send(1, self._first)
        assert self._upload_id is not None
        parts = sorted(self._parts, key=lambda part: part.number)
        try:
            self._multipart.complete(self._key, self._upload_id, parts)
        except ObjectError as error:
            # If the answer to a completion was lost, the retry finds no upload but the object. Nobody else uses this
            # key, so it is this one.
            if not isinstance(error, NoSuchUpload) or not self._exists():
                raise StorageUnavailable(str(error.__cause__)) from error
        self._upload_id = None

    def abort(self) -> None:
        self._buffer = bytearray()
        self._first = None
        if self._upload_id is None:
            return
        upload_id, self._upload_id = self._upload_id, None
        try:
            self._multipart.abort(self._key, upload_id)
        except (StorageFull, StorageUnavailable) as error:
            # The sweep removes it later; the caller reports its own error.
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
        if self._upload_id is None:
            self._upload_id = self._multipart.start(self._key)
        self._parts.append(self._multipart.send(self._key, self._upload_id, number, _body(data)))

    def _exists(self) -> bool:
        try:
            self._bucket.stat(self._key)
        except NotFound:
            return False
        return True


def _body(data: bytearray) -> bytes:
    # botocore accepts any buffer, although its types deny it; `bytes` would copy the part once more.
    return cast("bytes", data)
