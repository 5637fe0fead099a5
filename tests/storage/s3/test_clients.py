"""Time limits of S3 requests in an invocation that must end with an answer, and how their bodies are sent."""

from __future__ import annotations

import pytest

from shared.errors import StorageUnavailable
from shared.storage.contract import ABSENT
from shared.storage.s3.clients import SENT_AT_ONCE
from shared.storage.s3.store import S3Store, open_s3
from shared.time_limit import TimeLimit
from tests.storage.fake_s3 import FakeS3

KEY = "metadata/x"


def test_no_request_begins_once_the_time_is_over(fake: FakeS3) -> None:
    now = 0.0
    limit = TimeLimit(last_try=19.0, monotonic=lambda: now)
    store = open_s3("bucket", "", limit)
    limit.begin()
    now = 19.0
    for call in (lambda: store.read(KEY), lambda: store.put(KEY, b"a", ABSENT), lambda: store.put(KEY, b"a")):
        with pytest.raises(StorageUnavailable, match="S3 did not answer within the time limit"):
            call()
    assert fake.requests == []


def test_each_invocation_has_its_own_time(fake: FakeS3) -> None:
    times = [0.0, 100.0, 200.0]
    limit = TimeLimit(last_try=19.0, monotonic=lambda: times[0])
    store = open_s3("bucket", "", limit)
    while times.pop(0) < 200.0:
        limit.begin()
        assert store.put(KEY, b"a", ABSENT) == '"e"'


def test_a_server_that_does_not_answer_is_given_up_in_time(fake: FakeS3) -> None:
    limit = TimeLimit(last_try=0.5, connect=0.1, read=0.2)
    store = open_s3("bucket", "", limit)
    fake.script = fake.never
    limit.begin()
    with pytest.raises(StorageUnavailable):
        store.read(KEY)
    # botocore makes four attempts if there is time, and three take longer than the limit.
    assert len(fake.requests) <= 3


@pytest.mark.parametrize(("size", "waits"), [(0, False), (SENT_AT_ONCE, False), (SENT_AT_ONCE + 1, True)])
def test_only_a_large_body_waits_until_the_server_agrees(bucket: S3Store, fake: FakeS3, size: int, waits: bool) -> None:
    bucket.put(KEY, bytes(size))
    bucket.put(KEY, bytes(size), ABSENT)
    assert [("Expect" in request.headers, len(request.body)) for request in fake.requests] == [(waits, size)] * 2
