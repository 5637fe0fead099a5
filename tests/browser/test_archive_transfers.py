"""Archives in transit: ranges, resuming, files that change, and thousands of files."""

from __future__ import annotations

import io
import random
import re
import zipfile
import zlib
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.archive_page import answer, archive, body, contents, drop_paths, upload, write
from tests.browser.axe import no_violations
from tests.browser.firefox import Firefox
from tests.browser.upload_page import choose, row, share_more
from tests.client.proxy import HeldUp, Proxy
from tests.servers import free_ports
from tests.wire.server import Server, until

MIB = 2**20
PARTS = "**/file/s3/multipart/**"
NAMES = ["報告書 年次.txt", "e\u0301te\u0301.txt", "😀.bin", "empty.txt"]


def films() -> dict[str, bytes]:
    """Files whose archive has three parts of at most 8 MiB. The second file begins in the second part."""
    return {f"Films/{number}.bin": random.Random(number).randbytes(size * MIB) for number, size in enumerate((9, 4, 4))}


def part_numbers(proxy: Proxy) -> list[int]:
    return sorted(seen.part_number for seen in proxy.seen if seen.is_part)


def test_any_range_is_that_of_the_whole(page: Page, tmp_path: Path) -> None:
    choice = random.Random(300)
    sizes = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 7, *(choice.randrange(3000) for _ in range(50))]
    write(tmp_path, {f"{number}.bin": choice.randbytes(size) for number, size in enumerate(sizes)})
    choose(page, *sorted(tmp_path.iterdir()))
    with page.expect_request(re.compile("multipart")):
        upload(page)
    whole = body(page)
    assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None
    version = page.evaluate("document.querySelector('script[src]').src.replace('upload.js', '')")
    starts = [choice.randrange(len(whole)) for _ in range(300)]
    # Mostly short, because reading is slow.
    ranges = [(start, min(start + choice.randrange(2 ** choice.randrange(1, 23)), len(whole))) for start in starts]
    page.evaluate(
        """([base]) => {
            const make = async () => {
                const { ArchiveSource } = await import(base + "archive.js");
                const { FileSource } = await import(base + "sources.js");
                const files = [...document.getElementById("ranges").files].map((file) => new FileSource(file));
                window.source = await ArchiveSource.open("ranges.zip", files);
            };
            const field = document.createElement("input");
            Object.assign(field, { id: "ranges", type: "file", multiple: true, onchange: make });
            document.body.append(field);
        }""",
        [version],
    )
    page.set_input_files("#ranges", [str(path) for path in sorted(tmp_path.iterdir())])
    until(lambda: bool(page.evaluate("window.source !== undefined")))
    assert page.evaluate("source.size") == len(whole)
    crcs = page.evaluate(
        """async (ranges) => {
            const crcs = [];
            for (const [start, stop] of ranges) {
                const { body, checksum } = await source.read(start, stop);
                crcs.push([body.length, checksum]);
            }
            return crcs;
        }""",
        ranges,
    )
    assert crcs == [[stop - start, zlib.crc32(whole[start:stop])] for start, stop in ranges]


def test_an_archive_resumes_after_the_page_was_closed(context: BrowserContext, proxy: Proxy, tmp_path: Path) -> None:
    files = films()
    write(tmp_path, files)
    proxy.before = hold = HeldUp(passing=2)
    first = context.new_page()
    first.goto(proxy.address)
    drop_paths(first, tmp_path / "Films")
    upload(first)
    hold.wait(proxy, held=1)
    stored = "Object.values(localStorage).map((text) => JSON.parse(text).begun?.share ?? 0)"
    until(lambda: max(first.evaluate(stored), default=0) > 0.9)
    first.close()
    assert part_numbers(proxy) == [1, 2, 3]

    proxy.reset()
    second = context.new_page()
    second.goto(proxy.address)
    words = "Interrupted: choose or drop the 3 files in \u2068Films.zip\u2069 again to continue (94%)."
    expect(second.get_by_text(words)).to_be_visible()
    no_violations(second)
    field = second.locator("#interrupted-rows input")
    # A file of the same size and time, but with other bytes in the second part: that part is sent again.
    changed = bytes([files["Films/1.bin"][0] ^ 1]) + files["Films/1.bin"][1:]
    write(tmp_path, {"Films/1.bin": changed})
    field.set_input_files(str(tmp_path / "Films"))
    assert contents(archive(second)) == {**files, "Films/1.bin": changed}
    assert part_numbers(proxy) == [2, 3]
    assert second.evaluate("Object.keys(localStorage)") == ["files"]
    # Not before: Chromium sends a request again if its connection ends.
    hold.release()


def test_parts_of_an_archive_stay_small_however_fast_the_connection(page: Page, tmp_path: Path) -> None:
    """They are in memory, up to three at once. Those of a file on the disk can be larger."""
    sent: list[str] = []
    write(tmp_path, {"one.bin": bytes(5 * MIB), "a.bin": bytes(9 * MIB), "b.bin": bytes(9 * MIB)})
    # Measures the connection.
    choose(page, tmp_path / "one.bin")
    answer(page)
    share_more(page)
    page.on("request", lambda request: sent.append(request.method) if "/multipart/" in request.url else None)
    choose(page, tmp_path / "a.bin", tmp_path / "b.bin")
    upload(page)
    answer(page)
    assert sent.count("PUT") >= 3


