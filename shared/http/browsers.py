"""Error pages for people, where programs get a problem document. They say what happened and what to do next."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from shared.http.pages import Pages, page_headers, path_prefix, size_text
from shared.sharing import FILE_ID

if TYPE_CHECKING:
    from shared.http.problems import Problem

PAGES = Pages(Path(__file__).parents[2] / "functions" / "pages")
# A 401 must name a scheme (RFC 9110 §15.5.2).
FORM_CHALLENGE = 'Form realm="shared file"'

_METHODS = ("GET", "HEAD", "POST")
_FRAMES = ("document", "frame", "iframe")
_HTML, _JSON = "text/html", "application/json"


def is_navigation(scope: Scope) -> bool:
    """Whether a browser sends this to show the answer to its user.

    Browsers report this (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/), but not by plain HTTP to a server on
    another machine. In that case, `Accept` must prefer HTML. Navigation never requests a part of a file, and uses only
    the methods of links and forms.
    """
    headers = Headers(scope=scope)
    if scope["method"] not in _METHODS or "range" in headers:
        return False
    mode = headers.get("sec-fetch-mode")
    if mode is not None:
        return mode.lower() == "navigate" and headers.get("sec-fetch-dest", "document").lower() in _FRAMES
    return _prefers_html(",".join(headers.getlist("accept")))


def _prefers_html(accept: str) -> bool:
    """Whether `Accept` names HTML, and prefers it to JSON (RFC 9110 §12.5.1)."""
    if _HTML not in accept.lower():
        return False
    weights = {}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = next((value for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"), "1")
        weights[kind] = _weight(weight.strip())
    html = weights.get(_HTML, 0)
    json_weights = [weights[kind] for kind in (_JSON, "application/problem+json") if kind in weights]
    # A named type is preferred to one that only a wildcard covers.
    return html > max(json_weights) if json_weights else 0 < html >= weights.get("*/*", 0)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0


def error_page(request: Request, problem: Problem) -> Response:
    """The page of an error, with its status and headers, except Basic: the browser would show its own prompt."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    name = problem.kind or str(problem.status_code)
    if name == "404" and path.startswith(("/file/", "/download/")):
        name = "no-file"
    elif name == "404" and path.startswith("/inbox/"):
        name = "no-inbox"
    texts = getattr(PAGES.texts.errors, name, PAGES.texts.errors.other)
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
        title=texts.title,
        detail=texts.detail.format_map(members),
        way=texts.way,
        landing=None if match is None else f"{path_prefix(request)}/download/{match[0]}",
    )


def to_landing_page(request: Request, file_id: str) -> Response:
    """Redirect a browser to the page where its user can enter the password of a file."""
    location = f"{path_prefix(request)}/download/{file_id}{entry_query(request)}"
    return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": location, **page_headers()})


def entry_query(request: Request) -> str:
    """The query that requests the same archive entry as this request; empty if this requests the whole file."""
    entry = request.query_params.get("entry")
    return "" if entry is None else f"?{urlencode({'entry': entry})}"
