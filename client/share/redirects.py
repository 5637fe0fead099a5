"""Follows redirects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx

from share.faults import Exit, Fault
from share.server import Server, is_safe_step, location_of, require_uncompressed

MAX_REDIRECTS = 5


class Redirected:
    """A GET request that follows redirects itself, so that no host gets data meant for another.

    Resuming uses the ETag of the same host, since each host knows only its own.
    """

    def __init__(self, server: Server, url: str) -> None:
        self._server = server
        self._url = httpx.URL(url)
        self.origin = origin_of(self._url)

    @contextlib.contextmanager
    def get(self, offset: int, end: int | None, tags: dict[str, str]) -> Iterator[httpx.Response]:
        """Get the bytes from `offset` on, or an error response. Updates `tags`, by origin.

        If the file was replaced, the server answers with the whole file, or with an error if only the bytes up to
        `end` are wanted.
        """
        url = self._url
        current: dict[str, str] = {}
        for _ in range(MAX_REDIRECTS):
            origin = origin_of(url)
            headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
            if origin == self.origin:
                headers |= self._server.credentials
            if offset:
                headers["Range"] = f"bytes={offset}-{'' if end is None else end - 1}"
                if origin in tags:
                    headers["If-Range" if end is None else "If-Match"] = tags[origin]
            with self._server.http.stream("GET", url, headers=headers) as response:
                tag = response.headers.get("etag", "")
                # Other ETags could not be sent back.
                if tag.isascii() and tag.isprintable() and 0 < len(tag) < 1024:
                    current[origin] = tag
                if not response.has_redirect_location:
                    if response.is_success:
                        require_uncompressed(response)
                    if response.status_code == httpx.codes.OK:
                        tags.clear()
                    tags.update(current)
                    yield response
                    return
                target = location_of(response)
                if not is_safe_step(url, target):
                    raise Fault(Exit.REFUSED, "The server redirects to an unsafe address.")
                url = target
        raise Fault(Exit.REFUSED, "Too many redirects.")


def origin_of(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"
