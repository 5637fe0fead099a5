"""One bucket, and the prefix of all keys in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from shared.storage.contract import Info
from shared.storage.s3.errors import translated

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Address(TypedDict):
    """The address of an object in S3's requests."""

    Bucket: str
    Key: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and a client that retries failed requests. `prefix` is empty or ends in `/`."""

    client: S3Client
    name: str
    prefix: str

    def at(self, key: str) -> Address:
        return {"Bucket": self.name, "Key": self.prefix + key}

    def stat(self, key: str) -> Info:
        """Like `ObjectStore.stat`."""
        with translated(key):
            answer = self.client.head_object(**self.at(key))
        return Info(answer["ContentLength"], answer["ETag"])

    def key(self, name: str) -> str:
        """The key of an object with this name in the bucket."""
        return name.removeprefix(self.prefix)
