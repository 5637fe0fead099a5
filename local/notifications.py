"""Sends functions S3's events for new objects, which it finds by listing the bucket.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html

Differences from S3: an object that exists only between two listings is missed, objects that exist at the start are
announced again, and failed functions are retried after seconds, not minutes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from botocore.exceptions import BotoCoreError, ClientError

from local.gateway import Invoke
from local.intrinsics import REGION
from local.template import Notification
from local.worker import FunctionFailed

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectTypeDef

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5  # seconds
# As many retries as Lambda makes by default.
RETRY_AFTER = (1.0, 2.0)  # seconds

MULTIPART = "s3:ObjectCreated:CompleteMultipartUpload"
PUT = "s3:ObjectCreated:Put"
ANY = "s3:ObjectCreated:*"


class Notifier:
    """Notifies functions of new objects until it is cancelled."""

    def __init__(
        self, notifications: Sequence[Notification], client: S3Client, invoke: Invoke, *, look_every: float = LOOK_EVERY
    ) -> None:
        self._notifications = notifications
        self._client = client
        self._invoke = invoke
        self._look_every = look_every
        self._versions: dict[tuple[Notification, str], tuple[str, datetime]] = {}
        self._deliveries: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            while True:
                for notification in self._notifications:
                    await self._look(notification)
                await asyncio.sleep(self._look_every)
        finally:
            for task in self._deliveries:
                task.cancel()

    async def _look(self, notification: Notification) -> None:
        try:
            entries = await asyncio.to_thread(self._list, notification)
        except (BotoCoreError, ClientError) as error:
            log.warning("cannot list the bucket: %s", error)
            return
        for entry in entries:
            self._consider(notification, entry)

    def _list(self, notification: Notification) -> list[ObjectTypeDef]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=notification.bucket, Prefix=notification.prefix
        )
        return [entry for page in pages for entry in page.get("Contents", [])]

    def _consider(self, notification: Notification, entry: ObjectTypeDef) -> None:
        version = (entry["ETag"], entry["LastModified"])
        if self._versions.get((notification, entry["Key"])) == version:
            return
        self._versions[notification, entry["Key"]] = version
        # The ETag of a multipart upload ends in the number of its parts.
        kind = MULTIPART if "-" in entry["ETag"] else PUT
        if kind in notification.events or ANY in notification.events:
            task = asyncio.create_task(self._deliver(notification.function, event(notification.bucket, kind, entry)))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, function: str, about: dict[str, Any]) -> None:
        for pause in (*RETRY_AFTER, None):
            try:
                await self._invoke(function, json.dumps(about).encode())
                return
            except FunctionFailed as error:
                if pause is None:
                    log.error("%s failed after all retries: %s", function, error)
                    return
                await asyncio.sleep(pause)


def event(bucket: str, kind: str, entry: ObjectTypeDef) -> dict[str, Any]:
    """The event for one new object."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": REGION,
                "eventTime": entry["LastModified"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "eventName": kind.removeprefix("s3:"),
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                    "object": {
                        "key": quote_plus(entry["Key"], safe="/"),
                        "size": entry["Size"],
                        "eTag": entry["ETag"].strip('"'),
                    },
                },
            }
        ]
    }
