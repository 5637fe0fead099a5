"""/inbox and /inbox/{inbox_id}: links by which others send files to the owner of an inbox."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from shared.http.access import INBOX, INBOX_OWNER, TOKEN
from shared.http.async_shares import files_of
from shared.http.bodies import read_json
from shared.http.browsers import PAGES, is_navigation
from shared.http.credentials import is_inbox_owner, require_inbox_owner
from shared.http.endpoint import Endpoints
from shared.http.handler import HttpHandler
from shared.http.headers import content_length
from shared.http.models import EXAMPLE_ID, FileMetadata, Lifetime, inbox_page, owner_metadata
from shared.inbox_options import MAX_FILES, MAX_NOTE, MAX_SIZE, MAX_TITLE, InboxOptions
from shared.inboxes import Inbox, Inboxes
from shared.redirects import storage_origin
from shared.sharing import Shares, rfc3339

router = Endpoints("Inboxes")

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]


class InboxChanges(BaseModel):
    """The properties of an inbox. null restores a default; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(max_length=MAX_TITLE)] | None = None
    note: Annotated[str, Field(max_length=MAX_NOTE)] | None = Field(default=None, description="Shown to senders.")
    max_files: Annotated[int, Field(ge=1, le=MAX_FILES)] | None = Field(default=None, description="Default: 100.")
    max_bytes: Size | None = Field(default=None, description="Total size of all files. Default: 10 GiB.")
    max_file_size: Size | None = Field(default=None, description="Bytes. Default: the server's limit.")
    expires_in: Lifetime | None = Field(default=None, description="Seconds from now. Default: 7 days.")
    file_expires_in: Lifetime | None = Field(
        default=None, description="Lifetime of each file, in seconds from its upload. Default: the server's."
    )


class ReceivedFile(FileMetadata):
    """A file in the inbox. Its `download_count` can be slightly low; the file's own metadata is exact."""

    file_id: str = Field(examples=[EXAMPLE_ID])


class InboxView(BaseModel):
    """An inbox. Only its owner gets the fields after `expires_at`."""

    inbox_id: str = Field(examples=[EXAMPLE_ID])
    inbox_page: str
    title: str
    note: str
    files_left: int
    bytes_left: int
    max_file_size: int
    expires_at: datetime
    open: bool | None = Field(default=None, description="False if the inbox was closed or has expired.")
    closed_at: datetime | None = None
    created_at: datetime | None = None
    max_files: int | None = None
    max_bytes: int | None = None
    file_expires_in: int | None = None
    files: list[ReceivedFile] | None = None


class CreatedInbox(InboxView):
    """An inbox that was just created."""

    inbox_link: str = Field(description="For programs: PUT a file to this link, followed by `/` and its name.")
    owner_link: str = Field(description="The page, with the owner token after `#`. Do not pass it on.")
    owner_token: str = Field(description="Anyone with this token owns the inbox. Not shown again.")


@router.endpoint(
    "POST",
    "/inbox",
    access=TOKEN,
    status=HTTPStatus.CREATED,
    answer=CreatedInbox,
    errors=(415, 422, 507),
    body=InboxChanges,
)
async def create_inbox(request: Request) -> JSONResponse:
    """Create a link by which others can send files to you, without a token. Keep the `owner_token` to yourself."""
    options, _ = await _options(request)

    def work(shares: Shares) -> dict[str, Any]:
        inboxes = Inboxes(shares)
        inbox = inboxes.create(options)
        page, token = inbox_page(request, inbox.inbox_id), shares.signing.owner_token(inbox.inbox_id)
        return {
            **_owner_view(request, inboxes, inbox),
            "inbox_link": page,
            "owner_link": f"{page}#owner={token}",
            "owner_token": token,
        }

    body = await files_of(request).run(work)
    return JSONResponse(body, HTTPStatus.CREATED, {"Location": body["inbox_page"]})


@router.endpoint(
    "GET",
    "/inbox/{inbox_id:file_id}",
    access=INBOX,
    answer=InboxView,
    answers={200: {"description": "The inbox; for browsers, its page.", "content": {"text/html": {}}}},
    errors=(404, 410),
)
async def get_inbox(request: Request, inbox_id: str) -> Response:
    """Get the title and note of an inbox, and how much it still accepts. Its owner also gets its limits and files.

    Once it is closed or has expired, only its owner can see it.
    """
    files = files_of(request)
    if is_navigation(request.scope):
        return await files.run(lambda shares: _page(request, shares, inbox_id), inbox_id)

    def work(shares: Shares) -> dict[str, Any]:
        inboxes = Inboxes(shares)
        owner = is_inbox_owner(request, inbox_id)
        inbox = inboxes.find(inbox_id)
        if owner:
            return _owner_view(request, inboxes, inbox)
        inboxes.places.require_open(inbox)
        return _view(request, inboxes, inbox)

    return JSONResponse(await files.run(work, inbox_id))


