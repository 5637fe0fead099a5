"""States of the pages when something is wrong, and of the list of all files."""

from __future__ import annotations

import json
from types import SimpleNamespace
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, expect
from starlette.requests import Request

from shared.errors import Contended, ShareError, StorageUnavailable
from shared.http.browsers import error_page
from shared.http.problems import TYPE_PREFIX, from_error
from tests.browser.upload_page import UPLOADS, drop

METADATA = "**/file/metadata"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _unable(page: Page, kind: str, heading: str) -> None:
    """Start an upload that the server refuses for now, for a reason of this kind."""
    page.route("**/health", lambda route: route.fulfill(status=503))
    problem = {"type": TYPE_PREFIX + kind, "status": 503, "detail": "Try again."}
    page.route(UPLOADS, lambda route: _fail(route, problem))
    drop(page, ("Annual report 2026.pdf", "x" * 41_000), ("Notes.txt", "x" * 9000))
    expect(page.get_by_role("heading", name=heading)).to_be_visible()


def _fail(route: Route, problem: dict[str, object]) -> None:
    headers = {"Retry-After": "2", "Content-Type": "application/problem+json"}
    route.fulfill(status=503, headers=headers, body=json.dumps(problem))


def busy(page: Page) -> None:
    _unable(page, "busy", "The server is busy")


def storage_unavailable(page: Page) -> None:
    _unable(page, "storage-unavailable", "Storage is unavailable")


def error_address(page: Page) -> None:
    page.goto("/no/such/page")


def error_again(page: Page) -> None:
    many = {f"X-{number}": "x" for number in range(300)}
    page.route("**/file", lambda route: route.continue_(headers={**route.request.headers, **many}))
    page.goto("/file")
    expect(page.get_by_role("link", name="Try again")).to_be_visible()


def _error(page: Page, error: ShareError) -> None:
    """Show the error page for an error that this server cannot be made to produce."""
    title = page.locator("header a").first.inner_text()
    service = SimpleNamespace(settings=SimpleNamespace(title=title, accent=None, public_url=None))
    address = urlsplit(page.url)
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": address.scheme,
        "server": (address.hostname, address.port),
        "path": "/file",
        "query_string": b"",
        "headers": [(b"host", address.netloc.encode())],
        "app": SimpleNamespace(state=SimpleNamespace(service=service)),
    }
    answer = error_page(Request(scope), from_error(error))
    headers = dict(answer.headers)
    page.route("**/file", lambda route: route.fulfill(status=answer.status_code, headers=headers, body=answer.body))
    page.goto("/file")
    expect(page.get_by_role("link", name="Try again")).to_be_visible()


def error_busy(page: Page) -> None:
    _error(page, Contended(UNKNOWN))


def error_storage(page: Page) -> None:
    _error(page, StorageUnavailable("no answer"))


def all_sign_in(page: Page) -> None:
    problem = {"type": TYPE_PREFIX + "token-required", "status": 401}
    page.route(
        METADATA,
        lambda route: route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem)),
    )
    page.goto("/file")
    expect(page.get_by_label("Access token")).to_be_visible()


def _all_files(page: Page, *names: str) -> None:
    files = {
        f"00000000-0000-4000-8000-{number:012}": {
            "original_name": name,
            "file_size": 41_000 * (number + 1),
            "download_count": number,
            "created_at": "2026-11-27T10:15:00Z",
            "expires_at": None if number % 2 else "2027-12-04T10:15:00Z",
            "max_downloads": 2 if number == 2 else None,
            "password_protected": number == 1,
            "download_page": f"https://files.example.org/download/00000000-0000-4000-8000-{number:012}",
        }
        for number, name in enumerate(names)
    }
    page.route(f"{METADATA}/*", lambda route: route.fulfill(json=files[route.request.url[-36:]]))
    page.route(METADATA, lambda route: route.fulfill(json=files))
    page.goto("/file")


def all_files(page: Page) -> None:
    _all_files(page, "Annual report 2026.pdf", "Site visit.zip", "Notes.txt", "a long name, " * 18 + ".docx")
    expect(page.locator("#rows > li")).to_have_count(4)


def all_empty(page: Page) -> None:
    _all_files(page)
    expect(page.get_by_text("There are no files here yet.")).to_be_visible()


def all_unreachable(page: Page) -> None:
    page.route(METADATA, lambda route: route.fulfill(status=507, json={"detail": "Not enough space."}))
    page.goto("/file")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def all_busy(page: Page) -> None:
    page.route("**/health", lambda route: route.fulfill(status=503))
    problem = {"type": TYPE_PREFIX + "storage-unavailable", "status": 503}
    page.route(METADATA, lambda route: route.fulfill(status=503, body=json.dumps(problem)))
    page.goto("/file")
    expect(page.get_by_text("Storage is unavailable")).to_be_visible()


ERROR_STATES = (
    busy,
    storage_unavailable,
    error_address,
    error_again,
    error_busy,
    error_storage,
    all_sign_in,
    all_files,
    all_empty,
    all_unreachable,
    all_busy,
)
