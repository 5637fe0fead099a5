"""The content of a download: a file, or one file of an archive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request

from shared.archives import Inflated, Member, find_member
from shared.errors import InvalidValue
from shared.http.async_shares import AsyncShares
from shared.http.headers import DEFAULT_MEDIA_TYPE, content_disposition, http_date, media_types, repr_digest
from shared.names import clean_name
from shared.sharing import Payload, Shares, Stored


@dataclass(frozen=True, slots=True)
class Content:
    """The content to download: a file, or the `member` of an archive."""

    name: str
    media_type: str
    size: int
    sha256: str | None
    entry: str | None = None
    member: Member | None = None

    @property
    def is_deflated(self) -> bool:
        return self.member is not None and self.member.deflated

    def position(self, span: range) -> tuple[int, int]:
        """Where `span` is in the file; for deflated members, where the whole member is."""
        if self.member is None:
            return span.start, span.stop
        if self.member.deflated:
            return self.member.start, self.member.stop
        if not span:
            # An empty range is only possible at the start.
            return 0, 0
        return self.member.start + span.start, self.member.start + span.stop

    def open(self, shares: Shares, file: Stored, span: range) -> Payload | Inflated:
        """Open these bytes of the content. Raises what `Shares.open` raises."""
        payload = shares.open(file, *self.position(span))
        if self.member is not None and self.member.deflated:
            return Inflated(payload, self.member, file.record.file_id)
        return payload

    def headers(self, etag: str, last_modified: datetime) -> dict[str, str]:
        """The headers of an answer that has all of it."""
        headers = {
            "Content-Type": self.media_type,
            "Content-Disposition": content_disposition(self.name),
            "ETag": etag,
            "Last-Modified": http_date(last_modified),
            "Accept-Ranges": "none" if self.is_deflated else "bytes",
            "Cache-Control": "private, no-cache, no-transform",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }
        if self.sha256 is not None:
            headers["Repr-Digest"] = repr_digest(self.sha256)
        return headers


async def content_of(request: Request, files: AsyncShares, stored: Stored) -> Content:
    """The content that a request asks for. Raises what `find_member` raises."""
    entry = request.query_params.get("entry")
    if entry is None:
        record = stored.record
        return Content(record.original_name, record.content_type, record.file_size, record.sha256)
    member = await files.run(lambda shares: find_member(shares, stored, entry), stored.record.file_id)
    try:
        name = clean_name(member.name)
    except InvalidValue:
        # The name has only invalid characters, or is too long for a file system.
        name = "file"
    return Content(name, media_types().guess_type(name)[0] or DEFAULT_MEDIA_TYPE, member.size, None, entry, member)
