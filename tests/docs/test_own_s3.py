"""Storing files on your own S3 server, and moving them there from a directory."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from tests.own_s3 import on_own_s3
from tests.pages import ROOT, block
from tests.servers import BUCKET, S3Server
from tests.wire.server import Server


def test_files_are_kept_on_an_s3_server_of_ones_own(tmp_path: Path) -> None:
    with on_own_s3(tmp_path) as server:
        sent = server.upload([b"kept ", b"elsewhere"], 14)
        assert server.get(f"/file/download/{sent['file_id']}") == (200, b"kept elsewhere")
        assert server.metadata(sent["file_id"])["download_count"] == 1
        status, listed = server.get("/file/metadata/")
        assert (status, list(json.loads(listed))) == (200, [sent["file_id"]])


def test_the_bucket_is_made_with_what_the_api_itself_installs() -> None:
    """The tests have more packages than a server."""
    imported = set(re.findall(r"^(?:import|from) (\w+)", block("sh", "create_bucket"), re.MULTILINE))
    locked = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert imported
    assert imported <= locked


def test_a_directory_can_be_moved_to_a_bucket_and_back(tmp_path: Path, s3_server: S3Server) -> None:
    """Everything except names that begin with a dot, as in docs/storage.md."""
    data, back = tmp_path / "data", tmp_path / "back"
    prefix = f"moved/{tmp_path.name}/"
    in_bucket = {**s3_server.environment(), "SHARE_STORAGE": f"s3://{BUCKET}/{prefix.rstrip('/')}"}
    s3 = s3_server.client()
    with Server(data) as server:
        sent = server.upload([b"moving"], 6)
        path = f"/file/download/{sent['file_id']}"
        assert server.get(path) == (200, b"moving")
    for file in [file for file in data.rglob("*") if file.is_file()]:
        key = file.relative_to(data).as_posix()
        if not key.startswith("."):
            s3.put_object(Bucket=BUCKET, Key=prefix + key, Body=file.read_bytes())
    with Server(tmp_path / "unused", **in_bucket) as server:
        assert server.get(path) == (200, b"moving")
        assert server.metadata(sent["file_id"])["download_count"] == 2
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
        file = back / entry["Key"].removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
    with Server(back) as server:
        assert server.get(path) == (200, b"moving")
        assert server.metadata(sent["file_id"])["download_count"] == 3
        url = f"http://127.0.0.1:{server.port}/file/{sent['file_id']}"
        assert httpx.delete(url, params={"token": sent["delete_token"]}).status_code == 204
