"""What S3 answers to deletions of many keys, and what the parts of an upload say of whether it lives."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import StorageUnavailable
from shared.storage.s3.store import S3Store
from tests.storage.fake_s3 import Answer, FakeS3, Request, error

KEY = "files/ab/one.pickle"
BEFORE = datetime(2030, 5, 1, 12, tzinfo=UTC)
OLD, RECENT = BEFORE - timedelta(seconds=1), BEFORE
LONG_AGO = BEFORE - timedelta(days=2)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_is_down_is_not_asked_for_each_key(fake: FakeS3, bucket: S3Store, status: int) -> None:
    fake.script = lambda _: error(status, "InternalError")
    with pytest.raises(StorageUnavailable) as failure:
        bucket.delete("files/one", "files/two")
    assert not failure.value.lasting
    assert {(request.method, request.path) for request in fake.requests} == {("POST", "/bucket")}


def test_a_key_that_was_not_there_is_no_failure(fake: FakeS3, bucket: S3Store) -> None:
    one = "<Error><Key>some/prefix/files/one</Key><Code>NoSuchKey</Code></Error>"
    fake.script = lambda _: Answer(body=f"<DeleteResult>{one}</DeleteResult>".encode())
    bucket.delete("files/one", "files/two")
    assert len(fake.requests) == 1


def unfinished(began: datetime, *parts: datetime) -> Sequence[bytes]:
    """Listings of one multipart upload to `KEY`, and of its parts of these times."""
    uploads = (
        f"<Upload><Key>some/prefix/{KEY}</Key><UploadId>1</UploadId><Initiated>{began.isoformat()}</Initiated></Upload>"
    )
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><LastModified>{moment.isoformat()}</LastModified></Part>"
        for number, moment in enumerate(parts, 1)
    )
    return (
        f"<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>".encode(),
        f"<ListPartsResult>{listed}</ListPartsResult>".encode(),
    )


@pytest.mark.parametrize(
    ("began", "parts", "removed"),
    [
        (LONG_AGO, [OLD, OLD], True),
        (LONG_AGO, [], True),
        (LONG_AGO, [OLD, RECENT], False),
        # Parts are numbered as they began, and sent several at a time.
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
        return Answer(body=uploads if "uploads" in request.query else listed)

    fake.script = answer
    assert bucket.discard_unfinished(BEFORE) == removed
    assert [(it.path, it.query["uploadId"]) for it in aborted] == [(f"/bucket/some/prefix/{KEY}", ["1"])] * removed
