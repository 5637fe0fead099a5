"""Uppy in a real browser, configured as in docs/large-files.md, on a page of another origin than the API."""

from __future__ import annotations

import contextlib
import filecmp
import functools
import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Response, Route

from tests.browser.conftest import WITHIN
from tests.client.ways import TOKEN, emulated
from tests.pages import ADDRESS, block
from tests.wire.server import ROOT, Server, until

UPPY = ROOT / "tests" / "uppy"
MIB = 1024 * 1024
# The size of Uppy's parts for files below 50 GB.
PART = 5 * MIB
SIZE = PART + 1
COUNT = 2

PAGE = b"<!doctype html><title>Uppy</title><input id=files type=file multiple><script src=bundle.js></script>"
ADD = """([file]) => uppy.addFile({ source: "test", name: file.name, type: file.type, data: file })"""
UPLOAD = """async () => {
    const { successful, failed } = await uppy.upload();
    return { links: successful.map((file) => file.uploadURL), failed: failed.map((file) => file.error) };
}"""


@dataclass(frozen=True)
class Site:
    """An API that pages of `origin` can use, and the folder that those pages come from."""

    server: str
    token: str
    origin: str
    folder: Path

    def api(self, path: str) -> dict[str, Any]:
        response = httpx.get(f"{self.server}{path}", headers=authorization(self.token), trust_env=False, timeout=60)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


def authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture(scope="session")
def bundled() -> Callable[[str], bytes]:
    """Bundles a module and its packages into one script, and installs missing packages."""
    required = os.environ.get("REQUIRE_CHROMIUM") == "1"
    npm = shutil.which("npm")
    if npm is None:
        assert not required, "REQUIRE_CHROMIUM is set, and there is no npm on PATH"
        pytest.skip("there is no npm on PATH")
    lock, installed = UPPY / "package-lock.json", UPPY / "node_modules" / ".installed"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved"]
        run = subprocess.run(command, cwd=UPPY, capture_output=True, text=True, timeout=300, check=False)
        if run.returncode:
            assert not required, run.stderr
            pytest.skip(f"npm cannot install Uppy: {run.stderr}")
        installed.write_bytes(lock.read_bytes())

    def bundle(source: str) -> bytes:
        command = [str(UPPY / "node_modules" / ".bin" / "esbuild"), "--bundle", "--format=iife", "--log-level=warning"]
        run = subprocess.run(command, cwd=UPPY, input=source.encode(), capture_output=True, timeout=60, check=False)
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout

    return bundle


def as_documented(server: str, token: str) -> str:
    """The configuration from docs/large-files.md for such a server, and the page's name for it."""
    source = block("js", "companionEndpoint").replace(ADDRESS, server)
    if token:
        plain = re.compile(r"^uppy\.use\(.*\n", re.MULTILINE)
        source, count = plain.subn("", source)
        assert count == 1
        source += block("js", "signRequest").replace("a-long-random-token", token)
    assert server in source
    assert token in source
    return f"{source}\nglobalThis.uppy = uppy;\n"


