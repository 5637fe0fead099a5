"""Each command: its effect, its output, and its exit status."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import stat
import subprocess
import uuid
from pathlib import Path

import pytest
from share.names import safe_name

from tests.client.conftest import COMMAND, Client, make_client
from tests.client.proxy import Answer, Cut, Proxy, Seen
from tests.client.sizes import PART
from tests.wire.server import WITHIN, Server, until


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_goes_up_and_comes_down(client: Client) -> None:
    (client.here / "report ü%41.pdf").write_bytes(b"%PDF")
    sent = client.run("up", "report ü%41.pdf")
    assert sent.code == 0
    link = sent.out.decode()
    assert re.fullmatch(rf"{client.server}/\S+\n", link)
    fetched = client.run("down", link.strip(), "-o", "copy.pdf")
    assert (fetched.code, fetched.out) == (0, b"copy.pdf\n")
    assert (client.here / "copy.pdf").read_bytes() == b"%PDF"
    assert sorted(path.name for path in client.here.iterdir()) == ["copy.pdf", "report ü%41.pdf"]
    assert client.json("info", link.strip())["original_name"] == "report ü%41.pdf"


@pytest.mark.parametrize("size", [0, 1, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 9_000_001])
def test_every_size_arrives_whole(client: Client, proxy: Proxy, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    (client.here / "data.bin").write_bytes(data)
    sent = client.json("up", "data.bin")
    assert (sent["file_size"], sent["sha256"]) == (size, sha256(data))
    # 4 MiB is the maximum of one request on Lambda.
    assert sum(seen.is_part for seen in proxy.seen) == (0 if size <= 4 * 1024 * 1024 else size // PART + 1)
    fetched = client.json("down", sent["download_link"], "-o", "copy.bin")
    assert (fetched["sha256"], fetched["file_size"], fetched["resumed_at"]) == (sha256(data), size, 0)
    assert (client.here / "copy.bin").read_bytes() == data
    assert client.json("info", sent["file_id"])["download_count"] == 1


def test_json_names_everything_a_script_needs(client: Client) -> None:
    (client.here / "a.txt").write_bytes(b"a")
    (client.here / "b.txt").write_bytes(b"b")
    ran = client.run("up", "--each", "a.txt", "b.txt", "--json", "--expires", "2h", "--downloads", "3")
    first, second = (json.loads(line) for line in ran.out.splitlines())
    assert (first["original_name"], second["original_name"]) == ("a.txt", "b.txt")
    assert first["verified"] is True
    assert first["max_downloads"] == 3
    assert {"file_id", "download_link", "delete_token", "expires_at", "sha256"} <= set(first)
    fetched = client.json("down", first["file_id"], "-o", "copy")
    assert fetched == {
        "file_id": first["file_id"],
        "path": str(client.here / "copy"),
        "file_size": 1,
        "sha256": sha256(b"a"),
        "verified": True,
        "resumed_at": 0,
    }
    metadata = client.json("info", first["download_link"])
    assert (metadata["file_id"], metadata["download_count"], metadata["max_downloads"]) == (first["file_id"], 1, 3)
    assert client.json("rm", first["file_id"]) == {"file_id": first["file_id"], "deleted": True}


def test_standard_input_goes_up_and_standard_output_comes_down(client: Client) -> None:
    small = client.run("up", "-", "--name", "note.txt", "--json", data=b"hello")
    assert json.loads(small.out)["original_name"] == "note.txt"
    data = bytes(20_000_000)
    large = client.run("up", "-", "--name", "backup.tar", "--json", data=data)
    answer = json.loads(large.out)
    assert (answer["content_type"], answer["sha256"]) == ("application/x-tar", sha256(data))
    fetched = client.run("down", answer["download_link"], "-o", "-")
    assert (fetched.code, fetched.out == data) == (0, True)


@pytest.mark.parametrize("from_pipe", [True, False])
def test_a_server_without_direct_upload_gets_one_stream(server: Server, tmp_path: Path, *, from_pipe: bool) -> None:
    def refuse(seen: Seen) -> Answer | None:
        return (405, {}, b"") if seen.target.startswith("/file/s3/") else None

    with Proxy(server.port) as proxy:
        proxy.before = refuse
        client = make_client(tmp_path, proxy.address)
        data = bytes(9_000_000)
        (client.here / "data.bin").write_bytes(data)
        sent = client.run("up", "-" if from_pipe else "data.bin", "--json", data=data)
        assert sent.code == 0, sent.err
        assert json.loads(sent.out)["sha256"] == sha256(data)
        assert max(seen.received for seen in proxy.seen if seen.method == "PUT") == len(data)


def test_ls_follows_the_pages_and_shows_the_newest_first(client: Client, proxy: Proxy) -> None:
    sent = [client.json("up", "-", data=b"x")["file_id"] for _ in range(3)]

    def one_at_a_time(seen: Seen) -> None:
        path, _, query = seen.target.partition("?")
        if path == "/file/metadata":
            seen.target = f"{path}?limit=1&{query}"

    proxy.before = one_at_a_time
    ran = client.run("ls", "--json")
    listed = [json.loads(line)["file_id"] for line in ran.out.splitlines()]
    # The newest come first, whichever page they are on.
    assert listed[:3] == sent[::-1]
    assert len(listed) == len(set(listed))
    rows = client.run("ls").out.decode().splitlines()
    assert [row.split("\t")[0] for row in rows] == listed


def test_rm_uses_the_token_that_up_has_kept(client: Client) -> None:
    sent = client.json("up", "-", data=b"x")
    (kept,) = client.kept("uploads")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert client.run("rm", sent["download_link"]).code == 0
    assert client.kept("uploads") == []
    assert client.run("info", sent["download_link"]).code == 3
    # Nothing is saved for it any more, but that is not why this fails.
    assert client.run("rm", sent["download_link"]).code == 3


def test_rm_from_elsewhere_needs_the_token(client: Client) -> None:
    sent = client.json("up", "-", data=b"x")
    client.kept("uploads")[0].unlink()
    without = client.run("rm", sent["file_id"])
    assert (without.code, "--token" in without.err) == (5, True)
    assert client.run("rm", sent["file_id"], "--token", "wrong").code == 5
    assert client.run("rm", sent["file_id"], "--token", sent["delete_token"]).code == 0


def test_passwords_travel_in_headers_only(client: Client, proxy: Proxy) -> None:
    (client.here / "large.bin").write_bytes(bytes(9_000_000))
    for sent in (
        client.json("up", "-", "--password", data=b"secret", SHARE_PASSWORD="pässwört"),
        client.json("up", "large.bin", "--password", SHARE_PASSWORD="pässwört"),
    ):
        assert sent["password_protected"] is True
        link = sent["download_link"]
        refused = client.run("down", link, "-o", "none", SHARE_PASSWORD="wrong")
        assert (refused.code, refused.err) == (5, "error: Wrong password.\n")
        assert client.run("down", link, "-o", "none").code == 5
        assert not [path for path in client.here.iterdir() if path.name.startswith("none")]
        assert client.run("down", link, "-o", "copy", "--force", SHARE_PASSWORD="pässwört").code == 0
    assert not [seen for seen in proxy.seen if "w%C3%B6rt" in seen.target or "pässwört" in seen.target]
    assert client.run("down", link.replace("//", "//:secret@")).code == 2


def test_exit_statuses_tell_what_went_wrong(client: Client, server: Server) -> None:
    unknown = f"{client.server}/file/download/{uuid.uuid4()}"
    assert client.run("down", unknown).code == 3
    assert client.run("info", unknown).code == 3
    once = client.json("up", "-", "--downloads", "1", data=b"x")["download_link"]
    assert client.run("down", once, "-o", "one").code == 0
    used_up = client.run("down", once, "-o", "two")
    assert used_up.code == 4
    assert "download limit" in used_up.err
    short = client.json("up", "-", "--expires", "1s", data=b"x")["file_id"]
    until(lambda: server.get(f"/file/metadata/{short}")[0] == 410)
    assert client.run("down", short).code == 4
    assert client.run("up", "no such file").code == 8
    assert client.run("up", "-", "-").code == 2
    assert client.run("up", "-", "--expires", "soon", data=b"").code == 2
    refused = client.run("up", "-", "--expires", "99999999w", data=b"x")
    assert refused.code == 9
    assert refused.err == "error: --expires can be at most 36600 d here.\n"
    assert client.run("down", "not a link").code == 2
    # Nothing listens on port 1.
    unreachable = client.run("ls", "--server", "http://127.0.0.1:1")
    assert (unreachable.code, unreachable.err) == (7, "error: Can't reach http://127.0.0.1:1: connection refused.\n")
    assert client.run("ls", SHARE_SERVER="").code == 2


def test_nothing_is_overwritten_without_force(client: Client) -> None:
    sent = client.json("up", "-", "--name", "here.txt", data=b"new")
    target = client.here / "here.txt"
    target.write_bytes(b"mine")
    (client.here / "other.part").write_bytes(b"mine")
    refused = client.run("down", sent["file_id"])
    assert (refused.code, target.read_bytes()) == (8, b"mine")
    assert client.json("info", sent["file_id"])["download_count"] == 0
    assert client.run("down", sent["file_id"], "-o", "other").code == 8
    assert (client.here / "other.part").read_bytes() == b"mine"
    assert client.run("down", sent["file_id"], "--force").code == 0
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("..", "download"),
        ("evil\u202etxt.exe", "evil_txt.exe"),
        ("CON.txt", "_CON.txt"),
        ("é" * 200 + ".txt", "é" * 125 + ".txt"),
    ],
)
def test_a_name_stays_in_its_directory(name: str, saved: str) -> None:
    assert safe_name(name) == saved


def test_a_name_from_the_server_does_nothing_to_directory_and_terminal(client: Client, proxy: Proxy) -> None:
    sent = client.json("up", "-", data=b"x")
    metadata = {**client.json("info", sent["file_id"]), "original_name": "../.a\x1b[31mb"}

    def lie(seen: Seen) -> Answer | None:
        return (200, {}, json.dumps(metadata).encode()) if seen.target.startswith("/file/metadata/") else None

    proxy.before = lie
    ran = client.run("down", sent["file_id"])
    assert ran.code == 0, ran.err
    assert [path.name for path in client.here.iterdir()] == ["a_[31mb"]
    assert "\x1b" not in ran.out.decode()
    assert "\x1b" not in client.run("info", sent["file_id"]).out.decode()


def test_the_configuration_file_names_server_and_token(tmp_path: Path) -> None:
    with Server(tmp_path / "data", SHARE_API_TOKEN="a-long-random-token") as server, Proxy(server.port) as proxy:
        client = make_client(tmp_path, "")
        folder = client.home / ".config" / "simple-file-sharing"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(f'server = "{proxy.address}/"\ntoken = "a-long-random-token"\n')
        sent = client.json("up", "-", data=b"x")
        (client.here / "large.bin").write_bytes(bytes(9_000_000))
        assert client.json("up", "large.bin")["file_size"] == 9_000_000
        assert not [seen for seen in proxy.seen if seen.is_part and "authorization" in seen.headers]
        assert client.run("ls").out.count(b"\n") == 2
        assert client.run("ls", "--token", "wrong").code == 5
        client.kept("uploads")[0].unlink()
        client.kept("uploads")[0].unlink()
        assert client.run("rm", sent["file_id"], SHARE_TOKEN="a-long-random-token").code == 0
        proxy.seen.clear()
        # Another address of the same server counts as another server, and does not get the file's token.
        other = proxy.address.replace("127.0.0.1", "localhost")
        assert client.run("ls", "--server", other, NO_PROXY="localhost").code == 5
        assert [seen for seen in proxy.seen if "authorization" in seen.headers] == []
        (folder / "config.toml").write_text('sever = "x"\n')
        wrong = client.run("ls")
        assert (wrong.code, "sever" in wrong.err) == (2, True)


def test_a_qr_code_is_drawn_beside_the_link(client: Client) -> None:
    ran = client.run("up", "-", "--qr", data=b"x")
    assert ran.out.count(b"\n") == 1
    assert len([line for line in ran.err.splitlines() if "█" in line]) > 10


def test_what_is_read_no_further_ends_quietly(client: Client) -> None:
    client.run("up", "-", data=b"x")
    with client.start("ls") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_help_needs_no_server(client: Client) -> None:
    ran = client.run("--help", SHARE_SERVER="")
    assert ran.code == 0
    assert "Exit status" in ran.out.decode()


@pytest.mark.parametrize("group", [[], ["inbox"]], ids=["share", "share inbox"])
def test_help_cuts_no_summary_of_a_command(client: Client, group: list[str]) -> None:
    assert "..." not in client.run(*group, "--help").out.decode().partition("Commands:")[2].partition("\n\n")[0]


def test_several_links_come_down_and_one_that_fails_stops_no_other(client: Client) -> None:
    sent = [client.json("up", "-", "--name", name, data=name.encode())["file_id"] for name in ("a", "b")]
    (client.here / "folder").mkdir()
    missing = str(uuid.uuid4())
    ran = client.run("down", sent[0], missing, sent[1], "-o", "folder")
    assert (ran.code, ran.out) == (3, b"folder/a\nfolder/b\n")
    assert [(client.here / "folder" / name).read_bytes() for name in ("a", "b")] == [b"a", b"b"]
    assert client.run("down", *sent, "-o", "file").code == 2
    assert client.run("down", *sent, "-o", "-").code == 2


def test_set_changes_what_it_names(client: Client) -> None:
    sent = client.json("up", "-", "--max-downloads", "5", data=b"x")["file_id"]
    changed = client.json("set", sent, "--expires", "1h", "--password", SHARE_PASSWORD="secret")
    assert (changed["max_downloads"], changed["password_protected"], changed["expires_at"] is None) == (5, True, False)
    changed = client.json("set", sent, "--max-downloads", "unlimited", "--expires", "never", "--no-password")
    assert (changed["max_downloads"], changed["password_protected"], changed["expires_at"]) == (None, False, None)
    assert client.run("set", sent).code == 2
    assert client.run("set", sent, "--max-downloads", "0").code == 2
    assert client.run("set", sent, "--token", "wrong", "--expires", "1h").code == 5
    # As with rm, one failure does not stop the others, and the saved delete token is used.
    other = client.json("up", "-", data=b"x")["file_id"]
    assert client.run("set", str(uuid.uuid4()), other, "--max-downloads", "7").code == 3
    assert client.json("info", other)["max_downloads"] == 7


def test_the_limit_of_a_new_file_does_not_look_like_a_count(client: Client) -> None:
    limited = client.run("up", "-", "--max-downloads", "2", data=b"x")
    assert "downloads  at most 2\n" in limited.err
    assert "downloads  no limit\n" in client.run("up", "-", data=b"x").err


def test_the_first_digits_of_an_id_are_enough(client: Client, proxy: Proxy) -> None:
    sent = client.json("up", "-", "--name", "here.txt", data=b"x")["file_id"]
    assert client.json("info", sent[:8])["file_id"] == sent
    assert client.json("info", sent[:20])["file_id"] == sent
    assert client.run("down", sent[:10]).code == 0
    assert client.json("set", sent[:8], "--max-downloads", "3")["max_downloads"] == 3
    # Without the access token that the list requires, files that were uploaded from here can be found.
    proxy.before = lambda seen: (401, {}, b"") if seen.target.startswith("/file/metadata?") else None
    assert client.json("rm", sent[:8]) == {"file_id": sent, "deleted": True}
    proxy.reset()
    gone = client.run("info", sent[:8])
    assert (gone.code, "begins with" in gone.err) == (3, True)


def test_digits_that_several_ids_begin_with_are_refused(client: Client, proxy: Proxy) -> None:
    file = client.json("info", client.json("up", "-", data=b"x")["file_id"])
    page = {}
    for digits in ("abcdef01", "abcdef02"):
        file_id = f"{digits}-0000-4000-8000-000000000001"
        page[file_id] = json.loads(json.dumps(file).replace(file["file_id"], file_id))
    proxy.before = lambda seen: (200, {}, json.dumps(page).encode()) if "limit=2" in seen.target else None
    ran = client.run("info", "abcdef")
    assert (ran.code, "Several IDs" in ran.err) == (2, True)


def test_quiet_prints_the_result_alone(client: Client) -> None:
    (client.here / "a.txt").write_bytes(b"a")
    sent = client.run("up", "a.txt", "--quiet")
    assert (sent.code, sent.err, sent.out.count(b"\n")) == (0, "", 1)
    link = sent.out.decode().strip()
    fetched = client.run("down", link, "-o", "copy", "-q")
    assert (fetched.code, fetched.err, fetched.out) == (0, "", b"copy\n")
    removed = client.run("rm", link, "-q")
    assert (removed.code, removed.err, removed.out) == (0, "", b"")
    assert client.run("info", link, "-s", "http://127.0.0.1:1").code == 3


def test_version_and_help_need_no_server(client: Client) -> None:
    ran = client.run("--version", SHARE_SERVER="")
    assert (ran.code, re.fullmatch(r"share \d+\.\d+\.\d+\n", ran.out.decode()) is not None) == (0, True)
    assert client.run("-h").out == client.run("--help").out
    assert b"--max-downloads" in client.run("up", "-h").out


@pytest.mark.parametrize(
    ("shell", "line"),
    [("bash", "complete -o default -F"), ("zsh", "#compdef share"), ("fish", "complete --command share")],
)
def test_shells_can_complete_commands(client: Client, shell: str, line: str) -> None:
    ran = subprocess.run(
        # The client looks for the name of a shell among the processes above it. A second command keeps that one there.
        [shell, "-c", f"{shlex.join(COMMAND)} --show-completion; exit $?"],
        executable="/bin/sh",
        env=client.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    assert line in ran.stdout


def test_a_small_upload_waits_for_a_server_that_restarts(client: Client, proxy: Proxy) -> None:
    # The first file proves that the address is right; then connections fail for a while.
    for name in ("a", "b"):
        (client.here / name).write_bytes(name.encode())
    failed: list[Seen] = []

    def fail_twice(seen: Seen) -> Answer | None:
        if "filename=b" in seen.target and len(failed) < 2:
            failed.append(seen)
            raise Cut
        return None

    proxy.before = fail_twice
    ran = client.run("up", "--each", "a", "b", "--json")
    assert (ran.code, len(failed), ran.out.count(b"\n")) == (0, 2, 2)


def test_a_link_is_copied_to_the_clipboard(client: Client, tmp_path: Path) -> None:
    # Replaces the program that accesses the clipboard of a Linux desktop.
    program = tmp_path / "xclip"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/clipboard\n")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = client.run("up", "-", "--copy", data=b"x", DISPLAY=":0", PATH=path)
    assert ran.code == 0, ran.err
    assert (tmp_path / "clipboard").read_text() == ran.out.decode().strip()
    without = client.run("up", "-", "--copy", data=b"x", DISPLAY="", WAYLAND_DISPLAY="", PATH="/nowhere")
    assert (without.code, "no clipboard" in without.err) == (0, True)
