"""The seal function, started by a bucket's events: it seals complete uploads, and reports the others for a retry."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions import seal
from shared.direct_uploads import DirectUploads
from shared.options import Options
from tests.api.client import Objects, blob_key
from tests.environment import service
from tests.gateway import LambdaContext, started
from tests.servers import ask

ROOT = Path(__file__).parent.parent.parent
EVENT: dict[str, Any] = json.loads((ROOT / "events" / "seal.json").read_text(encoding="utf-8"))
UNKNOWN = "00000000-0000-4000-8000-000000000000"

Uploaded = tuple[str, str]
"""File ID and upload ID."""


@pytest.fixture
def uploads(in_bucket: Objects, on_lambda: None) -> DirectUploads:
    started(seal.handler)
    return DirectUploads(service().shares)


def sent(uploads: DirectUploads, data: bytes) -> Uploaded:
    record = uploads.start("file.bin", "application/octet-stream", Options())
    assert record.upload_id is not None
    url = uploads.part_url(record.file_id, record.upload_id, 1)
    assert url is not None
    ask("PUT", url, content=data).raise_for_status()
    return record.file_id, record.upload_id


def completed(uploads: DirectUploads, data: bytes) -> str:
    file_id, upload_id = sent(uploads, data)
    uploads.complete(file_id, upload_id, [(part.number, part.etag) for part in uploads.parts(file_id, upload_id)])
    return file_id


def told_of(*file_ids: str, prefix: str = "raw/") -> dict[str, Any]:
    """One event for all these objects."""
    records = []
    for file_id in file_ids:
        (record,) = copy.deepcopy(EVENT["Records"])
        record["s3"]["object"]["key"] = prefix + file_id
        records.append(record)
    return {"Records": records}


def test_a_copy_of_an_entry_is_nothing_to_seal(uploads: DirectUploads) -> None:
    copied = told_of("34-5000034", prefix=f"raw/entries/{UNKNOWN}/")
    assert seal.handler(copied, LambdaContext()) == {"sealed": 0}


def test_a_completed_upload_is_sealed_once(
    uploads: DirectUploads, in_bucket: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    file_id = completed(uploads, b"bytes")
    # With whatever prefix the bucket is used.
    event = told_of(file_id, prefix="shares/a+b/raw/")
    assert seal.handler(event, LambdaContext()) == {"sealed": 1}
    assert pickle.loads(in_bucket.read(blob_key(file_id))) == b"bytes"
    assert seal.handler(event, LambdaContext()) == {"sealed": 0}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["Sealed"] for line in lines if "Sealed" in line] == [[1.0]]


def test_what_is_not_complete_is_to_be_sent_again_and_holds_up_nothing(
    uploads: DirectUploads, in_bucket: Objects, caplog: pytest.LogCaptureFixture
) -> None:
    unfinished, _ = sent(uploads, b"more to come")
    ready = completed(uploads, b"bytes")
    with pytest.raises(seal.SealFailed, match="1 of 3"):
        seal.handler(told_of(unfinished, UNKNOWN, ready), LambdaContext())
    assert pickle.loads(in_bucket.read(blob_key(ready))) == b"bytes"
    assert blob_key(unfinished) not in in_bucket.keys()  # noqa: SIM118


def test_a_damaged_upload_fails_alone(
    uploads: DirectUploads, in_bucket: Objects, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, ready = completed(uploads, b"bytes"), completed(uploads, b"bytes")
    in_bucket.write(f"raw/{damaged}", b"more bytes")
    with pytest.raises(seal.SealFailed):
        seal.handler(told_of(damaged, ready), LambdaContext())
    assert pickle.loads(in_bucket.read(blob_key(ready))) == b"bytes"


@pytest.mark.parametrize(
    "event",
    [
        # The message that S3 sends when a notification is set up (Amazon S3 User Guide, "Event message structure").
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "files"},
        told_of(UNKNOWN),
        told_of("no+ID"),
    ],
    ids=["a test", "an unknown file", "no file"],
)
def test_an_event_of_nothing_to_seal_is_no_fault(uploads: DirectUploads, event: dict[str, Any]) -> None:
    assert seal.handler(event, LambdaContext()) == {"sealed": 0}


def test_a_deleted_file_is_not_brought_back(
    uploads: DirectUploads, in_bucket: Objects, configure: Callable[[str, str], None]
) -> None:
    file_id = completed(uploads, b"bytes")
    service().shares.delete(file_id)
    assert seal.handler(told_of(file_id), LambdaContext()) == {"sealed": 0}
    keys = in_bucket.keys()
    assert [key for key in keys if file_id in key and key.startswith(("files/", "raw/"))] == []
