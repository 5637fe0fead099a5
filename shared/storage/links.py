"""Signed links, by which clients reach storage itself and not through us."""

from __future__ import annotations

from typing import Protocol


class Links(Protocol):
    """Links to objects of one store, each good for so many seconds to anyone who has it."""

    def download(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        """Where a client can GET the object, with these headers of the answer.

        With `range`, only a request with exactly that `Range` header is good.
        """
        ...

    def upload_part(self, key: str, expires_in: int, *, upload_id: str, number: int) -> str:
        """Where a client can PUT one part of a multipart upload."""
        ...
