"""The meaning of answers to conditional puts, including unclear and missing ones."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    ProxyConnectionError,
    SSLError,
)
from botocore.httpsession import URLLib3Session

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.contract import (
    ABSENT,
    AlreadyExists,
    Ambiguous,
    Changed,
    Condition,
    Matches,
    NotFound,
    NotSent,
    TooSoon,
)
from shared.storage.s3 import clients
from shared.storage.s3.store import S3Store, open_s3
from tests.storage.fake_s3 import Answer, FakeS3, error
from tests.wire.server import until

KEY = "metadata/ab/one.json"


MATCH = Matches('"0cc175b9c0f1b6a831c399e269772661"')


REFUSALS: dict[str, tuple[Condition, Answer, type[Exception]]] = {
    "exists": (ABSENT, error(412, "PreconditionFailed"), AlreadyExists),
    "other bytes": (MATCH, error(412, "PreconditionFailed"), Changed),
    "conflict, absent": (ABSENT, error(409, "ConditionalRequestConflict"), Changed),
    "conflict, match": (MATCH, error(409, "ConditionalRequestConflict"), Changed),
    "aborted": (MATCH, error(409, "OperationAborted"), Changed),
    "gone": (MATCH, error(404, "NoSuchKey"), NotFound),
    "no bucket": (MATCH, error(404, "NoSuchBucket"), StorageUnavailable),
    "clock": (MATCH, error(403, "RequestTimeTooSkewed"), StorageUnavailable),
    "permission": (ABSENT, error(403, "AccessDenied"), StorageUnavailable),
    "full": (MATCH, error(507, "XMinioStorageFull"), StorageFull),
    "quota": (ABSENT, error(403, "QuotaExceeded"), StorageFull),
    "internal error": (MATCH, error(500, "InternalError"), Ambiguous),
    "slow down": (MATCH, error(503, "SlowDown"), Ambiguous),
    "bad gateway": (ABSENT, Answer(502, b"<html>Bad Gateway</html>"), Ambiguous),
    # Answers of servers other than AWS.
    "condition failed without a code": (MATCH, Answer(412), Changed),
    "exists without a code": (ABSENT, Answer(412), AlreadyExists),
    "conflict of another code": (MATCH, error(409, "Conflict"), Changed),
    "too soon after another write": (MATCH, error(429, "TooManyRequests"), TooSoon),
    "too soon without a code": (ABSENT, Answer(429), TooSoon),
    "conditions are unknown": (ABSENT, error(501, "NotImplemented"), StorageUnavailable),
    "a match is unknown": (MATCH, Answer(501), StorageUnavailable),
    "the body came too slowly": (MATCH, error(400, "RequestTimeout"), Ambiguous),
    "the request came too slowly": (ABSENT, Answer(408), Ambiguous),
}


@pytest.mark.parametrize(("when", "answer", "raised"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_conditional_put_is_sent_once_and_its_answer_understood(
    fake: FakeS3, bucket: S3Store, when: Condition, answer: Answer, raised: type[Exception]
) -> None:
    fake.one_after_another(answer)
    with pytest.raises(raised) as refusal:
        bucket.put(KEY, b"a", when)
    assert len(fake.requests) == 1
    assert getattr(refusal.value, "key", KEY) == KEY


def test_a_fault_of_ours_names_its_code_for_the_log(fake: FakeS3, bucket: S3Store) -> None:
    for code in ("RequestTimeTooSkewed", "AccessDenied"):
        fake.one_after_another(error(403, code))
        with pytest.raises(StorageUnavailable, match=code):
            bucket.read(KEY)


@pytest.mark.parametrize("when", [ABSENT, MATCH], ids=["absent", "match"])
def test_a_connection_that_ends_without_an_answer_leaves_the_outcome_open(
    fake: FakeS3, bucket: S3Store, when: Condition
) -> None:
    fake.one_after_another(None)
    with pytest.raises(Ambiguous):
        bucket.put(KEY, b"a", when)
    assert len(fake.requests) == 1


def test_an_answer_that_does_not_come_in_time_leaves_the_outcome_open(
    fake: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "CONDITIONAL_TIMEOUT", 0.2)
    impatient = open_s3("bucket", "")
    fake.script = fake.never
    with pytest.raises(Ambiguous):
        impatient.put(KEY, b"a", MATCH)
    # The client can give up before the server has read the request.
    until(lambda: len(fake.requests) > 0)
    assert len(fake.requests) == 1


NOT_SENT: dict[str, tuple[Exception, type[Exception]]] = {
    "connect timeout": (ConnectTimeoutError(endpoint_url="http://x"), NotSent),
    "refused, or no such host": (EndpointConnectionError(endpoint_url="http://x"), NotSent),
    "proxy": (ProxyConnectionError(proxy_url="http://x"), NotSent),
    "credentials": (CredentialRetrievalError(provider="x", error_msg="expired"), StorageUnavailable),
}


@pytest.mark.parametrize(("fault", "raised"), NOT_SENT.values(), ids=NOT_SENT.keys())
@pytest.mark.parametrize("when", [ABSENT, MATCH], ids=["absent", "match"])
def test_a_put_that_was_never_sent_has_no_open_outcome(
    fake: FakeS3,
    bucket: S3Store,
    monkeypatch: pytest.MonkeyPatch,
    when: Condition,
    fault: Exception,
    raised: type[Exception],
) -> None:
    def refuse(*_: object) -> None:
        raise fault

    monkeypatch.setattr(URLLib3Session, "send", refuse)
    with pytest.raises(raised):
        bucket.put(KEY, b"a", when)


def test_a_refused_connection_sent_nothing(fake: FakeS3, bucket: S3Store) -> None:
    fake.close()
    with pytest.raises(NotSent) as refusal:
        bucket.put(KEY, b"a", MATCH)
    assert refusal.value.key == KEY
    assert "Could not connect" in refusal.value.reason


def test_an_ordinary_put_that_came_too_soon_after_another_is_repeated(
    fake: FakeS3, bucket: S3Store, pauses: list[float]
) -> None:
    fake.one_after_another(error(429, "TooManyRequests"), Answer(429), Answer())
    bucket.put(KEY, b"a")
    assert [request.body for request in fake.requests] == [b"a"] * 3
    assert len(pauses) == 2


def test_a_tls_connection_that_breaks_leaves_the_outcome_open(
    fake: FakeS3, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SSLError(endpoint_url="https://x", error=OSError("unexpected end"))

    monkeypatch.setattr(URLLib3Session, "send", refuse)
    with pytest.raises(Ambiguous):
        bucket.put(KEY, b"a", MATCH)


def test_a_put_names_its_condition_to_s3(fake: FakeS3, bucket: S3Store) -> None:
    bucket.put(KEY, b"a", MATCH)
    bucket.put(KEY, b"a", ABSENT)
    bucket.put(KEY, b"a")
    sent = [(request.headers.get("If-Match"), request.headers.get("If-None-Match")) for request in fake.requests]
    assert sent == [(MATCH.etag, None), (None, "*"), (None, None)]


@pytest.mark.parametrize("etag", ['"e-2"', "e", 'W/"e"'])
def test_an_etag_goes_back_as_it_came(fake: FakeS3, bucket: S3Store, etag: str) -> None:
    fake.script = lambda _: Answer(headers={"ETag": etag})
    read = bucket.read(KEY)[1]
    assert bucket.put(KEY, b"a", Matches(read)) == read
    assert fake.requests[-1].headers["If-Match"] == read
