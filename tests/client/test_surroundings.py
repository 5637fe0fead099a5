"""The client copes with its surroundings: proxies, terminals and file systems."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest
from share.commands import main
from share.proxies import bypasses

from tests.client.conftest import Client
from tests.client.proxy import Proxy
from tests.client.sizes import MIB
from tests.client.socks import SocksProxy
from tests.wire.server import ROOT, WITHIN

NAME = "😀 ünï.txt"


@pytest.mark.parametrize(
    ("no_proxy", "address", "direct"),
    [
        ("[::1]", "http://[::1]:8080", True),
        ("::1", "http://[::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:8081", "http://[::1]:8080", False),
        ("fe80::/10", "http://[fe80::5]", True),
        ("fe80::/10", "http://[::1]", False),
        ("localhost,127.0.0.1,::1,[::1]", "http://127.0.0.1:8080", True),
        ("localhost,127.0.0.1,::1,[::1]", "http://192.0.2.1", False),
        ("127.0.0.0/8", "http://127.9.9.9", True),
        ("*", "http://example.org", True),
        (",,", "http://example.org", False),
        (".local", "http://printer.local", True),
        (".local", "http://notlocal", False),
    ],
)
def test_no_proxy_is_understood_in_every_form(no_proxy: str, address: str, direct: bool) -> None:
    assert bypasses(httpx.URL(address), no_proxy) is direct


def test_an_interrupt_before_the_command_begins_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "client")])}
    ran = subprocess.run([sys.executable, "-m", "share"], env=environment, capture_output=True, timeout=WITHIN)
    assert (ran.returncode, ran.stderr) == (130, b"")


@pytest.mark.parametrize("no_proxy", ["[::1]", "fe80::/10", ",,"])
def test_a_no_proxy_that_does_not_concern_the_server_breaks_no_command(client: Client, no_proxy: str) -> None:
    ran = client.run("ls", NO_PROXY=no_proxy)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("proxy_address", "code", "said"),
    [("socks5://127.0.0.1:1", 7, "through the proxy in ALL_PROXY"), ("ftp://x", 2, "ALL_PROXY is not a valid proxy")],
)
def test_a_wrong_proxy_is_named(client: Client, proxy_address: str, code: int, said: str) -> None:
    ran = client.run("ls", ALL_PROXY=proxy_address, NO_PROXY="")
    assert ran.code == code
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("characters", [79, 85], ids=["237 bytes", "255 bytes"])
def test_a_long_name_of_multibyte_characters_is_kept(client: Client, characters: int) -> None:
    name = "漢" * characters
    link = client.run("up", "-", "--name", name, data=b"data").out.decode().strip()
    ran = client.run("down", link)
    assert ran.code == 0, ran.err
    assert (client.here / name).read_bytes() == b"data"


@pytest.mark.parametrize("encoding", ["cp1252", "cp950", "ascii"])
def test_a_name_that_the_terminal_lacks_is_shown_with_escapes(client: Client, encoding: str) -> None:
    (client.here / NAME).write_bytes(b"data")
    up = client.run("up", NAME, PYTHONIOENCODING=encoding)
    assert up.code == 0, up.err
    link = up.out.decode("ascii").strip()
    (client.here / NAME).unlink()
    for command in (["ls"], ["info", link], ["down", link]):
        ran = client.run(*command, PYTHONIOENCODING=encoding)
        assert ran.code == 0, ran.err
        assert b"\\U0001f600" in ran.out, command
    assert (client.here / NAME).read_bytes() == b"data"
    listed = client.run("ls", "--json", PYTHONIOENCODING=encoding)
    assert listed.code == 0, listed.err
    assert NAME in [json.loads(line)["original_name"] for line in listed.out.decode(encoding).splitlines()]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_transfers_pass_through_a_socks_proxy(client: Client, proxy: Proxy, scheme: str) -> None:
    data = os.urandom(9 * MIB)
    with SocksProxy() as socks:
        # Only the proxy can resolve the name.
        through = dataclasses.replace(client, server=proxy.address.replace("127.0.0.1", "files.invalid"))
        address = f"{scheme}://127.0.0.1:{socks.port}"
        (client.here / "data.bin").write_bytes(data)
        sent = through.json("up", "data.bin", ALL_PROXY=address, NO_PROXY="")
        fetched = through.run("down", sent["file_id"], "-o", "copy.bin", ALL_PROXY=address, NO_PROXY="")
        assert fetched.code == 0, fetched.err
    assert (client.here / "copy.bin").read_bytes() == data
    assert set(socks.hosts) == {"files.invalid"}
    assert socks.relayed > len(data)


@pytest.mark.parametrize("place", [".config", ".config/simple-file-sharing/uploads"])
def test_a_delete_token_that_cannot_be_saved_is_shown(client: Client, place: str) -> None:
    # Root can write anywhere except below a path that is not a directory.
    (client.home / place).parent.mkdir(parents=True, exist_ok=True)
    (client.home / place).write_bytes(b"")
    ran = client.run("up", "-", data=b"x")
    assert ran.code == 0, ran.err
    assert "warning: The delete token could not be saved." in ran.err
    command = re.search(r"share rm (\S+) --token (\S+)$", ran.err, re.MULTILINE)
    assert command is not None, ran.err
    assert client.run("rm", command[1], "--token", command[2]).code == 0


def test_an_upload_that_cannot_be_resumed_later_is_sent_all_the_same(client: Client) -> None:
    (client.home / ".config").write_bytes(b"")
    (client.here / "large.bin").write_bytes(bytes(9 * MIB))
    ran = client.run("up", "large.bin")
    assert ran.code == 0, ran.err
    assert "warning: If interrupted, this upload cannot be resumed." in ran.err


@pytest.mark.parametrize("size", [1, 9 * MIB])
def test_a_name_that_is_not_utf8_is_uploaded_readably(client: Client, size: int) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (client.here / name).write_bytes(bytes(size))
    ran = client.run("up", name, "--json")
    assert ran.code == 0, ran.err
    sent = json.loads(ran.out)
    assert (sent["original_name"], sent["file_size"]) == ("caf\ufffd.txt", size)
    # In an error message, characters that the terminal cannot show are escaped.
    missing = client.run("up", os.fsdecode(b"none\xff"))
    assert (missing.code, missing.err) == (8, "error: none\ufffd cannot be read: no such file or directory.\n")
    # A path that is not UTF-8 can also be a target, and is printed unchanged.
    fetched = client.run("down", sent["file_id"], "-o", os.fsdecode(b"copy\xe9"))
    assert (fetched.code, fetched.out) == (0, b"copy\xe9\n"), fetched.err


def test_one_file_that_fails_keeps_no_other_from_its_turn(client: Client) -> None:
    for name in ("a", "c"):
        (client.here / name).write_bytes(name.encode())
    ran = client.run("up", "--each", "a", "missing", "c", "--json")
    assert (ran.code, len(ran.err.splitlines())) == (8, 1)
    sent = [json.loads(line) for line in ran.out.splitlines()]
    assert [file["original_name"] for file in sent] == ["a", "c"]
    # 2 for an invalid link, 3 for a file that does not exist: the highest status is returned.
    removed = client.run("rm", sent[0]["file_id"], "not a link", str(uuid.uuid4()), sent[1]["file_id"])
    assert (removed.code, len(client.kept("uploads"))) == (3, 0)


def test_an_unexpected_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("surprise\x1b[31m\nsecond line")

    monkeypatch.setattr("share.settings.Settings.load", fail)
    monkeypatch.setattr(sys, "argv", ["share", "ls"])
    with pytest.raises(SystemExit) as ended:
        main()
    err = capsys.readouterr().err
    assert ended.value.code == 1
    assert err.startswith("error: Unexpected RuntimeError: surprise")
    assert (err.count("\n"), "\x1b" in err, "report this" in err) == (1, False, True)
