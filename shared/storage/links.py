"""Signed links, with which clients access storage directly."""

from __future__ import annotations

from typing import Protocol


class Links(Protocol):
    """Links to the objects of a store. Anyone who has a link can use it until it expires, in seconds."""

    def download(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        """The URL to GET the object from, with these headers in the answer.

        With `range`, it works only with exactly that `Range` header.
        """

    def upload_part(self, key: str, expires_in: int, *, upload_id: str, number: int, size: int | None = None) -> str:
        """The URL to PUT one part of a multipart upload to. With `size`, it works only for that many bytes."""
