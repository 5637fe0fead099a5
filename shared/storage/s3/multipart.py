"""Multipart uploads to a bucket. S3 keeps them by key and upload ID, so any process can continue them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from shared.errors import StorageUnavailable
from shared.storage.contract import NotFound, Slice
from shared.storage.multipart import Part, PartWriter, stored_parts
from shared.storage.s3.bucket import Bucket
from shared.storage.s3.errors import NoSuchUpload, translated

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import MultipartUploadTypeDef, PartTypeDef


class S3Multipart:
    """A `Multipart` of one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def start(self, key: str) -> str:
        with translated(key):
            return self._bucket.client.create_multipart_upload(**self._bucket.at(key))["UploadId"]

    def list(self, key: str, upload_id: str) -> Sequence[Part]:
        stored = self._stored(key, upload_id)
        return [Part(part["PartNumber"], part["Size"], part["ETag"].strip('"')) for part in stored]

    def writer(self, key: str, upload_id: str, number: int, limit: int) -> PartWriter:
        raise NotFound(key)

    def finish(
        self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None] = lambda _size: None
    ) -> Sequence[Slice]:
        try:
            selection = stored_parts(key, parts, self.list(key, upload_id))
            allow(sum(part.size for part in selection))
            self.complete(key, upload_id, selection)
        except (NoSuchUpload, StorageUnavailable) as error:
            # An earlier call may have made the object, or this one, if its answer was lost.
            try:
                info = self._bucket.stat(key)
            except NotFound:
                raise error from None
        else:
            info = self._bucket.stat(key)
        return [Slice(key, 0, info.size, info.etag)]

    def send(self, key: str, upload_id: str, number: int, data: bytes) -> Part:
        with translated(key):
            answer = self._bucket.client.upload_part(
                **self._bucket.at(key), UploadId=upload_id, PartNumber=number, Body=data
            )
        return Part(number, len(data), answer["ETag"].strip('"'))

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Join exactly these parts to the object."""
        with translated(key):
            self._bucket.client.complete_multipart_upload(
                **self._bucket.at(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
            )

    def abort(self, key: str, upload_id: str | None = None) -> None:
        for each in self.unfinished(key) if upload_id is None else (upload_id,):
            with contextlib.suppress(NotFound), translated(key):
                self._bucket.client.abort_multipart_upload(**self._bucket.at(key), UploadId=each)

    def unfinished(self, key: str) -> Sequence[str]:
        """IDs of the uploads to exactly this key, in the same order for every caller."""
        uploads = [upload for upload in self._uploads(key) if self._bucket.key(upload["Key"]) == key]
        return [upload["UploadId"] for upload in sorted(uploads, key=lambda it: (it["Initiated"], it["UploadId"]))]

    def discard(self, prefix: str, before: datetime) -> int:
        """Abort uploads under a prefix that have received nothing since that time, and return how many there were."""
        count = 0
        for upload in self._uploads(prefix):
            key, upload_id = self._bucket.key(upload["Key"]), upload["UploadId"]
            if upload["Initiated"] >= before:
                continue
            # An old upload may still be in progress, as recent parts show.
            with contextlib.suppress(NoSuchUpload):
                if all(part["LastModified"] < before for part in self._stored(key, upload_id)):
                    self.abort(key, upload_id)
                    count += 1
        return count

    def _stored(self, key: str, upload_id: str) -> Sequence[PartTypeDef]:
        paginator = self._bucket.client.get_paginator("list_parts")
        pages = paginator.paginate(**self._bucket.at(key), UploadId=upload_id)
        with translated(key):
            return [part for page in pages for part in page.get("Parts", [])]

    def _uploads(self, prefix: str) -> Sequence[MultipartUploadTypeDef]:
        paginator = self._bucket.client.get_paginator("list_multipart_uploads")
        pages = paginator.paginate(Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix)
        with translated(prefix):
            return [upload for page in pages for upload in page.get("Uploads", [])]
