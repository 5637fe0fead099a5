"""Draws docs/client.svg: the client's real output in a terminal (`make screenshots`)."""

from __future__ import annotations

import io
import re
import tempfile
import threading
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tests.client.conftest import SIZE, make_client
from tests.client.proxy import Proxy, Seen
from tests.client.terminal import in_terminal
from tests.wire.server import ROOT, Server

COLUMNS = 80
WIDTH = 84  # so that links stay on one line, since terminals do not wrap them
ADDRESS = "https://files.example.org"
# The picture requests no fonts from other servers.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main(target: Path = ROOT / "docs" / "client.svg") -> None:
    lines: list[str] = []

    def show(command: str, output: str) -> None:
        lines.extend([f"\x1b[1m$ {command}\x1b[0m", output.replace(proxy.address, ADDRESS).rstrip("\n"), ""])

    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data") as server,
        Proxy(server.port) as proxy,
    ):
        client = make_client(Path(folder), proxy.address)
        (client.here / "holiday.mov").write_bytes(bytes(SIZE))
        for name, size in (("report.pdf", 48_213), ("notes.txt", 812), ("logo.png", 20_917)):
            (client.here / name).write_bytes(bytes(size))
        client.run("up", "notes.txt")
        server.upload([bytes(1_234_567)], 1_234_567)
        client.run("up", "logo.png", "--expires", "2w", "--max-downloads", "20")
        line = threading.Lock()
        frames: list[str] = []

        def slowly(seen: Seen) -> None:
            with line:
                time.sleep(0.7 * seen.is_part)

        def watch(shown: str) -> None:
            frame = shown.rpartition("\x1b[2K")[2]
            if re.search(r"of 2 files.*/s", frame):
                frames.append(frame)

        proxy.before = slowly

        arguments = ("up", "--each", "report.pdf", "holiday.mov", "--expires", "7d")
        in_terminal(client, *arguments, watch=watch, COLUMNS=str(COLUMNS))
        show("share up --each report.pdf holiday.mov --expires 7d", frames[len(frames) // 2].replace("\r\n", "\n"))
        show("share ls", in_terminal(client, "ls", COLUMNS=str(COLUMNS)))
        newest = client.run("ls").out.decode().split("\t")[0][:8]
        changed = in_terminal(client, "set", newest, "--max-downloads", "3", COLUMNS=str(COLUMNS))
        show(f"share set {newest} --max-downloads 3", changed)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(lines[:-1])), soft_wrap=False)
    target.write_text(console.export_svg(title="share", code_format=FORMAT, unique_id="share"), "utf-8")


if __name__ == "__main__":
    main()
