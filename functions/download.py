"""GET and HEAD /file/download/{file_id}: sends a file or a part of it, and counts downloads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared import metrics
from shared.errors import ArchiveTooLarge, OwnerOnly, UsedUp, WrongPassword
from shared.http.access import PASSWORD
from shared.http.app import service_of
from shared.http.async_shares import AsyncShares, files_of
from shared.http.browsers import is_navigation, to_landing_page
from shared.http.contents import Content, content_of
from shared.http.credentials import authorise
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.headers import is_prefetch, joined
from shared.http.problems import Problem
from shared.http.ranges import NotModified, Outcome, Part, PreconditionFailed, Unsatisfiable, Whole, decide, strong_tags
from shared.http.streams import CHUNK_SIZE, Outgoing, OutgoingResponse
from shared.http.tags import Tags
from shared.redirects import download_url, prepare_copy
from shared.sharing import Record, Shares, Stored

router = Endpoints("Files")

# Last-Modified must not be later than Date (RFC 9110 §8.8.2.1). The server caches Date for a second, or longer if it is
# busy, and the clock of the machine that stored the file may be ahead.
DATE_LAG = timedelta(seconds=5)
PROBE_SIZE = 2  # bytes


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer to a download: the bytes of `span`, as one download if `counted`."""

    status: int
    headers: dict[str, str]
    span: range
    counted: bool


# Any type, as uploaded; generated clients treat only the first as bytes.
_ANY_TYPE: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}, "*/*": {}}
_ENTRY = {
    "name": "entry",
    "in": "query",
    "description": "Name of one file in a zip archive, to download only that.",
    "schema": {"type": "string"},
}
_DECLARED: dict[str, Any] = {
    "access": PASSWORD,
    "parameters": [_ENTRY],
    "answers": {
        200: {"description": "The file.", "content": _ANY_TYPE},
        206: {"description": "The requested `Range` of the file.", "content": _ANY_TYPE},
        303: {"description": "Redirects browsers to the file's page, which asks for its password."},
        304: {"description": "The client already has the file."},
        307: {"description": "Redirects to storage if the file is too large for one answer."},
    },
    "errors": (404, 410, 412, 413, 415, 416, 507),
}


@router.endpoint("GET", "/file/download/{file_id:file_id}", **_DECLARED)
async def download_file(request: Request, file_id: str) -> Response:
    """Download a file.

    Counted as a download: answers with 200, and with 206 from byte 0. Not counted: HEAD, 304, errors, ranges that start
    later, and probes for at most the first two bytes of a longer file. Prefetches are answered with 503.

    If the file is too large for one answer, you are redirected (307) to a URL in storage, which is valid for a few
    minutes. The redirect counts like the answer that it replaces.

    For a file with `max_downloads`, later ranges also count, unless `If-Range` or `If-Match` has the `ETag` of a
    counted answer.

    With `entry`, you download one file of a zip archive. This counts as a download of the archive, by the same rules.
    """
    files = files_of(request)
    stored = await files.find(file_id)
    record = stored.record
    if record.is_private or record.password_hash is not None:
        try:
            await files.run(lambda shares: authorise(request, shares, stored), file_id)
        except (WrongPassword, OwnerOnly):
            if is_navigation(request.scope):
                return to_landing_page(request, file_id)
            raise
    content = await content_of(request, files, stored)
    fields = joined(request.headers)
    decision = functools.partial(_decide, request.method, fields, record, content)
    # The signing key of tickets may need to be read first.
    has_tickets = record.max_downloads is not None or "if-range" in fields or "if-match" in fields
    answer = await files.run(decision, file_id) if has_tickets else decision(files.shares)
    return answer if isinstance(answer, Response) else await _send(request, files, stored, content, answer)


@router.endpoint("GET", "/file/download/{file_id:file_id}/{name}", **_DECLARED)
async def download_file_as(request: Request, file_id: str, name: str) -> Response:
    """Download a file. The name is for tools that save files under the last segment of the URL."""
    return await download_file(request, file_id)