def test_a_file_that_changes_between_its_checksum_and_its_sending_fails_by_name(page: Page, tmp_path: Path) -> None:
    write(tmp_path, {"a.bin": bytes(MIB), "b.bin": bytes(9 * MIB)})
    held: list[Route] = []
    page.route(PARTS, lambda route: held.append(route) if route.request.method == "PUT" else route.continue_())
    choose(page, tmp_path / "a.bin", tmp_path / "b.bin")
    upload(page)
    until(lambda: bool(page.evaluate("true")) and len(held) == 1)
    # The header of b.bin is in the first part, so its checksum is known. Its time stays the same.
    write(tmp_path, {"b.bin": bytes(9 * MIB - 1) + b"!"})
    held[0].continue_()
    words = "b.bin changed or disappeared after you chose it. Choose it again."
    expect(row(page, "2 files.zip").locator(".detail")).to_have_text(words)
    no_violations(page)
    row(page, "2 files.zip").locator(".remove").click()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    until(lambda: page.evaluate("Object.keys(localStorage)") == [])


def test_an_archive_outlives_a_server_that_is_killed(context: BrowserContext, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    files = films()
    write(tmp_path, files)
    page = context.new_page()
    with Proxy(port) as proxy:
        proxy.before = hold = HeldUp(passing=2)
        with Server(tmp_path / "data", "--port", str(port)) as server:
            page.goto(proxy.address)
            drop_paths(page, tmp_path / "Films")
            upload(page)
            hold.wait(proxy, held=1)
            server.process.kill()
            server.process.wait()
        hold.release()
        expect(page.get_by_role("heading", name="Reconnecting…")).to_be_visible()
        proxy.reset()
        with Server(tmp_path / "data", "--port", str(port)):
            assert contents(archive(page)) == files
        page.close()


def test_thousands_of_files_keep_the_page_responsive(page: Page, tmp_path: Path) -> None:
    page.evaluate("""() => {
        const { postMessage } = Worker.prototype;
        window.groups = [];
        Worker.prototype.postMessage = function (message, ...rest) {
            if (message.method === "add") groups.push(message.argument.length);
            postMessage.call(this, message, ...rest);
        };
        const transfer = new DataTransfer();
        for (let number = 0; number < 3000; number++) transfer.items.add(new File([String(number)], `${number}.txt`));
        const clipboardData = transfer;
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }""")
    expect(page.get_by_role("heading", name="3,000 files")).to_be_visible()
    # Not one row per file.
    expect(page.locator("#pack-rows > li")).to_have_count(50)
    expect(page.get_by_text("and 2,950 more")).to_be_visible()
    upload(page)
    assert contents(archive(page)) == {f"{number}.txt": str(number).encode() for number in range(3000)}
    # The worker gets the files in groups, and the page can do other work between groups.
    groups = page.evaluate("groups")
    assert sum(groups) == 3000
    assert max(groups) <= 500


def test_looking_up_files_leaves_the_page_time_for_other_things(page: Page, tmp_path: Path) -> None:
    """Chromium asks for each size and each dropped file by a call that blocks the page."""
    ran = page.evaluate("""async () => {
        const { src } = document.querySelector("script[src]");
        const { sourcesOf } = await import(src.replace("upload.js", "sources.js"));
        // Each size takes 15 ms by this clock, and the page is to pause after 20 ms.
        let now = 0;
        performance.now = () => now;
        const slow = { get size() { now += 15; return 1; }, name: "a" };
        const othersRun = async (files) => {
            let ran = false;
            setTimeout(() => (ran = true));
            const sources = await sourcesOf(files);
            return [sources.length, ran];
        };
        return [await othersRun([slow]), await othersRun(Array(10).fill(slow))];
    }""")
    assert ran == [[1, False], [10, True]]
    page.reload()
    # Chromium has no global name for the class of dropped files.
    page.evaluate("""() => document.addEventListener("drop", ({ dataTransfer }) => {
        const dropped = [...dataTransfer.items].map((item) => item.webkitGetAsEntry()).find((entry) => entry.isFile);
        const { file } = dropped;
        window.most = 0;
        let open = 0;
        Object.getPrototypeOf(dropped).file = function (resolve, reject) {
            most = Math.max(most, ++open);
            file.call(this, (result) => { open--; resolve(result); }, reject);
        };
    }, { capture: true })""")
    write(tmp_path, {f"Photos/{folder}/{number}.txt": b"x" for folder in range(3) for number in range(101)})
    write(tmp_path, {"notes.txt": b"notes"})
    drop_paths(page, tmp_path / "Photos", tmp_path / "notes.txt")
    expect(page.get_by_role("heading", name="304 files")).to_be_visible()
    assert 0 < page.evaluate("most") <= 100


def test_firefox_makes_archives_too(firefox: Firefox, server: Server, tmp_path: Path) -> None:
    files = {name: name.encode() * 300_000 for name in NAMES}
    write(tmp_path / "files", files)
    firefox.command("WebDriver:Navigate", url=f"http://127.0.0.1:{server.port}/")
    paths = "\n".join(str(tmp_path / "files" / name) for name in files)
    firefox.command("WebDriver:ElementSendKeys", id=firefox.element("#chosen"), text=paths)
    firefox.command("WebDriver:ElementClick", id=firefox.element("#pack-upload"))
    link = "return document.querySelector('#ready .field input')?.value"
    until(lambda: firefox.run("content", link) is not None)
    status, data = server.get(f"/file/download/{firefox.run('content', link).rpartition('/')[2]}")
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert contents(opened) == files
