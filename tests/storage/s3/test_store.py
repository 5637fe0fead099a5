"""Faults in S3's answers, servers that only resemble S3, and the destinations of requests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import botocore
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session

from shared.errors import StorageUnavailable
from shared.storage.contract import ABSENT, NotFound, NotSent, RangeNotSatisfiable
from shared.storage.s3.store import S3Store, open_s3
from tests.storage.fake_s3 import Answer, FakeS3, error
from tests.storage.samples import drain

ROOT = Path(__file__).parents[3]
KEY = "metadata/ab/one.json"


# Which requests are retried


TROUBLE = {"slow down": error(503, "SlowDown"), "internal error": error(500, "InternalError"), "no answer": None}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())
def test_what_has_no_condition_is_repeated_with_its_whole_body(
    fake: FakeS3, bucket: S3Store, pauses: list[float], trouble: Answer | None
) -> None:
    fake.one_after_another(trouble, trouble, Answer())
    bucket.put(KEY, b"0123456789")
    assert [request.body for request in fake.requests] == [b"0123456789"] * 3
    assert len(pauses) == 2


def test_a_client_that_is_always_told_to_slow_down_gives_up(fake: FakeS3, bucket: S3Store) -> None:
    fake.one_after_another(error(503, "SlowDown"))
    for use in (lambda: bucket.read(KEY), lambda: bucket.put(KEY, b"a"), lambda: bucket.delete(KEY), bucket.check):
        fake.requests.clear()
        with pytest.raises(StorageUnavailable):
            use()
        assert len(fake.requests) == 4


def test_a_body_that_ends_early_is_a_fault_of_storage(fake: FakeS3, bucket: S3Store) -> None:
    headers = {"ETag": '"e"', "Content-Range": "bytes 0-9/10"}
    fake.script = lambda _: Answer(206, b"0123456789", headers, cut=4)
    reader = bucket.open(KEY)
    with pytest.raises(StorageUnavailable):
        drain(reader, size=4)
    reader.close()
    with pytest.raises(StorageUnavailable):
        bucket.read(KEY)


def test_a_listing_that_makes_no_sense_is_a_fault_of_storage(fake: FakeS3, bucket: S3Store) -> None:
    fake.script = lambda _: Answer(body=b"<ListBucketResult><Contents>")
    with pytest.raises(StorageUnavailable):
        list(bucket.list("metadata/"))


# Servers that resemble S3


def test_deleting_what_a_server_does_not_find_is_success(fake: FakeS3, bucket: S3Store) -> None:
    fake.one_after_another(error(404, "NoSuchKey"))
    bucket.delete(KEY)
    assert [request.method for request in fake.requests] == ["DELETE"]


def test_a_server_that_ignores_ranges_is_refused(fake: FakeS3, bucket: S3Store) -> None:
    fake.script = lambda _: Answer(200, b"0123456789")
    with pytest.raises(StorageUnavailable, match="ranges"):
        bucket.open(KEY, 3, 5)


def test_a_range_past_the_end_is_distinguished_from_a_missing_object(fake: FakeS3, bucket: S3Store) -> None:
    for answer, raised in [(error(416, "InvalidRange"), RangeNotSatisfiable), (error(404, "NoSuchKey"), NotFound)]:
        fake.one_after_another(answer)
        with pytest.raises(raised):
            bucket.open(KEY, 3)


def page(*names: str, more: str = "") -> Answer:
    """One page of a listing, with the token of the next page."""
    keys = "".join(f"<Contents><Key>some/prefix/m/{name}</Key></Contents>" for name in names)
    token = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    return Answer(body=f"<ListBucketResult>{keys}{token}</ListBucketResult>".encode())


def test_pages_are_followed_to_the_last_and_may_be_empty(fake: FakeS3, bucket: S3Store) -> None:
    fake.one_after_another(page("a", "b", more="1"), page(more="2"), page("c"))
    assert list(bucket.list("m/", "m/0")) == ["m/a", "m/b", "m/c"]
    assert [request.query.get("continuation-token") for request in fake.requests] == [None, ["1"], ["2"]]
    assert fake.requests[0].query["prefix"] == ["some/prefix/m/"]
    assert fake.requests[0].query["start-after"] == ["some/prefix/m/0"]


def test_order_is_mended_within_a_page(fake: FakeS3, bucket: S3Store) -> None:
    fake.one_after_another(page("b", "a", more="1"), page("d", "c"))
    assert list(bucket.list("m/")) == ["m/a", "m/b", "m/c", "m/d"]


@pytest.mark.parametrize("second", [["b"], ["c"], ["a", "d"]], ids=["before", "again", "one of them"])
def test_pages_that_are_not_in_byte_order_are_refused(fake: FakeS3, bucket: S3Store, second: list[str]) -> None:
    fake.one_after_another(page("a", "c", more="1"), page(*second))
    with pytest.raises(StorageUnavailable, match="order"):
        list(bucket.list("m/"))


def test_a_server_that_does_not_know_where_to_go_on_is_refused(fake: FakeS3, bucket: S3Store) -> None:
    fake.one_after_another(page("a", "b", "c"))
    with pytest.raises(StorageUnavailable, match="order"):
        list(bucket.list("m/", "m/b"))


# Destinations of requests


@pytest.mark.parametrize(
    ("prefix", "path"), [("", "/bucket/"), ("one", "/bucket/one/"), ("/one/two/", "/bucket/one/two/")], ids=repr
)
def test_every_request_stays_below_the_prefix(fake: FakeS3, prefix: str, path: str) -> None:
    store = open_s3("bucket", prefix)
    fake.script = lambda request: page() if request.path == "/bucket" else Answer()
    store.put(KEY, b"a")
    store.put(KEY, b"a", ABSENT)
    store.read(KEY)
    store.delete(KEY)
    store.writer(KEY).commit()
    assert {request.path for request in fake.requests} == {path + KEY}
    list(store.list("metadata/"))
    store.check()
    listed = {request.query["prefix"][0] for request in fake.requests[-2:]}
    assert listed == {path.removeprefix("/bucket/") + "metadata/"}


HOSTS = {
    "Frankfurt": ({"AWS_DEFAULT_REGION": "eu-central-1"}, "https://bucket.s3.eu-central-1.amazonaws.com/"),
    "Virginia": ({"AWS_DEFAULT_REGION": "us-east-1"}, "https://bucket.s3.amazonaws.com/"),
    "Beijing": ({"AWS_DEFAULT_REGION": "cn-north-1"}, "https://bucket.s3.cn-north-1.amazonaws.com.cn/"),
    "elsewhere": ({"AWS_ENDPOINT_URL": "https://s3.example.com"}, "https://s3.example.com/bucket/"),
    "here": ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000/bucket/"),
}


@pytest.mark.parametrize(("variables", "host"), HOSTS.values(), ids=HOSTS.keys())
def test_aws_is_asked_by_the_buckets_host_and_others_by_path(
    configure_aws: Callable[[Mapping[str, str]], None],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    host: str,
) -> None:
    asked: list[str] = []

    def send(_: URLLib3Session, request: AWSPreparedRequest) -> None:
        asked.append(str(request.url))
        assert "AWS4-HMAC-SHA256" in str(request.headers["Authorization"])
        raise EndpointConnectionError(endpoint_url=str(request.url))

    monkeypatch.setattr(URLLib3Session, "send", send)
    account = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    configure_aws(account | variables)
    with pytest.raises(NotSent):
        open_s3("bucket", "").put(KEY, b"a", ABSENT)
    assert asked == [host + KEY]


def test_a_profile_that_does_not_exist_is_refused_at_the_start(
    configure_aws: Callable[[Mapping[str, str]], None],
) -> None:
    configure_aws({"AWS_PROFILE": "nobody", "AWS_DEFAULT_REGION": "us-east-1"})
    with pytest.raises(StorageUnavailable, match="nobody") as refusal:
        open_s3("bucket", "")
    assert refusal.value.lasting


def test_a_botocore_without_conditional_writes_is_refused_in_words(
    configure_aws: Callable[[Mapping[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda's runtimes include their own botocore. An old one lacks an argument, so each count would fail."""
    configure_aws({"AWS_DEFAULT_REGION": "us-east-1"})
    monkeypatch.setattr(botocore, "__version__", "1.35.99")
    with pytest.raises(StorageUnavailable, match=r"botocore 1\.35\.99 is too old") as refusal:
        open_s3("bucket", "")
    assert refusal.value.lasting
    monkeypatch.setattr(botocore, "__version__", "1.36.0")
    open_s3("bucket", "")