def _page(request: Request, shares: Shares, inbox_id: str) -> Response:
    """The page of an inbox for its senders. If it has ended, they can still delete what they sent."""
    inboxes = Inboxes(shares)
    inbox, now = inboxes.find(inbox_id), inboxes.now()
    view = _view(request, inboxes, inbox)
    state = "open" if inbox.is_open(now) else "expired" if inbox.closed_at is None else "closed"
    if state != "open":
        view |= {"title": "", "note": "", "files_left": 0}
    elif view["files_left"] == 0:
        state = "full"
    origin = storage_origin(shares)
    server = {
        "inbox": inbox_id,
        "files_left": view["files_left"],
        "max_file_size": min(view["max_file_size"], view["bytes_left"]),
        # The inbox replaces the token.
        "token_required": False,
        "signs": origin is not None,
    }
    return PAGES.render(
        request,
        "inbox.html",
        HTTPStatus.GONE if state in ("closed", "expired") else HTTPStatus.OK,
        origin=origin,
        own_texts="at_inbox",
        inbox=view,
        state=state,
        lifetime=PAGES.span_text(inbox.expires_at - now),
        server=server,
    )


@router.endpoint(
    "PATCH",
    "/inbox/{inbox_id:file_id}",
    access=INBOX_OWNER,
    answer=InboxView,
    errors=(404, 410, 415, 422, 507),
    body=InboxChanges,
)
async def change_inbox(request: Request, inbox_id: str) -> JSONResponse:
    """Change an inbox, or reopen an expired one. Requires an access token or its owner token."""
    files = files_of(request)
    await files.run(lambda _: require_inbox_owner(request, inbox_id), inbox_id)
    options, names = await _options(request)

    def work(shares: Shares) -> dict[str, Any]:
        inboxes = Inboxes(shares)
        return _owner_view(request, inboxes, inboxes.change(inbox_id, options, names))

    return JSONResponse(await files.run(work, inbox_id))


@router.endpoint(
    "DELETE", "/inbox/{inbox_id:file_id}", access=INBOX_OWNER, status=HTTPStatus.NO_CONTENT, errors=(404, 507)
)
async def close_inbox(request: Request, inbox_id: str) -> Response:
    """Close an inbox permanently. Its files stay. Requires an access token or its owner token."""

    def work(shares: Shares) -> None:
        require_inbox_owner(request, inbox_id)
        Inboxes(shares).close(inbox_id)

    await files_of(request).run(work, inbox_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _options(request: Request) -> tuple[InboxOptions, frozenset[str]]:
    if "content-type" not in request.headers and content_length(request.headers) == 0:
        return InboxOptions(), frozenset()
    changes = await read_json(request, InboxChanges)
    return InboxOptions(**changes.model_dump()), frozenset(changes.model_fields_set)


def _view(request: Request, inboxes: Inboxes, inbox: Inbox) -> dict[str, Any]:
    files_left, bytes_left = inboxes.left(inbox)
    return {
        "inbox_id": inbox.inbox_id,
        "inbox_page": inbox_page(request, inbox.inbox_id),
        "title": inbox.title,
        "note": inbox.note,
        "files_left": files_left,
        "bytes_left": bytes_left,
        "max_file_size": inboxes.places.largest(inbox),
        "expires_at": rfc3339(inbox.expires_at),
    }


def _owner_view(request: Request, inboxes: Inboxes, inbox: Inbox) -> dict[str, Any]:
    return {
        **_view(request, inboxes, inbox),
        "open": inbox.is_open(inboxes.now()),
        "closed_at": rfc3339(inbox.closed_at),
        "created_at": rfc3339(inbox.created_at),
        "max_files": inbox.max_files,
        "max_bytes": inbox.max_bytes,
        "file_expires_in": inbox.file_expires_in,
        "files": [
            {"file_id": record.file_id, **owner_metadata(request, record, in_list=True)}
            for record in inboxes.files(inbox)
        ],
    }


handler = HttpHandler(__name__, router)