@contextlib.contextmanager
def pages(folder: Path) -> Iterator[str]:
    """Serves the files of a folder; yields the origin."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def in_directory(folder: Path, token: str, origin: str) -> Iterator[str]:
    variables = {"SHARE_CORS_ORIGINS": origin, "SHARE_API_TOKEN": token}
    with Server(folder / "data", **{name: value for name, value in variables.items() if value}) as server:
        yield f"http://127.0.0.1:{server.port}"


@contextlib.contextmanager
def in_emulator(folder: Path, token: str, origin: str) -> Iterator[str]:
    """The emulated deployment of a template with another origin and other access."""
    source = folder / "source"
    source.mkdir()
    template = (ROOT / "template.yaml").read_text()
    template, count = re.subn(r'(  CorsOrigins:\n.*\n    Default: )""\n', rf'\1"{origin}"\n', template)
    assert count == 1
    if not token:
        template, count = re.subn(r"SHARE_API_TOKEN_SECRET: !Ref \w+", 'SHARE_API_TOKEN_SECRET: ""', template)
        assert count > 1
    (source / "template.yaml").write_text(template)
    for code in ("functions", "shared"):
        (source / code).symlink_to(ROOT / code)
    with emulated(folder, source) as way:
        yield way.address


SITES = [
    pytest.param((kind, token), id=f"{kind.__name__}{'-with-a-token' * bool(token)}")
    for kind in (in_directory, in_emulator)
    for token in ("", TOKEN)
]


@pytest.fixture(scope="module", params=SITES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bundled: Callable[[str], bytes]
) -> Iterator[Site]:
    kind, token = request.param
    folder = tmp_path_factory.mktemp("uppy")
    (folder / "page").mkdir()
    with pages(folder / "page") as origin, kind(folder, token, origin) as server:
        (folder / "page" / "index.html").write_bytes(PAGE)
        (folder / "page" / "bundle.js").write_bytes(bundled(as_documented(server, token)))
        yield Site(server, token, origin, folder)


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    context = chromium.new_context()
    context.set_default_timeout(WITHIN)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    page = context.new_page()
    page.goto(site.origin)
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "größe & co.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def add(page: Page, file: Path) -> str:
    """Add the file to Uppy. Returns its ID there."""
    page.set_input_files("#files", str(file))
    files = page.evaluate_handle("document.getElementById('files').files")
    name: str = page.evaluate(ADD, files)
    return name


def upload(page: Page) -> str:
    """Let Uppy send its only file. Returns the link that it receives."""
    result = page.evaluate(UPLOAD)
    assert result["failed"] == []
    (link,) = result["links"]
    return str(link)


def test_a_file_goes_up_in_parts(page: Page, site: Site, large: Path, tmp_path: Path) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "PUT" else None)
    add(page, large)
    link = upload(page)
    assert len(sent) == COUNT
    # A part's URL is sufficient, so no token is sent.
    assert not [request for request in sent if "authorization" in request.headers]
    metadata = site.api(link.removeprefix(site.server).replace("/download/", "/metadata/"))
    assert (metadata["original_name"], metadata["file_size"], metadata["max_downloads"]) == (large.name, SIZE, 5)
    created, expires = (datetime.fromisoformat(metadata[name]) for name in ("created_at", "expires_at"))
    assert expires - created == timedelta(days=7)
    with httpx.stream("GET", link, follow_redirects=True, trust_env=False, timeout=60) as response:
        (tmp_path / "fetched").write_bytes(response.read())
    assert filecmp.cmp(large, tmp_path / "fetched", shallow=False)


def test_an_empty_file_goes_up_by_form(page: Page, site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    add(page, tmp_path / "empty.txt")
    upload(page)
    (metadata,) = [metadata for metadata in site.api("/file/metadata/").values() if metadata["file_size"] == 0]
    assert (metadata["original_name"], metadata["max_downloads"]) == ("empty.txt", 5)
    assert metadata["expires_at"] is not None


def test_an_upload_goes_on_after_the_page_was_left(page: Page, site: Site, large: Path) -> None:
    sent: list[int] = []
    let_through = 1

    def pass_on(route: Route) -> None:
        if route.request.method == "PUT":
            if len(sent) == let_through:
                # Never answered, as on a dead connection.
                return
            # Our part URLs, and those of S3.
            number = re.search(r"/([0-9]+)\?|partNumber=([0-9]+)", route.request.url)
            assert number is not None
            sent.append(int(number[1] or number[2]))
        route.continue_()

    page.route("**/*", pass_on)
    # Parts that were sent are not stored before they are answered.
    stored: list[Response] = []
    page.on("response", lambda response: stored.append(response) if response.request.method == "PUT" else None)
    file = add(page, large)
    page.evaluate("() => { uppy.upload(); }")
    until(lambda: bool(page.evaluate("true")) and len(stored) == let_through)
    kept = page.evaluate("(file) => uppy.getFile(file).s3Multipart", file)

    page.reload()
    let_through = COUNT
    assert add(page, large) == file
    # As Golden Retriever does, which keeps this state between visits.
    page.evaluate("([file, s3Multipart]) => uppy.setFileState(file, { s3Multipart })", [file, kept])
    link = upload(page)
    # Each once. Several are sent at a time.
    assert sorted(sent) == [1, 2]
    assert httpx.get(link, follow_redirects=True, trust_env=False, timeout=60).content == large.read_bytes()


def test_an_upload_that_is_cancelled_is_given_up(page: Page, site: Site, large: Path) -> None:
    page.route("**/*", lambda route: None if route.request.method == "PUT" else route.continue_())
    file = add(page, large)
    with page.expect_request(lambda request: request.method == "PUT"):
        page.evaluate("() => { uppy.upload(); }")
    kept = page.evaluate("(file) => uppy.getFile(file).s3Multipart", file)
    with page.expect_response(lambda response: response.request.method == "DELETE") as given_up:
        page.evaluate("uppy.cancelAll()")
    assert given_up.value.status == 200
    parts = f"{site.server}/file/s3/multipart/{kept['uploadId']}"
    asked = httpx.get(
        parts, params={"key": kept["key"]}, headers=authorization(site.token), trust_env=False, timeout=60
    )
    assert asked.status_code == 404
