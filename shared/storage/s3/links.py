"""Presigned URLs (Amazon S3 User Guide, "Working with presigned URLs")."""

from __future__ import annotations

from typing import Literal

from shared.storage.s3.bucket import Bucket
from shared.storage.s3.errors import translated


class S3Links:
    """`Links` to objects in one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def download(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        # Parameters that become request headers are signed.
        headers = {} if range is None else {"Range": range}
        return self._sign(
            "get_object",
            key,
            expires_in,
            ResponseContentDisposition=disposition,
            ResponseContentType=content_type,
            **headers,
        )

    def upload_part(self, key: str, expires_in: int, *, upload_id: str, number: int, size: int | None = None) -> str:
        headers = {} if size is None else {"ContentLength": size}
        return self._sign("upload_part", key, expires_in, UploadId=upload_id, PartNumber=number, **headers)

    def _sign(
        self, call: Literal["upload_part", "get_object"], key: str, expires_in: int, **arguments: str | int
    ) -> str:
        with translated(key):
            return self._bucket.client.generate_presigned_url(call, {**self._bucket.at(key), **arguments}, expires_in)
