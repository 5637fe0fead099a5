"""Writing an object in parts to S3, whose answers can be lost."""

from __future__ import annotations

import pytest

from shared.errors import FileTooLarge, StorageUnavailable
from shared.storage.contract import (
    Matches,
)
from shared.storage.s3 import writer as writing
from shared.storage.s3.store import S3Store
from shared.storage.s3.writer import S3Writer
from tests.storage.fake_s3 import Answer, FakeS3, Request, error

KEY = "metadata/ab/one.json"
MATCH = Matches('"0cc175b9c0f1b6a831c399e269772661"')


class Multipart:
    """A minimal multipart upload. `completion` has the answers to its completion, and `presence` the answer to HEAD."""

    def __init__(self, fake: FakeS3) -> None:
        self.completion: list[Answer | None] = [Answer(body=b"<CompleteMultipartUploadResult/>")]
        self.presence = Answer()
        self.aborted = False
        fake.script = self.answer

    def answer(self, request: Request) -> Answer | None:
        if request.method == "POST" and "uploads" in request.query:
            return Answer(body=b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        if request.method == "POST":
            return self.completion.pop(0)
        if request.method == "DELETE":
            self.aborted = True
        return self.presence if request.method == "HEAD" else Answer()


@pytest.fixture
def multipart(fake: FakeS3, monkeypatch: pytest.MonkeyPatch) -> Multipart:
    monkeypatch.setattr(writing, "PART_SIZE", 10)
    return Multipart(fake)


def test_a_completion_whose_answer_was_lost_has_succeeded(bucket: S3Store, multipart: Multipart) -> None:
    multipart.completion = [None, error(404, "NoSuchUpload")]
    writer = bucket.writer(KEY)
    writer.write(bytes(25))
    writer.commit()
    writer.abort()
    assert not multipart.aborted


def test_a_completion_that_left_no_object_has_failed(bucket: S3Store, multipart: Multipart) -> None:
    multipart.completion = [error(404, "NoSuchUpload")]
    multipart.presence = Answer(404)
    writer = bucket.writer(KEY)
    writer.write(bytes(25))
    with pytest.raises(StorageUnavailable):
        writer.commit()
    writer.abort()
    assert multipart.aborted


def test_parts_are_whole_but_for_the_last_and_the_first_is_sent_last(
    fake: FakeS3, bucket: S3Store, multipart: Multipart
) -> None:
    writer = bucket.writer(KEY, 2)
    for byte in b"34567890ABCDEFGHIJxyz":
        writer.write(bytes([byte]))
    writer.commit(b"12")
    parts = [(r.query["partNumber"][0], r.body) for r in fake.requests if r.method == "PUT"]
    assert parts == [("2", b"ABCDEFGHIJ"), ("3", b"xyz"), ("1", b"1234567890")]


def write_on(writer: S3Writer) -> None:
    """Write into the next part."""
    writer.write(b"x")
    writer.commit(b"12")


def test_more_parts_than_s3_has_is_a_file_too_large(
    bucket: S3Store, multipart: Multipart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_PARTS", 3)
    fits = bucket.writer(KEY, 2)
    fits.write(bytes(28))
    fits.commit(b"12")
    writer = bucket.writer(KEY, 2)
    writer.write(bytes(28))
    with pytest.raises(FileTooLarge) as refusal:
        write_on(writer)
    assert refusal.value.limit == 28
    writer.abort()
    assert multipart.aborted


def test_an_abort_that_fails_is_noted_and_hides_no_other_error(
    fake: FakeS3, bucket: S3Store, multipart: Multipart, caplog: pytest.LogCaptureFixture
) -> None:
    writer = bucket.writer(KEY)
    writer.write(bytes(25))
    fake.one_after_another(error(403, "AccessDenied"))
    writer.abort()
    assert ["AccessDenied" in line.getMessage() for line in caplog.records] == [True]
