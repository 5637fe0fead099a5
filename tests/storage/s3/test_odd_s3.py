"""The proxy that imitates other S3 servers: each quirk matches those servers, and nothing else changes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from shared.errors import StorageUnavailable, UnknownFile
from shared.listing import list_files
from shared.options import Options
from shared.sharing import Shares
from shared.storage.contract import ObjectStore
from shared.storage.records import Records
from shared.storage.s3 import store as s3
from shared.storage.s3.store import open_s3
from shared.uploads import Upload
from tests.odd_s3 import OddS3, Quirk, odd_s3
from tests.servers import S3Server
from tests.storage.backends import BUCKET
from tests.storage.samples import FILE_ID, NOW, downloaded, record

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MIB = 1024 * 1024

pytestmark = pytest.mark.xdist_group("moto")


@pytest.fixture
def odd(moto: S3Server) -> Iterator[OddS3]:
    with odd_s3(moto) as odd:
        yield odd


@pytest.fixture
def client(odd: OddS3) -> S3Client:
    return odd.server.client()


@pytest.fixture
def key() -> str:
    return f"odd/{uuid.uuid4()}"


@pytest.fixture
def store(odd: OddS3, configure_aws: Callable[[Mapping[str, str]], None]) -> ObjectStore:
    configure_aws(odd.server.environment())
    return open_s3(BUCKET, f"odd/{uuid.uuid4()}")


def write(store: ObjectStore, *names: str) -> list[str]:
    """Write objects with these names. Returns their keys in the order of a listing."""
    keys = sorted(f"files/{name}" for name in names)
    for key in keys:
        store.put(key, b"data")
    return keys


def status(refusal: pytest.ExceptionInfo[ClientError]) -> int:
    code: int = refusal.value.response["ResponseMetadata"]["HTTPStatusCode"]
    return code


def read(client: S3Client, key: str) -> bytes:
    return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def test_without_quirks_it_is_the_server_behind_it(client: S3Client, key: str) -> None:
    etag = client.put_object(Bucket=BUCKET, Key=key, Body=b"one", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as refusal:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"two", IfNoneMatch="*")
    assert status(refusal) == 412
    client.put_object(Bucket=BUCKET, Key=key, Body=b"two", IfMatch=etag)
    assert client.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == 3
    assert client.get_object(Bucket=BUCKET, Key=key, Range="bytes=1-")["Body"].read() == b"wo"
    client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(ClientError) as refusal:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"three", IfMatch=etag)
    assert status(refusal) == 404


def test_conditions_can_be_ignored(odd: OddS3, client: S3Client, key: str) -> None:
    odd.quirks = {Quirk.IGNORES_CONDITIONS}
    for body in (b"one", b"two"):
        client.put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*")
    assert read(client, key) == b"two"
    client.put_object(Bucket=BUCKET, Key=key, Body=b"three", IfMatch='"another"')
    assert read(client, key) == b"three"


def test_a_key_that_is_gone_can_be_written_on_a_match(odd: OddS3, client: S3Client, key: str) -> None:
    odd.quirks = {Quirk.RECREATES}
    etag = client.put_object(Bucket=BUCKET, Key=key, Body=b"one")["ETag"]
    with pytest.raises(ClientError) as refusal:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"two", IfMatch='"another"')
    assert status(refusal) == 412
    client.delete_object(Bucket=BUCKET, Key=key)
    client.put_object(Bucket=BUCKET, Key=key, Body=b"two", IfMatch=etag)
    assert read(client, key) == b"two"


def test_conditions_can_be_unknown(odd: OddS3, client: S3Client, key: str) -> None:
    odd.quirks = {Quirk.REFUSES_CONDITIONS}
    client.put_object(Bucket=BUCKET, Key=key, Body=b"one")
    with pytest.raises(ClientError) as refusal:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"two", IfMatch='"another"')
    assert status(refusal) == 501
    assert read(client, key) == b"one"


def test_a_key_can_take_one_write_at_a_time(odd: OddS3, client: S3Client, key: str) -> None:
    odd.quirks = {Quirk.ONE_WRITE_AT_A_TIME}

    def put(to: str) -> int:
        # botocore would retry it.
        return odd.answer("PUT", f"/{BUCKET}/{to}", {}, b"one")[0]

    assert put(key) == 200
    assert put(key) == 429
    assert put(f"{key}-other") == 200
    odd.rest()
    client.put_object(Bucket=BUCKET, Key=key, Body=b"two")
    assert odd.refused == [429]


@pytest.mark.parametrize(
    ("quirk", "status"), [(Quirk.ONE_DELETE_AT_A_TIME, 501), (Quirk.WANTS_MD5, 400)], ids=["unknown", "checksum"]
)
def test_where_many_cannot_be_deleted_at_once_each_is_by_itself(
    odd: OddS3, store: ObjectStore, quirk: Quirk, status: int
) -> None:
    keys = write(store, "one", "two", "three")
    odd.quirks = {quirk}
    store.delete(*keys[:2], "files/never-there")
    assert list(store.list("")) == keys[2:]
    assert odd.refused == [status]


def test_a_key_that_cannot_be_deleted_keeps_no_other(odd: OddS3, store: ObjectStore) -> None:
    keys = write(store, "one", "a-locked-one", "two", "three")
    odd.quirks = {Quirk.LOCKS}
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        store.delete(*keys)
    # The key is then requested separately, which also gives the reason.
    assert odd.refused == [403]
    assert list(store.list("")) == [key for key in keys if "locked" in key]


def test_a_key_that_cannot_be_deleted_delays_no_later_batch(
    odd: OddS3, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "DELETED_AT_ONCE", 2)
    keys = write(store, "a-locked-one", "one", "two", "three")
    odd.quirks = {Quirk.LOCKS}
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        store.delete(*keys)
    assert list(store.list("")) == [key for key in keys if "locked" in key]


@pytest.mark.parametrize(
    ("sizes", "taken"), [([6, 6, 1], True), ([6, 6], True), ([1], True), ([5, 6, 1], False), ([5, 6], False)]
)
def test_parts_can_have_to_be_equal(odd: OddS3, client: S3Client, key: str, sizes: list[int], taken: bool) -> None:
    odd.quirks = {Quirk.EQUAL_PARTS}
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    parts = [
        client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload_id, PartNumber=number, Body=bytes(size * MIB))[
            "ETag"
        ]
        for number, size in enumerate(sizes, 1)
    ]
    listing = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(parts, 1)]

    def complete() -> None:
        client.complete_multipart_upload(
            Bucket=BUCKET,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": listing},  # type: ignore[typeddict-item]
        )

    if taken:
        complete()
        assert client.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == sum(sizes) * MIB
    else:
        with pytest.raises(ClientError, match="InvalidPart"):
            complete()


def test_writing_a_record_too_soon_waits(odd: OddS3, configure_aws: Callable[[Mapping[str, str]], None]) -> None:
    configure_aws(odd.server.environment())
    records = Records(open_s3(BUCKET, f"odd/{uuid.uuid4()}"), lambda: NOW, sleep=lambda _seconds: odd.rest())
    records.create(record())
    odd.quirks = {Quirk.ONE_WRITE_AT_A_TIME}
    for _ in range(3):
        records.update(FILE_ID, downloaded)
    assert records.get(FILE_ID).record.download_count == 3
    assert odd.refused == [429, 429]


def test_a_server_without_conditions_is_reported_at_once(
    odd: OddS3, configure_aws: Callable[[Mapping[str, str]], None]
) -> None:
    configure_aws(odd.server.environment())
    odd.quirks = {Quirk.REFUSES_CONDITIONS}
    records = Records(open_s3(BUCKET, f"odd/{uuid.uuid4()}"), lambda: NOW)
    with pytest.raises(StorageUnavailable, match="does not implement If-Match"):
        records.create(record())
    assert odd.refused == [501]


def test_a_server_that_recreates_keys_brings_no_deleted_file_back(
    odd: OddS3, configure_aws: Callable[[Mapping[str, str]], None]
) -> None:
    configure_aws(odd.server.environment())
    odd.quirks = {Quirk.RECREATES}
    shares = Shares(open_s3(BUCKET, f"odd/{uuid.uuid4()}"), max_file_size=MIB)
    incoming = Upload(shares)
    incoming.write(b"data")
    file_id = incoming.finish("file.bin", "application/octet-stream", Options()).file_id
    before = shares.find(file_id)
    shares.delete(file_id)
    # Both would have written what they had read before.
    with pytest.raises(UnknownFile):
        shares.count(before)
    with pytest.raises(UnknownFile):
        shares.change(file_id, Options(max_downloads=5), frozenset({"max_downloads"}))
    with pytest.raises(UnknownFile):
        shares.find(file_id)
    assert list_files(shares, "", 10).files == []
