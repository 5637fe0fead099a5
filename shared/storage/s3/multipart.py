"""Objects of S3 that are made of parts: what clients upload, and what is copied together.

Keys are those of the contract; the prefix is put in front here. Everything is found again by key and upload ID, so it
may be called from anywhere, and repeated.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from shared.errors import StorageUnavailable
from shared.storage.contract import (
    Changed,
    Info,
    NotFound,
    Part,
    Piece,
    RangeNotSatisfiable,
    Slice,
    Unfinished,
    chosen_parts,
)
from shared.storage.s3.errors import NoSuchUpload, translated
from shared.storage.s3.plan import Copied, Sent, plan, total_size

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import (
        GetObjectRequestTypeDef,
        MultipartUploadTypeDef,
        PartTypeDef,
        UploadPartCopyRequestTypeDef,
    )

PARALLEL_PARTS = 16


class S3Parts:
    """Multipart uploads to one bucket, by a client that repeats what failed."""

    def __init__(self, client: S3Client, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def stat(self, key: str) -> Info:
        with translated(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        return Info(answer["ContentLength"], answer["ETag"])

    def start(self, key: str) -> str:
        with translated(key):
            return self._client.create_multipart_upload(Bucket=self._bucket, Key=self._prefix + key)["UploadId"]

    def list(self, key: str, upload_id: str) -> Sequence[Part]:
        stored = self._stored(key, upload_id)
        return [Part(part["PartNumber"], part["Size"], part["ETag"].strip('"')) for part in stored]

    def _stored(self, key: str, upload_id: str) -> Sequence[PartTypeDef]:
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id
        )
        with translated(key):
            return [part for page in pages for part in page.get("Parts", [])]

    def finish(self, key: str, upload_id: str, parts: Sequence[Part], allow: Callable[[int], None]) -> Slice:
        try:
            selected = chosen_parts(key, parts, self.list(key, upload_id))
            allow(sum(part.size for part in selected))
            self._complete(key, upload_id, selected)
        except (NoSuchUpload, StorageUnavailable) as error:
            # An earlier completion, or this one though its answer was lost, may have made the object.
            try:
                info = self.stat(key)
            except NotFound:
                raise error from None
        else:
            info = self.stat(key)
        return Slice(key, 0, info.size, info.etag)

    def abort(self, key: str, upload_id: str) -> None:
        with contextlib.suppress(NotFound), translated(key):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id)

    def discard(self, prefix: str, before: datetime) -> int:
        """Abort the uploads to keys under a prefix that got nothing since that time, and say how many there were."""
        removed = 0
        for upload in self._unfinished(prefix):
            key, upload_id = upload["Key"].removeprefix(self._prefix), upload["UploadId"]
            if upload["Initiated"] >= before:
                continue
            # An upload lasts as long as its sender likes, and lives as long as parts arrive.
            with contextlib.suppress(NoSuchUpload):
                if all(part["LastModified"] < before for part in self._stored(key, upload_id)):
                    self.abort(key, upload_id)
                    removed += 1
        return removed

    def compose(self, key: str, pieces: Sequence[Piece], within: float | None) -> None:
        deadline = None if within is None else time.monotonic() + within
        try:
            self._compose(key, self._pinned(pieces), deadline)
        except NoSuchUpload as error:
            # Who composed the same at the same time was faster. `NotFound` would tell of a source.
            if not self._has(key, total_size(pieces)):
                raise StorageUnavailable(f"the multipart upload to {key} was taken away") from error
        except (NotFound, Changed, RangeNotSatisfiable):
            # What was copied from another version must not be continued with this one.
            for upload_id in self.begun(key):
                self.abort(key, upload_id)
            raise

    def _compose(self, key: str, pieces: Sequence[Piece], deadline: float | None) -> None:
        parts = plan(pieces)
        if total_size(pieces) == 0 or (len(parts) == 1 and isinstance(parts[0], Sent)):
            data = self._bytes(pieces)
            with translated(key):
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)
            return
        upload_id = next(iter(self.begun(key)), None) or self.start(key)
        done = {part.number: part for part in self.list(key, upload_id)}
        failed = threading.Event()

        def make(number: int, part: Sent | Copied) -> Part | None:
            stored = done.get(number)
            if stored is not None and stored.size == part.size:
                return stored
            if failed.is_set() or (deadline is not None and time.monotonic() >= deadline):
                return None
            try:
                return self._make(key, upload_id, number, part)
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(min(PARALLEL_PARTS, len(parts)), thread_name_prefix="s3-part") as pool:
            made = list(pool.map(make, range(1, len(parts) + 1), parts))
        finished = [part for part in made if part is not None]
        if len(finished) < len(parts):
            raise Unfinished(key)
        self._complete(key, upload_id, finished)

    def _make(self, key: str, upload_id: str, number: int, part: Sent | Copied) -> Part:
        if isinstance(part, Sent):
            data = self._bytes(part.pieces)
            with translated(key):
                etag = self._client.upload_part(
                    Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id, PartNumber=number, Body=data
                )["ETag"]
        else:
            source = part.source
            request: UploadPartCopyRequestTypeDef = {
                "Bucket": self._bucket,
                "Key": self._prefix + key,
                "UploadId": upload_id,
                "PartNumber": number,
                "CopySource": {"Bucket": self._bucket, "Key": self._prefix + source.key},
                "CopySourceRange": f"bytes={source.start}-{source.stop - 1}",
            }
            if source.etag is not None:
                request["CopySourceIfMatch"] = source.etag
            with translated(source.key):
                etag = self._client.upload_part_copy(**request)["CopyPartResult"]["ETag"]
        return Part(number, part.size, etag.strip('"'))

    def _complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        with translated(key):
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._prefix + key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
            )

    def _pinned(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """The same pieces, each slice of the version that is there now; what is not there, or too short, is refused.

        Some servers copy what there is of a range that goes on behind the end.
        """
        keys = {piece.key for piece in pieces if isinstance(piece, Slice)}
        sources = {key: self.stat(key) for key in keys}
        pinned: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, Slice):
                info = sources[piece.key]
                if piece.etag not in (None, info.etag):
                    raise Changed(piece.key)
                if piece.stop > info.size:
                    raise RangeNotSatisfiable(piece.key)
                pinned.append(replace(piece, etag=info.etag))
            else:
                pinned.append(piece)
        return pinned

    def _bytes(self, pieces: Sequence[Piece]) -> bytes:
        return b"".join(self._read(piece) if isinstance(piece, Slice) else piece for piece in pieces)

    def _read(self, piece: Slice) -> bytes:
        if piece.start == piece.stop:
            return b""
        request: GetObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": self._prefix + piece.key,
            "Range": f"bytes={piece.start}-{piece.stop - 1}",
        }
        if piece.etag is not None:
            request["IfMatch"] = piece.etag
        with translated(piece.key), contextlib.closing(self._client.get_object(**request)["Body"]) as body:
            data = body.read()
        if len(data) != piece.stop - piece.start:
            raise StorageUnavailable("the S3 server ignores ranges")
        return data

    def begun(self, key: str) -> Sequence[str]:
        """IDs of the uploads to this very key, in an order that all who look agree on."""
        uploads = [upload for upload in self._unfinished(key) if upload["Key"] == self._prefix + key]
        return [upload["UploadId"] for upload in sorted(uploads, key=lambda it: (it["Initiated"], it["UploadId"]))]

    def _unfinished(self, prefix: str) -> Sequence[MultipartUploadTypeDef]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with translated(prefix):
            return [upload for page in pages for upload in page.get("Uploads", [])]

    def _has(self, key: str, size: int) -> bool:
        # By the list, since who seals may not read what is sealed.
        with translated(key):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + key, MaxKeys=1)
        return [(found["Key"], found["Size"]) for found in page.get("Contents", [])] == [(self._prefix + key, size)]
