"""Makes an object from ranges of others, which S3 copies itself.

An attempt finds the upload of an earlier one by its key, and continues it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from shared.errors import StorageUnavailable
from shared.storage.contract import Changed, NotFound, Piece, RangeNotSatisfiable, Slice, Unfinished
from shared.storage.multipart import Part
from shared.storage.s3.bucket import Bucket
from shared.storage.s3.errors import NoSuchUpload, translated
from shared.storage.s3.multipart import S3Multipart
from shared.storage.s3.plan import Sent, plan, total_size

PARALLEL_PARTS = 16


def compose(bucket: Bucket, key: str, pieces: Sequence[Piece], within: float | None) -> None:
    """Like `ObjectStore.compose`."""
    deadline = None if within is None else time.monotonic() + within
    try:
        _compose(bucket, key, _pinned(bucket, pieces), deadline)
    except NoSuchUpload as error:
        # Another call with the same pieces was faster. (`NotFound` would mean that a source is missing.)
        if not _has(bucket, key, total_size(pieces)):
            raise StorageUnavailable(f"the multipart upload to {key} has disappeared") from error
    except (NotFound, Changed, RangeNotSatisfiable):
        # Parts from another version must not be combined with this one.
        S3Multipart(bucket).abort(key)
        raise


def _compose(bucket: Bucket, key: str, pieces: Sequence[Piece], deadline: float | None) -> None:
    parts = plan(pieces)
    if total_size(pieces) == 0 or (len(parts) == 1 and isinstance(parts[0], Sent)):
        data = _bytes(bucket, pieces)
        with translated(key):
            bucket.client.put_object(**bucket.at(key), Body=data)
        return
    multipart = S3Multipart(bucket)
    upload_id = next(iter(multipart.unfinished(key)), None) or multipart.start(key)
    stored = {part.number: part for part in multipart.list(key, upload_id)}
    failure = threading.Event()

    def make(number: int, part: Sent | Slice) -> Part | None:
        existing = stored.get(number)
        if existing is not None and existing.size == part.size:
            return existing
        if failure.is_set() or (deadline is not None and time.monotonic() >= deadline):
            return None
        try:
            return _make_part(bucket, key, upload_id, number, part)
        except BaseException:
            failure.set()
            raise

    with ThreadPoolExecutor(min(PARALLEL_PARTS, len(parts)), thread_name_prefix="s3-part") as pool:
        results = list(pool.map(make, range(1, len(parts) + 1), parts))
    complete = [part for part in results if part is not None]
    if len(complete) < len(parts):
        raise Unfinished(key)
    multipart.complete(key, upload_id, complete)


def _make_part(bucket: Bucket, key: str, upload_id: str, number: int, part: Sent | Slice) -> Part:
    if isinstance(part, Sent):
        return S3Multipart(bucket).send(key, upload_id, number, _bytes(bucket, part.pieces))
    assert part.etag is not None
    with translated(part.key):
        answer = bucket.client.upload_part_copy(
            **bucket.at(key),
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": bucket.name, "Key": bucket.prefix + part.key},
            CopySourceRange=f"bytes={part.start}-{part.stop - 1}",
            CopySourceIfMatch=part.etag,
        )
    return Part(number, part.size, answer["CopyPartResult"]["ETag"].strip('"'))


def _pinned(bucket: Bucket, pieces: Sequence[Piece]) -> Sequence[Piece]:
    """The same pieces, with each slice pinned to the current version. Refuses sources that are missing or too short.

    Some servers would copy a range that ends past the end of its object.
    """
    sources = {key: bucket.stat(key) for key in {piece.key for piece in pieces if isinstance(piece, Slice)}}
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


def _bytes(bucket: Bucket, pieces: Sequence[Piece]) -> bytes:
    return b"".join(_read(bucket, piece) if isinstance(piece, Slice) else piece for piece in pieces)


def _read(bucket: Bucket, piece: Slice) -> bytes:
    if piece.size == 0:
        return b""
    assert piece.etag is not None
    span = f"bytes={piece.start}-{piece.stop - 1}"
    with translated(piece.key):
        answer = bucket.client.get_object(**bucket.at(piece.key), Range=span, IfMatch=piece.etag)
        with contextlib.closing(answer["Body"]) as body:
            data = body.read()
    if len(data) != piece.size:
        raise StorageUnavailable("the S3 server ignores ranges")
    return data


def _has(bucket: Bucket, key: str, size: int) -> bool:
    # By listing, because the function that seals has no permission to read blobs.
    with translated(key):
        page = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix + key, MaxKeys=1)
    return [(entry["Key"], entry["Size"]) for entry in page.get("Contents", [])] == [(bucket.prefix + key, size)]
