"""What a visitor does on the upload page, and where its elements are."""

from __future__ import annotations

import itertools
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, Route, expect

from tests.wire.server import until

UPLOADS = "**/file/upload?**"


def drop(page: Page, *files: tuple[str, str]) -> None:
    """Drop files of these names and texts on the page. Several get a link each."""
    drop_together(page, *files)
    if len(files) > 1:
        upload_each(page)


def upload_each(page: Page) -> None:
    """Upload the chosen files with a link for each."""
    page.locator("#pack-each").check()
    page.locator("#pack-upload").click()


def drop_together(page: Page, *files: tuple[str, str]) -> None:
    """Drop files of these names and texts on the page. Several become one link when the page is told to upload."""
    # A letter that fills a file is passed only once: passing megabytes takes longer than uploading them.
    parts = [(name, text[:1], len(text)) if text == text[:1] * len(text) else (name, text, 1) for name, text in files]
    transfer = page.evaluate_handle(
        """(parts) => {
            const transfer = new DataTransfer();
            for (const [name, part, count] of parts) {
                transfer.items.add(new File([part.repeat(count)], name, { type: "text/plain" }));
            }
            return transfer;
        }""",
        [list(part) for part in parts],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def choose(page: Page, *files: Path) -> None:
    page.set_input_files("#chosen", [str(file) for file in files])


def row(page: Page, name: str) -> Locator:
    """The row of a file that is being uploaded."""
    return page.locator("#rows > li", has_text=name)


def file(page: Page, name: str) -> Locator:
    """The row of a file that this browser has shared."""
    return page.locator("#file-rows > li", has_text=name)


def link(page: Page, name: str) -> str:
    """The link to the newest file of this name, once all uploads are done."""
    expect(page.locator("#more")).to_be_visible()
    address: str = page.evaluate(
        "(name) => JSON.parse(localStorage.files).find((file) => file.original_name.includes(name)).download_page", name
    )
    return address


def all_links(page: Page) -> list[str]:
    """The links to several files, once all uploads are done."""
    page.get_by_role("button", name="Copy all").click()
    return page.locator("#all-links").input_value().split("\n")


def share_more(page: Page) -> None:
    """Go back to choosing files, once all uploads are done."""
    page.get_by_role("button", name="Share more files").click()


def open_options(page: Page, name: str) -> None:
    """Open the dialog of a file that this browser has shared."""
    file(page, name).get_by_role("button", name="Options").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def delete(page: Page, name: str) -> None:
    page.once("dialog", lambda dialog: dialog.accept())
    open_options(page, name)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def setting(page: Page, name: str, value: str) -> None:
    """Open the chip of a setting ("limit", "password"), enter a value, and close it."""
    page.locator(f"#settings .chip[data-of={name}]").click()
    page.locator(f"#settings [name={name}]").fill(value)
    page.keyboard.press("Enter")


def chips(page: Page) -> list[str]:
    return page.locator("#settings .chip").all_inner_texts()


def hold(page: Page, address: str) -> list[Route]:
    """Hold requests to these addresses. Returns the list of held requests, which grows."""
    held: list[Route] = []
    page.route(address, lambda route: held.append(route))
    return held


def upload_of(page: Page, held: list[Route], name: str) -> Route:
    """The latest upload of a file, once it is held. Requests can arrive in another order than their files."""

    def uploads() -> list[Route]:
        return [route for route in held if parse_qs(urlsplit(route.request.url).query)["filename"] == [name]]

    until(lambda: bool(page.evaluate("true")) and uploads() != [])
    return uploads()[-1]


def note_questions(page: Page, about: str = "/file/metadata/") -> None:
    """Have the page note what it asks about files, by its own clock, from when it is loaded again."""
    script = """
        window.asked = [];
        window.unanswered = 0;
        const { open } = XMLHttpRequest.prototype;
        XMLHttpRequest.prototype.open = function (method, address, ...rest) {
            if (address.includes("ABOUT")) {
                asked.push([Date.now(), address]);
                unanswered += 1;
                this.addEventListener("loadend", () => { unanswered -= 1; });
            }
            return open.call(this, method, address, ...rest);
        };
    """
    page.add_init_script(script.replace("ABOUT", about))


def questions(page: Page) -> list[tuple[int, str]]:
    """Time and address of each question that the page has noted."""
    return [(at, address) for at, address in page.evaluate("asked")]


def wait_for_answers(page: Page) -> None:
    """The page decides when to ask again once it has the answer, by its own clock."""
    until(lambda: bool(page.evaluate("unanswered === 0")))


def require_pauses(page: Page) -> None:
    """The page asks once in five seconds. A question can leave it a moment late, but never in the next second."""
    times = [at for at, _ in questions(page)]
    assert len(times) > 1
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 4000


def without_scripts(page: Page, path: str) -> None:
    """Open a page as a browser without scripts shows it."""
    switch = page.context.new_cdp_session(page)
    switch.send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.goto(path)
    expect(page.locator("form.plain")).to_be_visible()
    expect(page.get_by_role("button", name="Choose files")).to_be_hidden()
    # Change the document to what is shown now, because axe needs scripts.
    page.evaluate("""() => {
        for (const element of document.querySelectorAll(".scripted")) element.remove();
        for (const element of document.querySelectorAll("noscript")) element.replaceWith(...element.childNodes);
    }""")
    switch.send("Emulation.setScriptExecutionDisabled", {"value": False})


def stop_timers(page: Page) -> None:
    """Let what the page shows for two seconds stay, because a slow machine could look too late."""
    page.evaluate("() => { window.setTimeout = () => 0; }")