LASTING = {
    "no such bucket": (error(404, "NoSuchBucket"), True),
    "no permission": (error(403, "AccessDenied"), True),
    "wrong key": (error(403, "InvalidAccessKeyId"), True),
    "no such call": (error(501, "NotImplemented"), True),
    "slow down": (error(503, "SlowDown"), False),
    "internal error": (error(500, "InternalError"), False),
    "too many": (error(429, "TooManyRequests"), False),
    "no answer": (None, False),
}


@pytest.mark.parametrize(("answer", "lasting"), LASTING.values(), ids=LASTING.keys())
def test_temporary_faults_are_worth_waiting_for(
    fake: FakeS3, bucket: S3Store, answer: Answer | None, lasting: bool
) -> None:
    fake.one_after_another(answer)
    with pytest.raises(StorageUnavailable) as refusal:
        bucket.check()
    assert refusal.value.lasting is lasting


def test_credentials_that_are_missing_do_not_come_by_waiting(
    fake: FakeS3, configure_aws: Callable[[Mapping[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageUnavailable, match="no AWS credentials: set AWS_ACCESS_KEY_ID") as refusal:
        open_s3("bucket", "").put(KEY, b"a", ABSENT)
    assert refusal.value.lasting


def test_an_endpoint_that_is_none_is_refused_at_the_start(configure_aws: Callable[[Mapping[str, str]], None]) -> None:
    configure_aws({"AWS_ENDPOINT_URL": "not a url", "AWS_DEFAULT_REGION": "us-east-1"})
    with pytest.raises(StorageUnavailable):
        open_s3("bucket", "")


def test_a_directory_needs_no_botocore(tmp_path: Path) -> None:
    program = (
        "import sys; from shared import bootstrap; from shared.settings import Settings;"
        "bootstrap.build_shares(Settings(storage=sys.argv[1])).check();"
        "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore')))"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path / "data")], cwd=ROOT, check=False, timeout=60)
    assert run.returncode == 0


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