def _decide(
    method: str, fields: dict[str, str], record: Record, content: Content, shares: Shares
) -> Response | _Answer:
    tags = Tags(shares.signing, record, content.entry)
    last_modified = min(record.created_at, shares.now()) - DATE_LAG
    headers = content.headers(tags.plain, last_modified)
    if content.is_deflated:
        fields.pop("range", None)
    outcome = decide(
        method,
        fields,
        is_current=tags.is_current,
        last_modified=last_modified,
        size=content.size,
    )
    later = isinstance(outcome, Part) and outcome.start > 0
    ticket = _ticket(fields, tags) if later else None
    if record.is_used_up and ticket is None:
        raise UsedUp(record.file_id)
    match outcome:
        case PreconditionFailed():
            return Problem(412, "The file does not match If-Match or If-Unmodified-Since.")
        case NotModified():
            # With the type: the gateway would add one if it were missing, and a cache would store that.
            names = ("Content-Type", "ETag", "Last-Modified", "Cache-Control")
            return Response(status_code=304, headers={name: headers[name] for name in names})
        case Unsatisfiable():
            return Problem(
                416,
                "The range begins past the end of the file.",
                headers={"Content-Range": f"bytes */{content.size}"},
                file_size=content.size,
            )
        case Whole():
            start, stop, status = 0, content.size, HTTPStatus.OK
        case Part(start, stop):
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
    headers["Content-Length"] = str(stop - start)
    if method == "HEAD":
        return _Answer(status, headers, range(0), counted=False)
    # If a file has a download limit, later ranges are free only with the ticket of a counted download.
    resumes = later and (ticket is not None or not tags.capped)
    counted = not (resumes or _is_probe(outcome, content.size))
    if tags.capped and (counted or ticket is not None):
        headers["ETag"] = ticket or tags.with_ticket()
    if is_prefetch(fields):
        return Problem(
            503, "A prefetch is not served, since it would count as a download.", headers={"Retry-After": "1"}
        )
    return _Answer(status, headers, range(start, stop), counted)


def _ticket(headers: Mapping[str, str], tags: Tags) -> str | None:
    """The resume ticket of a request: most clients send it in `If-Range`, Firefox in `If-Match`."""
    sent = (headers.get("if-range", ""), *strong_tags(headers.get("if-match", "")))
    return next((tag for tag in sent if tags.is_ticket(tag)), None)


def _is_probe(outcome: Outcome, size: int) -> bool:
    """Whether the client only looks at the file's first bytes, as media players do before they play it."""
    return isinstance(outcome, Part) and outcome.start == 0 and outcome.stop <= PROBE_SIZE < size


async def _send(request: Request, files: AsyncShares, stored: Stored, content: Content, answer: _Answer) -> Response:
    """Open and check the bytes, then count, then answer."""
    status, headers, span = answer.status, answer.headers, answer.span
    if request.method == "HEAD":
        await files.read(stored, 0, 0)
        return Response(status_code=status, headers=headers)
    limit = service_of(request).settings.inline_limit
    if limit is not None and len(span) > limit:
        if content.is_deflated:
            raise ArchiveTooLarge(stored.record.file_id)
        return await _redirect(request, files, stored, content, answer)
    if len(span) <= CHUNK_SIZE and not content.is_deflated:
        data = await files.read(stored, *content.position(span))
        await _count(files, stored, answer)
        return Response(data, status, headers)
    threads = files.threads_of(stored.record.file_id)
    outgoing = await Outgoing.begin(lambda: content.open(files.shares, stored, span), threads)
    try:
        await _count(files, stored, answer)
    except BaseException:
        await outgoing.close()
        raise
    return OutgoingResponse(outgoing, status, headers)


async def _count(files: AsyncShares, stored: Stored, answer: _Answer) -> None:
    if answer.counted:
        await files.count(stored)
        metrics.add("Downloads")
    metrics.add("DownloadedBytes", len(answer.span))


async def _redirect(
    request: Request, files: AsyncShares, stored: Stored, content: Content, answer: _Answer
) -> Response:
    """Redirect to storage; unless this counts as a download, for exactly the requested range only."""
    entry = None if content.member is None else range(content.member.start, content.member.stop)
    prepared = await files.run(lambda shares: prepare_copy(shares, stored, entry), stored.record.file_id)
    if answer.counted:
        await files.count(prepared)
        metrics.add("Downloads")
    # Signing can require new credentials from the network.
    url = await files.run(
        lambda shares: download_url(
            shares,
            prepared.record,
            entry=entry,
            disposition=answer.headers["Content-Disposition"],
            content_type=answer.headers["Content-Type"],
            range=None if answer.counted else request.headers["range"],
        ),
        stored.record.file_id,
    )
    headers = {
        "Location": url,
        # The file's own headers, so that a client can resume here.
        "ETag": answer.headers["ETag"],
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return Response(status_code=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)


handler = HttpHandler(__name__, router)
