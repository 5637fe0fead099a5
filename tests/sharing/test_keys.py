"""A data directory that is copied into a bucket key by key, or back, gives the same service in another place."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from shared.errors import Expired, UnknownFile, UsedUp, WrongPassword
from shared.listing import list_files
from shared.scrub import scrub
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.storage.records import CELLS
from shared.storage.s3 import clients
from shared.storage.s3.store import open_s3
from shared.sweeping import Sweep
from shared.uploads import Upload
from tests.clock import DAY, HOUR, Clock
from tests.servers import S3Server, SharedClients
from tests.sharing.shares import contents, download, shares_over, upload

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

Move = Callable[[], Shares]


def copy_up(root: Path, client: S3Client, bucket: str) -> None:
    """`aws s3 sync ROOT s3://BUCKET --exclude '.*'`"""
    for path in root.rglob("*"):
        key = path.relative_to(root).as_posix()
        if path.is_file() and not key.startswith("."):
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def copy_down(root: Path, client: S3Client, bucket: str) -> None:
    """`aws s3 sync s3://BUCKET ROOT`"""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            path = root / entry["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())


@pytest.fixture
def bucket(s3_client: S3Client) -> str:
    name = f"house-{uuid.uuid4()}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def into_bucket(
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
    s3_client: S3Client,
    s3_clients: SharedClients,
    bucket: str,
    root: Path,
    clock: Clock,
) -> Move:
    monkeypatch.setattr(clients, "Session", s3_clients.session)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)

    def move() -> Shares:
        copy_up(root, s3_client, bucket)
        return shares_over(open_s3(bucket, ""), clock)

    return move


@pytest.fixture
def and_back(s3_client: S3Client, bucket: str, tmp_path: Path, clock: Clock) -> Move:
    """Copy the bucket into a new directory."""

    def move() -> Shares:
        copy_down(tmp_path / "back", s3_client, bucket)
        return shares_over(DirectoryStore(tmp_path / "back"), clock)

    return move


def test_files_keep_their_bytes_and_their_counts_go_on(shares: Shares, into_bucket: Move, and_back: Move) -> None:
    sizes = {upload(shares, bytes(size)).file_id: size for size in (0, 1, 1000)}
    for file_id in sizes:
        for _ in range(2):
            download(shares, file_id)
    for place, move in enumerate((into_bucket, and_back), start=1):
        moved = move()
        assert [record.file_id for record in list_files(moved, "", 10).files] == sorted(sizes)
        assert scrub(moved, lambda _line: None)
        for file_id, size in sizes.items():
            assert download(moved, file_id) == bytes(size)
            assert moved.find(file_id).record.download_count == 2 + place


def test_a_cap_goes_on_where_it_was(shares: Shares, into_bucket: Move, and_back: Move) -> None:
    file_id = upload(shares, max_downloads=3).file_id
    download(shares, file_id)
    download(into_bucket(), file_id)
    back = and_back()
    download(back, file_id)
    with pytest.raises(UsedUp):
        download(back, file_id)
    assert back.find(file_id).record.download_count == 3


def test_a_hot_file_keeps_its_cells(shares: Shares, into_bucket: Move, and_back: Move) -> None:
    file_id = upload(shares).file_id
    shares.records.update(file_id, lambda old: structs.replace(old, cells=CELLS))
    for place, move in enumerate((lambda: shares, into_bucket, and_back), start=1):
        moved = move()
        for _ in range(3):
            download(moved, file_id)
        assert moved.describe(file_id).download_count == 3 * place
        assert moved.find(file_id).record.download_count == 0


def test_a_password_is_still_the_one(shares: Shares, into_bucket: Move) -> None:
    file_id = upload(shares, password="Sesame").file_id
    moved = into_bucket()
    moved.authorise(moved.find(file_id), "Sesame")
    with pytest.raises(WrongPassword):
        moved.authorise(moved.find(file_id), "sesame")


def test_delete_tokens_and_tickets_stay_valid(shares: Shares, into_bucket: Move, and_back: Move) -> None:
    file_id = upload(shares).file_id
    token, ticket = shares.signing.delete_token(file_id), shares.signing.ticket(file_id)
    for move in (into_bucket, and_back):
        moved = move()
        assert moved.signing.is_delete_token(file_id, token)
        assert moved.signing.is_ticket(file_id, ticket)


def test_what_expires_is_gone_on_time_and_swept_in_the_new_place(
    shares: Shares, clock: Clock, into_bucket: Move, s3_client: S3Client, bucket: str
) -> None:
    expired = upload(shares, expires_in=60).file_id
    used_up = upload(shares, max_downloads=1).file_id
    kept = upload(shares).file_id
    download(shares, used_up)
    moved = into_bucket()
    clock.forward(timedelta(seconds=60))
    with pytest.raises(Expired):
        moved.find(expired)
    clock.forward(2 * DAY)
    assert Sweep(moved).run().removed == 2
    # Their records stay for an hour.
    clock.forward(2 * HOUR)
    Sweep(moved).run()
    keys = [entry["Key"] for entry in s3_client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert sorted(keys) == [f"files/{kept[:2]}/{kept}.pickle", f"metadata/{kept[:2]}/{kept}.json"]


def test_a_file_deleted_in_the_new_place_is_gone_there_only(
    shares: Shares, into_bucket: Move, s3_client: S3Client, bucket: str
) -> None:
    file_id = upload(shares, expires_in=60).file_id
    moved = into_bucket()
    moved.delete(file_id)
    with pytest.raises(UnknownFile):
        moved.find(file_id)
    keys = [entry["Key"] for entry in s3_client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert not any(key.startswith("files/") for key in keys)
    assert download(shares, file_id) == b"hello"


def test_staged_files_and_locks_stay_behind(
    shares: Shares, into_bucket: Move, s3_client: S3Client, bucket: str, root: Path
) -> None:
    file_id = upload(shares).file_id
    running = Upload(shares)
    into_bucket()
    keys = [entry["Key"] for entry in s3_client.list_objects_v2(Bucket=bucket)["Contents"]]
    entries = [f"expiries/2030-05-03T12/{upload_id}" for upload_id in sorted((file_id, running.file_id))]
    assert sorted(keys) == [*entries, f"files/{file_id[:2]}/{file_id}.pickle", f"metadata/{file_id[:2]}/{file_id}.json"]
    running.abort()
    keys.remove(f"expiries/2030-05-03T12/{running.file_id}")
    assert sorted(contents(root)) == sorted(keys)
