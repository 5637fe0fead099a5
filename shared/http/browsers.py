"""What people get where programs get a problem document: a page that says what happened and offers a way on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from shared.http.pages import Pages, page_headers, path_prefix, size_text
from shared.sharing import FILE_ID

if TYPE_CHECKING:
    from shared.http.problems import Problem

PAGES = Pages(Path(__file__).parents[2] / "functions" / "pages")
# A 401 has to name a scheme (RFC 9110 §15.5.2).
FORM_CHALLENGE = 'Form realm="shared file"'

_FRAMES = ("document", "frame", "iframe")
_HTML, _JSON = "text/html", "application/json"

Way = Literal["start", "again", "sender", "password"]


@dataclass(frozen=True, slots=True)
class _Words:
    """What the page of one kind of error says. `detail` is a format string of the problem's members."""

    title: str
    detail: str
    way: Way = "start"


# By the kind of problem or, where it has none, by its status.
_WORDS: Mapping[str | int, _Words] = {
    "expired": _Words("This link has expired", "The file was shared for a limited time.", "sender"),
    "used-up": _Words(
        "This link has reached its download limit", "The sender limited how often the file can be downloaded.", "sender"
    ),
    "password-required": _Words("This file needs a password", "Enter it on the page of the file.", "password"),
    "token-required": _Words("Access token required", "Only people with an access token can open this address."),
    "wrong-delete-token": _Words("This delete link does not work", "It may be incomplete. Nothing was deleted."),
    "cross-site": _Words("Request refused", "Another site sent you here with this request. Start from our own page."),
    "too-many-attempts": _Words(
        "Too many attempts", "Many passwords are being checked at once. Try again in a few seconds.", "again"
    ),
    "busy": _Words("This server is busy", "Many people want this file right now. Try again in a few seconds.", "again"),
    "outcome-unknown": _Words(
        "This server is busy", "It could not confirm your request. Try again in a few seconds.", "again"
    ),
    "preparing": _Words("Almost ready", "This file is being prepared. Try again in a few seconds.", "again"),
    "storage-unavailable": _Words(
        "Storage is unavailable", "The server cannot reach its files right now. Try again in a minute.", "again"
    ),
    "storage-full": _Words("Not enough space", "This server has no room for the file. Try again later.", "again"),
    "damaged-file": _Words(
        "This file is damaged", "It was damaged in storage, so it cannot be downloaded any more.", "sender"
    ),
    "file-too-large": _Words("Too large", "This server accepts files up to {size}."),
    404: _Words("Page not found", "Check the address, or start from our first page."),
    405: _Words("Page not found", "This address is for programs, not for browsers."),
    431: _Words("Your browser sent too much", "Delete the cookies of this site, then try again.", "again"),
    500: _Words("Something went wrong", "The error was logged. Try again later.", "again"),
}
_NO_FILE = _Words("No such file", "The link may be incomplete, or the file was deleted.", "sender")
_OTHER = _Words("This did not work", "{detail}")


def is_navigation(scope: Scope) -> bool:
    """Whether a browser sends this to show the answer to its user.

    Browsers say so (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/), but not to a server that is reached by
    plain HTTP from elsewhere; then an `Accept` that prefers HTML has to do. Nobody navigates to a part of a file.
    """
    headers = Headers(scope=scope)
    if "range" in headers:
        return False
    mode = headers.get("sec-fetch-mode")
    if mode is not None:
        return mode.lower() == "navigate" and headers.get("sec-fetch-dest", "document").lower() in _FRAMES
    return _prefers_html(",".join(headers.getlist("accept")))


def _prefers_html(accept: str) -> bool:
    """Whether `Accept` names HTML, and prefers it to JSON (RFC 9110 §12.5.1)."""
    weights = {}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = next((value for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"), "1")
        weights[kind] = _weight(weight.strip())
    html = weights.get(_HTML, 0)
    named = [weights[kind] for kind in (_JSON, "application/problem+json") if kind in weights]
    # What is named is preferred to what only a wildcard covers.
    return html > max(named) if named else 0 < html >= weights.get("*/*", 0)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0


def error_page(request: Request, problem: Problem) -> Response:
    """The page of an error, with its status and headers, but for Basic, which would have the browser itself ask."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    words = _WORDS.get(problem.kind or problem.status_code, _OTHER)
    if words is _WORDS[404] and path.startswith(("/file/", "/download/")):
        words = _NO_FILE
    match = FILE_ID.search(path)
    members = {"size": size_text(problem.members.get("limit", 0)), **problem.members}
    headers = {
        name: value for name, value in problem.headers.items() if not name.startswith(("content-", "x-content-"))
    }
    if headers.get("www-authenticate", "").startswith("Basic"):
        headers["www-authenticate"] = FORM_CHALLENGE
    return PAGES.render(
        request,
        "error.html",
        problem.status_code,
        headers,
        title=words.title,
        detail=words.detail.format_map(members),
        way=words.way,
        landing=None if match is None else f"{path_prefix(request)}/download/{match[0]}",
    )


def to_landing_page(request: Request, file_id: str) -> Response:
    """Send a browser to where it can enter the password of a file."""
    query = f"?{request.url.query}" if request.url.query else ""
    location = f"{path_prefix(request)}/download/{file_id}{query}"
    return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": location, **page_headers()})
