"""The client copes with what surrounds it: proxies, terminals and file systems."""

from __future__ import annotations

import json

import httpx
import pytest
from share.proxies import bypasses

from tests.client.conftest import Client

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
