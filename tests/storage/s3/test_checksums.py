"""What an S3-compatible server needs not know: nothing of what is sent to it is newer than S3 itself."""

from __future__ import annotations

from shared.storage.contract import ABSENT
from shared.storage.s3.store import S3Store
from tests.storage.fake_s3 import FakeS3


def test_no_checksum_is_sent_that_a_server_may_not_know(fake: FakeS3, bucket: S3Store) -> None:
    bucket.put("metadata/ab/one.json", b"0123456789", ABSENT)
    writer = bucket.writer("files/ab/one.pickle", 3)
    writer.write(b"0123456789")
    writer.commit(b"abc")
    assert [request.body for request in fake.requests] == [b"0123456789", b"abc0123456789"]
    for request in fake.requests:
        names = {name.lower() for name in request.headers}
        assert not any(name.startswith(("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer")) for name in names)
        assert "transfer-encoding" not in names
