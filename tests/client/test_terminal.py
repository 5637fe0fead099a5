"""Output in a terminal: it fits, however narrow the terminal is and whatever its encoding lacks."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from share.progress import Transfers
from share.screen import Screen

from tests.client.conftest import SIZE, Client, make_client, write_large
from tests.client.proxy import Cut, HeldUp, Proxy, Seen
from tests.client.terminal import in_terminal, plain
from tests.wire.server import Server

NAMES = ["short.txt", "a-very-long-name-" * 8 + ".pdf", "漢字" * 30 + ".txt", "😀 ünï.txt"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Client]:
    with Server(tmp_path / "data") as server:
        client = make_client(tmp_path, f"http://127.0.0.1:{server.port}")
        for name in NAMES:
            (client.here / name).write_bytes(b"x" * len(name))
        ran = client.run("up", "--each", *NAMES, "--expires", "7d", "--max-downloads", "100")
        assert ran.code == 0, ran.err
        server.upload([b"x"], 1)
        yield client


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_list_fits_the_terminal_and_its_ids_can_be_used(own: Client, columns: int, encoding: str) -> None:
    lines = plain(in_terminal(own, "ls", COLUMNS=str(columns), PYTHONIOENCODING=encoding)).splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert len(lines) == 1 + len(NAMES) + 1
    # The newest first, and an asterisk marks files that were uploaded from here.
    assert [line.startswith("* ") for line in lines[1:]] == [False, True, True, True, True]
    assert lines[-1].split()[2] == "short.txt"
    assert own.json("info", lines[-1].split()[1])["original_name"] == "short.txt"


def test_no_color_and_no_terminal_mean_no_escape_sequences(own: Client) -> None:
    assert "\x1b[1m" in in_terminal(own, "ls")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", in_terminal(own, "ls", NO_COLOR="1"))
    assert b"\x1b" not in own.run("ls").out


def test_a_lost_connection_is_reported_once_without_a_terminal(client: Client, proxy: Proxy) -> None:
    for name in ("a", "b"):
        (client.here / name).write_bytes(name.encode())
    for options, lines in (((), 1), (("--quiet",), 0)):
        proxy.reset()

        def fail_twice(seen: Seen) -> None:
            if "filename=b" in seen.target and len([each for each in proxy.seen if each.target == seen.target]) < 3:
                raise Cut

        proxy.before = fail_twice
        ran = client.run("up", "--each", "a", "b", *options)
        assert ran.code == 0, ran.err
        assert ran.err.count("Connection lost. Reconnecting…\n") == lines


@pytest.mark.parametrize(("encoding", "text"), [("utf-8", "Reconnecting…"), ("ascii", "Reconnecting...")])
def test_a_terminal_shows_that_the_client_reconnects(client: Client, proxy: Proxy, encoding: str, text: str) -> None:
    write_large(client)
    seen_by_user = threading.Event()

    def fail(seen: Seen) -> None:
        if seen.is_part and not seen_by_user.is_set():
            raise Cut

    def watch(shown: str) -> None:
        if text in shown:
            seen_by_user.set()

    proxy.before = fail
    in_terminal(client, "up", "large.bin", watch=watch, COLUMNS="80", PYTHONIOENCODING=encoding)
    assert seen_by_user.is_set()


def test_an_upload_that_resumes_says_from_where(client: Client, proxy: Proxy) -> None:
    write_large(client)
    proxy.before = hold = HeldUp(passing=2)
    process = client.fork("up", "large.bin")
    hold.wait(proxy, held=4)
    process.end()
    hold.release()
    sent = sum(seen.received for seen in proxy.parts_there())
    proxy.reset()
    ran = client.run("up", "large.bin")
    assert ran.code == 0, ran.err
    assert ran.err.startswith(f"Resuming at {sent / 1e6:.1f} MB.\n")


def test_several_files_have_a_bar_for_all_of_them(client: Client) -> None:
    write_large(client)
    (client.here / "small.txt").write_bytes(b"small")
    shown = plain(in_terminal(client, "up", "--each", "small.txt", "large.bin", COLUMNS="100"))
    total = re.findall(r"2 of 2 files .*? of ([\d.]+) MB", shown)
    assert total
    assert set(total) == {f"{(SIZE + 5) / 1e6:.1f}"}


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("size", [5, 999_900_000, None])
def test_progress_fills_the_width_from_the_start_and_its_bars_stay_in_place(columns: int, size: int | None) -> None:
    screen = Screen()
    shown = io.StringIO()
    screen.err = Console(file=shown, width=columns, force_terminal=True, color_system=None, legacy_windows=False)
    transfers = Transfers(screen, 2, size)
    with transfers.next_file("a-very-long-name-" * 20, size) as meter:
        meter.reconnect()
        meter.advance(5)
    lines = [line for line in re.split("[\r\n]+", plain(shown.getvalue())) if line.strip()]
    assert {cell_len(line) for line in lines} == {columns}
    # Where the numbers start, they may differ; where they end, they must not.
    assert len({len(line.rstrip().removesuffix("Reconnecting…").rstrip()) for line in lines}) == 1
    assert "?" not in "".join(lines)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines_instead_of_bars() -> None:
    screen = Screen()
    shown = io.StringIO()
    screen.err = Console(file=shown, force_terminal=True, _environ={"TERM": "dumb"})
    with Transfers(screen, 1, 5).next_file("name.txt", 5) as meter:
        meter.reconnect()
        meter.advance(5)
    assert shown.getvalue() == "Connection lost. Reconnecting…\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_lines_break_between_words_in_a_terminal_and_what_is_copied_stays_whole(is_terminal: bool) -> None:
    screen = Screen()
    shown = io.StringIO()
    screen.err = Console(file=shown, width=40, force_terminal=is_terminal, color_system=None)
    screen.error(f"Could not read {'the report ' * 4}at https://files.example.org/{'1' * 40}.")
    screen.facts({"uploaded": "Annual report of the board, 3.0 MB", "delete": f"share rm {'1' * 36}"}, screen.err)
    lines = [line.rstrip() for line in plain(shown.getvalue()).splitlines()]
    assert lines[-1] == f"delete    share rm {'1' * 36}"
    if is_terminal:
        message = ["error: Could not read the report the", "report the report the report at"]
        assert lines[:-1] == [
            *message,
            f"https://files.example.org/{'1' * 40}.",
            "uploaded  Annual report of the board,",
            "          3.0 MB",
        ]
    else:
        assert len(lines) == 3
