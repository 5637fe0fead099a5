"""Multipart uploads on an S3 server that answers late, twice or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import StorageUnavailable
from shared.storage.contract import NotFound, Slice
from shared.storage.multipart import InvalidParts, Part
from shared.storage.s3.store import S3Store
from tests.storage.fake_s3 import Answer, FakeS3, Request, error

KEY = "raw/one"
PARTS = [Part(1, 10, "e")]
LISTING = Answer(
    body=b"<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>&quot;e&quot;</ETag><Size>10</Size></Part></ListPartsResult>"
)
COMPLETED = Answer(body=b"<CompleteMultipartUploadResult/>")
PRESENT = Answer(body=bytes(10), headers={"ETag": '"e-1"'}, cut=0)
ABSENT = Answer(404)


def answering(fake: FakeS3, listing: Answer, completion: list[Answer | None], presence: Answer) -> None:
    """Script the answers to the requests of `finish`; the last completion repeats."""

    def script(request: Request) -> Answer | None:
        if request.method == "HEAD":
            return presence
        if request.method == "GET":
            return listing
        return completion.pop(0) if len(completion) > 1 else completion[0]

    fake.script = script


LOST = error(404, "NoSuchUpload")

FINISHED: dict[str, tuple[Answer, list[Answer | None]]] = {
    "at once": (LISTING, [COMPLETED]),
    "the first answer lost": (LISTING, [None, LOST]),
    "every answer lost": (LISTING, [None]),
    "an error in a 200": (LISTING, [Answer(body=error(200, "InternalError").body), LOST]),
    "before": (LOST, [LOST]),
}


@pytest.mark.parametrize(("listing", "completion"), FINISHED.values(), ids=FINISHED.keys())
def test_an_object_that_is_there_in_the_end_was_finished(
    fake: FakeS3, bucket: S3Store, listing: Answer, completion: list[Answer | None]
) -> None:
    answering(fake, listing, list(completion), PRESENT)
    assert bucket.multipart.finish(KEY, "1", PARTS) == [Slice(KEY, 0, 10, '"e-1"')]


UNFINISHED: dict[str, tuple[Answer, Answer | None, type[Exception]]] = {
    "aborted before": (LOST, LOST, NotFound),
    "aborted meanwhile": (LISTING, LOST, NotFound),
    "no answer": (LISTING, None, StorageUnavailable),
    "permission": (LISTING, error(403, "AccessDenied"), StorageUnavailable),
    "a part replaced meanwhile": (LISTING, error(400, "InvalidPart"), InvalidParts),
    "too small after all": (LISTING, error(400, "EntityTooSmall"), InvalidParts),
}


@pytest.mark.parametrize(("listing", "completion", "raised"), UNFINISHED.values(), ids=UNFINISHED.keys())
def test_an_object_that_is_not_there_was_not_finished(
    fake: FakeS3, bucket: S3Store, listing: Answer, completion: Answer | None, raised: type[Exception]
) -> None:
    answering(fake, listing, [completion], ABSENT)
    with pytest.raises(raised):
        bucket.multipart.finish(KEY, "1", PARTS)


def test_a_url_names_bucket_key_and_what_is_signed(bucket: S3Store) -> None:
    url = bucket.links.download(KEY, 60, disposition="inline", content_type="text/plain", range="bytes=0-1")
    assert "/bucket/some/prefix/raw/one?" in url
    assert "X-Amz-SignedHeaders=host%3Brange" in url
    assert "X-Amz-Expires=60" in url
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


OBJECT = "files/ab/one.pickle"
BEFORE = datetime(2030, 5, 1, 12, tzinfo=UTC)
OLD, RECENT = BEFORE - timedelta(seconds=1), BEFORE
LONG_AGO = BEFORE - timedelta(days=2)
NO_UPLOADS = b"<ListMultipartUploadsResult></ListMultipartUploadsResult>"


def unfinished(began: datetime, *parts: datetime) -> Sequence[bytes]:
    """Listings of one multipart upload to `OBJECT`, and of its parts with these times."""
    upload = f"<Key>some/prefix/{OBJECT}</Key><UploadId>1</UploadId><Initiated>{began.isoformat()}</Initiated>"
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><LastModified>{moment.isoformat()}</LastModified></Part>"
        for number, moment in enumerate(parts, 1)
    )
    return (
        f"<ListMultipartUploadsResult><Upload>{upload}</Upload></ListMultipartUploadsResult>".encode(),
        f"<ListPartsResult>{listed}</ListPartsResult>".encode(),
    )


@pytest.mark.parametrize(
    ("began", "parts", "removed"),
    [
        (LONG_AGO, [OLD, OLD], True),
        (LONG_AGO, [], True),
        (LONG_AGO, [OLD, RECENT], False),
        # Parts are numbered in the order of their start, and several are sent at a time.
        (LONG_AGO, [RECENT, OLD], False),
        (OLD, [OLD], True),
        (RECENT, [], False),
    ],
)
def test_an_upload_lives_as_long_as_parts_arrive(
    fake: FakeS3, bucket: S3Store, began: datetime, parts: Sequence[datetime], removed: bool
) -> None:
    uploads, listed = unfinished(began, *parts)
    aborted: list[Request] = []

    def answer(request: Request) -> Answer:
        if request.method == "DELETE":
            aborted.append(request)
            return Answer(204)
        if "uploads" not in request.query:
            return Answer(body=listed)
        return Answer(body=uploads if request.query["prefix"] == ["some/prefix/files/"] else NO_UPLOADS)

    fake.script = answer
    assert bucket.discard_unfinished(BEFORE) == removed
    assert [(it.path, it.query["uploadId"]) for it in aborted] == [(f"/bucket/some/prefix/{OBJECT}", ["1"])] * removed
