"""Downloads return the uploaded bytes, whatever their name, their storage and the client."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from functions.app import ROUTERS
from shared.bootstrap import Service
from shared.errors import StorageUnavailable
from shared.http.app import build_app
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.storage.directory.writer import DirectoryReader
from shared.tokens import Tokens
from tests.api.client import (
    DIGITS,
    SERVER,
    Api,
    DirectoryObjects,
    Objects,
    WholeApp,
    blob_key,
    file_part,
    form,
    problem,
    record_key,
    text_part,
)
from tests.servers import S3Server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def test_what_has_neither_type_nor_extension_is_not_left_to_be_guessed(api: Api) -> None:
    file_id = api.upload(b"<h3 onclick=alert(1)>x</h3>", "poc", content_type=None)["file_id"]
    headers = api.download(file_id, accept="text/html").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == 'attachment; filename="poc"'


def test_a_packed_file_stays_packed(api: Api) -> None:
    data = gzip.compress(b"hello" * 1000)
    response = api.download(api.upload(data, "x.gz", "application/gzip")["file_id"], accept_encoding="gzip, br")
    assert "content-encoding" not in response.headers
    assert response.headers["content-length"] == str(len(data))
    assert response.content == data


def test_an_answer_carries_nothing_of_the_one_before(api: Api) -> None:
    file_id = api.upload()["file_id"]
    first = api.download(file_id)
    assert api.download(file_id, range="bytes=2-3").status_code == 206
    again = api.download(file_id)
    assert (again.status_code, again.content) == (200, DIGITS)
    # On AWS, the gateway sets Date.
    assert again.headers.keys() == first.headers.keys()
    assert "content-range" not in again.headers


def test_a_preview_counts_only_where_it_takes_the_file(api: Api) -> None:
    # Link previews of chats are not distinguished from people: the page is for viewing, and the file is for
    # downloading.
    parts = form(text_part("max_downloads", b"1"), file_part(DIGITS))
    upload = api.post(parts).json()
    bot = {"User-Agent": "TelegramBot (like TwitterBot)"}
    for _ in range(3):
        assert api.request("GET", upload["download_page"], bot).status_code == 200
    assert api.count(upload["file_id"]) == 0
    assert api.request("GET", upload["download_link"], bot).content == DIGITS
    problem(api.request("GET", upload["download_link"], bot), 410)
    assert api.count(upload["file_id"]) == 1


@pytest.mark.not_emulated("storage is asked to fail inside of the process")
@pytest.mark.parametrize("cap", [None, b"1"])
def test_what_could_not_be_counted_is_not_handed_out(
    api: Api, cap: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [] if cap is None else [text_part("max_downloads", cap)]
    file_id = api.post(form(*options, file_part(DIGITS))).json()["file_id"]
    with monkeypatch.context() as failing:
        failing.setattr("shared.storage.records.CODEC.encode", _disk_is_gone)
        assert DIGITS not in api.download(file_id).content
        response = api.download(file_id)
        assert problem(response, 503)["title"] == "Storage unavailable"
        assert response.headers["retry-after"]
    assert api.count(file_id) == 0
    assert api.download(file_id).content == DIGITS


def _disk_is_gone(_record: object) -> bytes:
    raise StorageUnavailable("said so")


# Directories


def whole_app(root: Path, loop: asyncio.AbstractEventLoop, unused: Callable[[str, str], None]) -> Api:
    shares = Shares(DirectoryStore(root), max_file_size=10**10, secret="x" * 32)
    return Api(
        WholeApp(build_app(*ROUTERS, service=Service(Settings(), Tokens(), shares)), loop),
        SERVER,
        DirectoryObjects(root),
        unused,
    )


def test_the_tag_of_a_file_depends_on_nothing_but_the_file(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, configure: Callable[[str, str], None]
) -> None:
    api = whole_app(tmp_path / "here", loop, configure)
    file_id = api.upload()["file_id"]
    tag = api.download(file_id).headers["etag"]
    assert api.download(api.upload(b"other")["file_id"]).headers["etag"] != tag
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    moved = whole_app(tmp_path / "there", loop, configure)
    assert moved.download(file_id).headers["etag"] == tag


def test_head_reads_no_more_than_the_frame(
    tmp_path: Path,
    loop: asyncio.AbstractEventLoop,
    configure: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = whole_app(tmp_path / "data", loop, configure)
    file_id = api.upload()["file_id"]
    size = 2**30
    record = json.loads(api.objects.read(record_key(file_id)))
    api.objects.write(record_key(file_id), json.dumps({**record, "file_size": size, "sha256": None}).encode())
    with (tmp_path / "data" / blob_key(file_id)).open("wb") as blob:
        blob.write(b"\x80\x04\x8e" + size.to_bytes(8, "little"))
        blob.seek(size + 11)
        blob.write(b".")
    taken = io.BytesIO()
    read = DirectoryReader.read

    def noted(reader: DirectoryReader, count: int) -> bytes:
        data = read(reader, count)
        taken.write(data)
        return data

    monkeypatch.setattr(DirectoryReader, "read", noted)
    response = api.download(file_id, "HEAD")
    assert (response.status_code, response.headers["content-length"]) == (200, str(size))
    assert taken.tell() <= 11


# Buckets


@pytest.fixture
def versioned(
    in_bucket: Objects, configure: Callable[[str, str], None], s3_server: S3Server, s3_client: S3Client
) -> str:
    bucket = f"versioned-{uuid.uuid4()}"
    s3_client.create_bucket(Bucket=bucket)
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    configure("SHARE_STORAGE", f"s3://{bucket}")
    return bucket


def test_a_bucket_may_keep_old_versions(
    versioned: str, s3_client: S3Client, loop: asyncio.AbstractEventLoop, configure: Callable[[str, str], None]
) -> None:
    api = Api(WholeApp(None, loop), SERVER, DirectoryObjects(Path("/nowhere")), configure)
    upload = api.upload()
    assert api.download(upload["file_id"]).content == DIGITS
    assert api.count(upload["file_id"]) == 1
    owner = {"X-Delete-Token": upload["delete_token"]}
    assert api.request("DELETE", f"/file/{upload['file_id']}", owner).status_code == 204
    problem(api.request("DELETE", f"/file/{upload['file_id']}", owner), 404)
    problem(api.download(upload["file_id"]), 404)
    assert upload["file_id"] not in api.listing()
    # Anyone with access to the bucket itself can still read old versions.
    kept = s3_client.list_object_versions(Bucket=versioned)["Versions"]
    assert blob_key(upload["file_id"]) in [version["Key"] for version in kept]


def test_nothing_is_said_in_the_metadata_of_s3(
    in_bucket: Objects,
    s3_client: S3Client,
    loop: asyncio.AbstractEventLoop,
    configure: Callable[[str, str], None],
) -> None:
    api = Api(WholeApp(None, loop), SERVER, in_bucket, configure)
    upload = api.upload(DIGITS, "é😀.txt", 'text/x-odd; a="b"')
    listed = s3_client.list_objects_v2(Bucket="shares")["Contents"]
    for key in [entry["Key"] for entry in listed if upload["file_id"] in entry["Key"]]:
        assert s3_client.head_object(Bucket="shares", Key=key)["Metadata"] == {}
