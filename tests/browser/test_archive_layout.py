"""The page's archive layout in both browsers: it produces the same bytes as the client's."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser
from share.archive.layout import Layout, Member

from tests.archives import Ranges
from tests.browser.firefox import Firefox
from tests.client.archive_vectors import PATH, TIME
from tests.wire.server import ROOT, until

HARNESS = """<!doctype html><title>waiting</title><script type="module">
import { Layout } from "./zip-layout.js";
import { crc32 } from "./crc32.js";

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const text = (string) => new TextEncoder().encode(string);
const sha256 = async (bytes) => hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
// A Blob of as many pieces takes ten times as long.
const joined = (pieces) => {
    const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const piece of pieces) {
        whole.set(piece, at);
        at += piece.length;
    }
    return whole;
};

window.vector = async ({ members, count, each }) => {
    members ??= Array.from({ length: count }, (_, number) => ({ ...each, name: String(number) }));
    const layout = new Layout(members);
    const structure = [];
    const whole = [];
    for (const piece of layout.pieces(0, layout.size)) {
        const bytes = piece instanceof Uint8Array;
        if (bytes) structure.push(piece);
        const content = text(members[piece.index]?.content ?? "");
        whole.push(bytes ? piece : content.subarray(piece.start, piece.stop));
    }
    const all = joined(whole);
    const short = all.length === layout.size && all.length < 500;
    const crcs = members.filter(({ content }) => content !== undefined)
        .map(({ content }) => crc32(text(content)));
    return { size: layout.size, structure: await sha256(joined(structure)), hex: short ? hex(all) : null, crcs };
};
window.ranges = async ({ names, rows, ranges }) => {
    const member = ([name, end, size, modified, crc]) => ({ name: names[name] + end, size, modified, crc });
    const layout = new Layout(rows.map(member));
    const place = ({ index, start, stop }) => text(`[${index}, ${start}, ${stop}]`);
    const shown = (piece) => piece instanceof Uint8Array ? piece : place(piece);
    const digest = (range) => sha256(joined([...layout.pieces(...range)].map(shown)));
    return { size: layout.size, digests: await Promise.all(ranges.map(digest)) };
};
window.crc32 = crc32;
document.title = "ready";
</script>"""
ANSWER = "return document.documentElement.dataset.answer ?? null"
VECTORS = json.loads(PATH.read_text())
NAMES = ["a", "漢字/", "e\u0301te\u0301 ", "f/😀", "long/" * 300, "Ünï"]
SIZES = [0, 1, 10**6, 2**32 - 2, 2**32 - 1, 2**32, 5 * 2**40]
TIMES = [-5 * 10**9, -1, 0, TIME, 2**31 - 1, 2**31, 10**11, 5 * 10**11]


class Handler(SimpleHTTPRequestHandler):
    """Serves the pages' scripts, and a page that exports their functions for tests."""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(HARNESS.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def harness() -> Iterator[str]:
    handler = partial(Handler, directory=str(ROOT / "functions" / "pages" / "static"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def check(vector: dict[str, Any], answer: dict[str, Any]) -> None:
    assert answer["size"] == vector["size"]
    assert answer["structure"] == vector["structure_sha256"]
    assert answer["hex"] == vector.get("hex")
    assert answer["crcs"] == [member["crc"] for member in vector.get("members", []) if "content" in member]


def test_chromium_makes_the_archives_of_the_vectors(chromium: Browser, harness: str) -> None:
    page = chromium.new_page()
    page.goto(harness)
    page.wait_for_function("document.title === 'ready'")
    for vector in VECTORS:
        check(vector, page.evaluate("(vector) => window.vector(vector)", vector))
    page.close()


def test_firefox_makes_the_archives_of_the_vectors(firefox: Firefox, harness: str) -> None:
    firefox.command("WebDriver:Navigate", url=harness)
    until(lambda: bool(firefox.run("content", "return document.title === 'ready'")))
    for vector in VECTORS:
        # In a script of the page, because Firefox isolates test scripts from page scripts.
        script = """
            const script = document.createElement("script");
            script.textContent = `vector(${arguments[0]}).then((answer) => {
                document.documentElement.dataset.answer = JSON.stringify(answer);
            })`;
            delete document.documentElement.dataset.answer;
            document.body.append(script);
        """
        firefox.run("content", script, json.dumps(vector))
        until(lambda: firefox.run("content", ANSWER) is not None)
        check(vector, json.loads(firefox.run("content", ANSWER)))


def digest(ranges: Ranges, start: int, stop: int) -> str:
    """The SHA-256 of this range, with the places of what comes from files."""
    shown = (piece if isinstance(piece, bytes) else str(list(piece)).encode() for piece in ranges.pieces(start, stop))
    return hashlib.sha256(b"".join(shown)).hexdigest()


def test_any_range_of_random_archives_is_that_of_the_client(chromium: Browser, harness: str) -> None:
    page = chromium.new_page()
    page.goto(harness)
    page.wait_for_function("document.title === 'ready'")
    choice = random.Random(23)
    for count in [*range(12), 50, 300, 70_000]:
        rows = []
        for number in range(count):
            folder = choice.random() < 0.2
            size = 0 if folder or count > 300 else choice.choice(SIZES)
            name = choice.randrange(len(NAMES))
            rows.append((name, f"{number}{'/' * folder}", size, choice.choice(TIMES), choice.getrandbits(32)))
        layout = Layout([Member(NAMES[name] + end, *others) for name, end, *others in rows])
        expected = Ranges(layout)
        # Many ranges start near the directory, which has most of the structure.
        starts = [0] + [max(0, layout.size - choice.randrange(2 ** choice.randrange(1, 44))) for _ in range(30)]
        ranges = [(start, min(start + choice.randrange(10**5), layout.size)) for start in starts]
        # Each name is passed once, because the long one would be most of the text.
        archive = {"names": NAMES, "rows": rows, "ranges": ranges}
        # As one text, because Playwright passes each value of an object by itself, which takes long for 70,000 members.
        answer = page.evaluate("(archive) => window.ranges(JSON.parse(archive))", json.dumps(archive))
        assert answer["size"] == layout.size
        assert answer["digests"] == [digest(expected, start, stop) for start, stop in ranges]
    page.close()


def test_checksums_are_those_of_zlib_however_the_bytes_are_cut(chromium: Browser, harness: str) -> None:
    page = chromium.new_page()
    page.goto(harness)
    page.wait_for_function("document.title === 'ready'")
    data = random.Random(32).randbytes(100)
    for cut in range(len(data) + 1):
        crc = page.evaluate(
            "([first, second]) => crc32(Uint8Array.from(second), crc32(Uint8Array.from(first)))",
            [list(data[:cut]), list(data[cut:])],
        )
        assert crc == zlib.crc32(data)
    page.close()
