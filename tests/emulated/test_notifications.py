"""The events of an emulated bucket: their recipients, their number, and their form, which is that of S3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local import notifications, template
from local.intrinsics import InvalidTemplate
from local.notifications import Notifier
from local.template import Notification
from local.worker import FunctionFailed
from tests.wire.server import WITHIN

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)
NOTIFICATION = Notification("files", ("s3:ObjectCreated:CompleteMultipartUpload",), "raw/", "SealFunction")


class Bucket:
    """The part of an S3 client that lists a bucket."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.listings = 0

    def put(self, key: str, etag: str) -> None:
        self.objects[key] = {"Key": key, "ETag": f'"{etag}"', "Size": 3, "LastModified": NOW}

    def get_paginator(self, _name: str) -> Bucket:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803
        assert Bucket == "files"
        self.listings += 1
        # A copy, because objects are put meanwhile.
        return [{"Contents": [entry for key, entry in list(self.objects.items()) if key.startswith(Prefix)]}, {}]


Invoke = Callable[[str, bytes], Awaitable[bytes]]


def told(bucket: Bucket, invoke: Invoke, done: Callable[[], bool]) -> None:
    """Run the notifier until the condition holds."""

    async def run() -> None:
        notifier = Notifier([NOTIFICATION], bucket, invoke, look_every=0)  # type: ignore[arg-type]
        running = asyncio.create_task(notifier.run())
        for _ in range(int(WITHIN / 0.01)):
            if done():
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("not in time")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_function_is_notified_once_of_each_object_made_of_parts() -> None:
    bucket = Bucket()
    for key, etag in (("raw/one", "e-1"), ("raw/put", "e"), ("files/other", "e-2")):
        bucket.put(key, etag)
    events: list[tuple[str, Any]] = []
    changed_at: list[int] = []

    async def invoke(function: str, event: bytes) -> bytes:
        events.append((function, json.loads(event)))
        return b"{}"

    def done() -> bool:
        # After both steps the bucket is listed some more times, without another event.
        if not changed_at and events and bucket.listings > 5:
            bucket.put("raw/one", "f-1")
            bucket.put("raw/two words", "e-1")
            changed_at.append(bucket.listings)
        return len(events) >= 3 and bucket.listings > changed_at[0] + 5

    told(bucket, invoke, done)
    assert {function for function, _ in events} == {"SealFunction"}
    assert [event["Records"][0]["s3"]["object"]["key"] for _, event in events] == [
        "raw/one",
        "raw/one",
        # Encoded as in a form (Amazon S3 User Guide, "Event message structure").
        "raw/two+words",
    ]


def test_a_function_that_fails_is_notified_again_and_finally_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notifications, "RETRY_AFTER", (0.0, 0.0))
    bucket, tried = Bucket(), []
    bucket.put("raw/one", "e-1")

    async def invoke(function: str, _event: bytes) -> bytes:
        tried.append(function)
        raise FunctionFailed(b"not yet")

    told(bucket, invoke, lambda: "after all retries" in caplog.text)
    assert len(tried) == 3


def test_an_event_looks_like_that_of_s3() -> None:
    entry: Any = {"Key": "raw/one", "ETag": '"e-1"', "Size": 3, "LastModified": NOW}
    event = notifications.event("files", notifications.MULTIPART, entry)
    sample = json.loads((ROOT / "events" / "seal.json").read_text(encoding="utf-8"))
    assert event["Records"][0].keys() <= sample["Records"][0].keys()
    for name in ("object", "bucket"):
        assert event["Records"][0]["s3"][name].keys() <= sample["Records"][0]["s3"][name].keys()
    for name in ("eventVersion", "eventSource", "eventName"):
        assert event["Records"][0][name] == sample["Records"][0][name]


def test_what_the_template_says_is_read() -> None:
    deployment = template.read(ROOT / "template.yaml")
    assert deployment.notifications == (
        Notification(deployment.buckets[0], NOTIFICATION.events, "raw/", "SealFunction"),
    )


def test_a_filter_that_is_not_emulated_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text("""
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  OneFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: one.handler
      Events:
        Made:
          Type: S3
          Properties:
            Bucket: !Ref Bucket
            Events: [s3:ObjectCreated:*]
            Filter: {S3Key: {Rules: [{Name: suffix, Value: .jpg}]}}
""")
    with pytest.raises(InvalidTemplate, match="only a prefix"):
        template.read(path)
