"""`share up --private`, and `share down` of private links: only clients encrypt and decrypt, and only they have the
key."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from share.private.chunks import CHUNK, HEADER, decrypt_all, encrypt_all, encrypted_size, offset_of
from share.private.keys import Key
from share.private.metadata import FILE_CONTEXT, Metadata

from tests.client.conftest import DATA, Client
from tests.client.inprocess import FILE_ID, Share, answer, description
from tests.client.proxy import Proxy
from tests.client.sizes import MIB
from tests.wire.server import Server


def link_of(sent: dict[str, Any]) -> str:
    link: str = sent["download_page"]
    return link


def key_in(link: str) -> Key:
    key = Key.of_link(link)
    assert key is not None
    return key


def share_with(share: Share, server: Server) -> Share:
    return Share(share.home, f"http://127.0.0.1:{server.port}")


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1])
def test_a_file_of_any_size_comes_back_as_it_was(share: Share, server: Server, size: int) -> None:
    share = share_with(share, server)
    data = DATA[:size]
    Path("data.bin").write_bytes(data)
    sent = share.run("up", "--private", "data.bin", "--json")
    assert sent.code == 0, sent.err
    uploaded = json.loads(sent.out)
    assert (uploaded["original_name"], uploaded["file_size"]) == ("data.bin", size)
    assert uploaded["sha256"] == hashlib.sha256(data).hexdigest()
    # The server knows neither name nor size, and its bytes follow the documented format.
    known = server.metadata(uploaded["file_id"])
    assert (known["original_name"], known["content_type"]) == ("encrypted", "application/octet-stream")
    assert known["file_size"] == encrypted_size(size)
    _, stored = server.get(f"/file/download/{uploaded['file_id']}")
    assert decrypt_all(key_in(link_of(uploaded)), FILE_CONTEXT, stored) == data
    fetched = share.run("down", link_of(uploaded), "-o", "copy.bin", "--json")
    assert fetched.code == 0, fetched.err
    assert json.loads(fetched.out)["verified"] is True
    assert Path("copy.bin").read_bytes() == data
    assert sorted(os.listdir()) == ["copy.bin", "data.bin"]


@pytest.mark.parametrize("size", [0, 100, 5 * MIB])
def test_standard_input_becomes_a_private_link_too(share: Share, server: Server, size: int) -> None:
    share = share_with(share, server)
    sent = share.run("up", "--private", "-", "--name", "x.bin", data=DATA[:size])
    assert sent.code == 0, sent.err
    fetched = share.run("down", sent.out.decode().strip(), "-o", "-")
    assert (fetched.code, fetched.out) == (0, DATA[:size])


def test_a_server_without_direct_uploads_gets_a_stream(share: Share, server: Server) -> None:
    with Proxy(server.port) as proxy:
        proxy.before = lambda seen: (404, {}, b"{}") if seen.target.startswith("/file/s3") else None
        share = Share(share.home, proxy.address)
        Path("data.bin").write_bytes(DATA[: 5 * MIB])
        for arguments, data in (("data.bin",), b""), (("-", "--name", "data.bin"), DATA[: 5 * MIB]):
            sent = share.run("up", "--private", *arguments, "--downloads", "1", "--json", data=data)
            assert sent.code == 0, sent.err
            assert json.loads(sent.out)["max_downloads"] == 1
            fetched = share.run("down", link_of(json.loads(sent.out)), "-o", "-")
            assert (fetched.code, fetched.out) == (0, DATA[: 5 * MIB])


def test_an_archive_is_private_as_a_whole_and_can_be_listed_by_its_key(share: Share, server: Server) -> None:
    share = share_with(share, server)
    Path("photos").mkdir()
    for name in ("a.txt", "é 漢.txt"):
        Path("photos", name).write_text(name)
    sent = share.run("up", "--private", "photos")
    assert sent.code == 0, sent.err
    link = sent.out.decode().strip()
    listed = share.run("ls", link, "--json")
    assert listed.code == 0, listed.err
    entries = [json.loads(line) for line in listed.out.splitlines()]
    assert [(entry["name"], entry["size"]) for entry in entries] == [("photos/a.txt", 5), ("photos/é 漢.txt", 10)]
    shown = json.loads(share.run("info", link, "--json").out)
    # Reading metadata never counts.
    assert (shown["original_name"], shown["download_count"]) == ("photos.zip", 0)
    assert share.run("down", link, "--extract", "-o", "there").code == 0
    assert sorted(os.listdir("there")) == ["a.txt", "é 漢.txt"]
    # Without the key, no names are visible.
    assert share.run("ls", link.partition("#")[0]).code == 5
    without = json.loads(share.run("info", link.partition("#")[0], "--json").out)
    assert without["original_name"] == "encrypted"


@pytest.mark.parametrize("keep", [True, False])
def test_the_key_is_kept_only_if_asked_for(client: Client, keep: bool) -> None:
    (client.here / "a.txt").write_text("hello")
    sent = client.json("up", "--private", "a.txt", *(["--keep-key"] if keep else []))
    key = link_of(sent).rpartition("#")[2]
    saved = [path for path in client.home.rglob("*") if path.is_file() and key in path.read_text()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in saved] == ([0o600] if keep else [])
    ran = client.run("down", sent["file_id"], "-o", "-")
    assert (ran.code, ran.out) == ((0, b"hello") if keep else (5, b""))
    assert "after the #" in ran.err or keep


def test_a_password_and_a_download_limit_work_as_for_any_file(client: Client) -> None:
    (client.here / "a.txt").write_text("hello")
    sent = client.json("up", "--private", "a.txt", "--password", "--downloads", "1", SHARE_PASSWORD="secret")
    assert client.run("down", link_of(sent), "-o", "-", SHARE_PASSWORD="wrong").code == 5
    assert client.run("down", link_of(sent), "-o", "-", SHARE_PASSWORD="secret").out == b"hello"
    assert client.run("down", link_of(sent), "-o", "-", SHARE_PASSWORD="secret").code == 4


@pytest.mark.parametrize(
    "arguments",
    [("up", "--private", "--direct", "-"), ("up", "--keep-key", "-"), ("down", f"http://x/download/{FILE_ID}#k=A")],
)
def test_wrong_usage_is_refused_before_anything_is_sent(
    share: Share, hostile: Proxy, arguments: tuple[str, ...]
) -> None:
    ended = share.run(*arguments)
    assert (ended.code, hostile.seen) == (2, [])
    assert "#k=A" not in ended.err


def test_only_private_links_need_the_package_that_encrypts(client: Client, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    (missing / "cryptography").mkdir(parents=True)
    (missing / "cryptography" / "__init__.py").write_text("raise ImportError('not installed')")
    path = f"{missing}:{client.environment()['PYTHONPATH']}"
    (client.here / "a.txt").write_text("a")
    sent = client.json("up", "a.txt", PYTHONPATH=path)
    assert client.run("down", sent["file_id"], "-o", "-", PYTHONPATH=path).out == b"a"


def test_messages_do_not_repeat_the_key(share: Share, hostile: Proxy) -> None:
    key = Key(bytes(range(16)))
    for link in (key.link("nonsense"), key.link(f"{hostile.address}/download/{FILE_ID}"), key.link("12")):
        for command in (("down",), ("info",), ("ls",), ("rm", "--token", "x")):
            ended = share.run(*command, link)
            assert ended.code not in (0, 1)
            assert key.fragment not in ended.err + ended.out.decode()


# Damage


def encrypted_text(size: int) -> tuple[Key, bytes, bytes]:
    key, text = Key(bytes(range(16))), DATA[:size]
    return key, text, encrypt_all(key, bytes(24), FILE_CONTEXT, text)


OTHER = encrypt_all(Key(bytes(range(16))), b"\1" * 24, FILE_CONTEXT, DATA[: 3 * CHUNK])
ANOTHER_KEY = encrypt_all(Key(bytes(16)), bytes(24), FILE_CONTEXT, DATA[: 3 * CHUNK + 9])


def chunk(data: bytes, number: int) -> bytes:
    return data[offset_of(number) : offset_of(number + 1)]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "a bit of the header": (0, lambda data: flipped(data, 30)),
    "a bit of the first chunk": (0, lambda data: flipped(data, HEADER)),
    "a bit of the second chunk": (1, lambda data: flipped(data, offset_of(1))),
    "a bit at the end": (3, lambda data: flipped(data, len(data) - 1)),
    "swapped": (0, lambda data: data[:HEADER] + chunk(data, 1) + chunk(data, 0) + data[offset_of(2) :]),
    "repeated": (2, lambda data: data[: offset_of(2)] + chunk(data, 1) + data[offset_of(3) :]),
    "another file's header": (0, lambda data: OTHER[:HEADER] + data[HEADER:]),
    "another file's chunk": (1, lambda data: data[: offset_of(1)] + chunk(OTHER, 1) + data[offset_of(2) :]),
    "another key's chunk": (1, lambda data: data[: offset_of(1)] + chunk(ANOTHER_KEY, 1) + data[offset_of(2) :]),
    "another key's file": (0, lambda _data: ANOTHER_KEY),
}


def serve(proxy: Proxy, stored: bytes, metadata: str, **changes: object) -> str:
    """A server with this file. Returns the URL of its landing page."""
    encryption = {"scheme": "c2sp-chunked-v1-aes128gcm", "metadata": metadata}
    fields = {"file_size": len(stored), "sha256": None, "encryption": encryption, "original_name": "encrypted"}
    said = description(proxy.address, **{**fields, **changes})
    proxy.before = lambda seen: answer(stored, ETag='"x"') if seen.is_download else answer(said)
    return f"{proxy.address}/download/{FILE_ID}"


@pytest.mark.parametrize("title", DAMAGES)
def test_what_is_damaged_is_refused_before_a_byte_of_it_is_handed_on(share: Share, hostile: Proxy, title: str) -> None:
    key, text, stored = encrypted_text(3 * CHUNK + 9)
    whole_chunks, damage = DAMAGES[title]
    metadata = Metadata("text.bin", "text/plain", len(text)).encrypt(key)["metadata"]
    damaged = damage(stored)
    assert len(damaged) == len(stored)
    link = key.link(serve(hostile, damaged, metadata))
    ended = share.run("down", link)
    assert (ended.code, os.listdir()) == (6, [])
    assert ended.err.endswith("Nothing was saved.\n")
    shown = share.run("down", link, "-o", "-")
    assert (shown.code, text[: whole_chunks * CHUNK].startswith(shown.out)) == (6, True)
    assert len(shown.out) % CHUNK == 0


@pytest.mark.parametrize("cut", [0, 10, HEADER, offset_of(1), offset_of(3), offset_of(3) + 15, offset_of(3) + 16])
def test_a_file_that_was_cut_is_refused(share: Share, hostile: Proxy, cut: int) -> None:
    key, text, stored = encrypted_text(3 * CHUNK + 9)
    for size in (len(text), None):
        metadata = Metadata("text.bin", "text/plain", size).encrypt(key)["metadata"]
        ended = share.run("down", key.link(serve(hostile, stored[:cut], metadata)))
        assert (ended.code, os.listdir()) == (6, [])


def test_what_does_not_fit_the_link_is_refused(share: Share, hostile: Proxy) -> None:
    key, text, stored = encrypted_text(100)
    metadata = Metadata("text.bin", "text/plain", len(text)).encrypt(key)["metadata"]
    page = serve(hostile, stored, metadata)
    assert share.run("down", Key(bytes(16)).link(page)).code == 6
    assert share.run("down", page).code == 5
    # An encrypted file that is replaced by one that is not encrypted.
    page = serve(hostile, text, metadata, encryption=None)
    ended = share.run("down", key.link(page))
    assert (ended.code, "not encrypted" in ended.err) == (6, True)
    # The metadata of another file.
    other = Metadata("other.bin", "text/plain", 99).encrypt(key)["metadata"]
    assert share.run("down", key.link(serve(hostile, stored, other))).code == 6
    unknown = {"scheme": "rot13", "metadata": metadata}
    assert share.run("down", key.link(serve(hostile, stored, metadata, encryption=unknown))).code == 9
    assert not [seen for seen in hostile.seen if seen.is_download]
    assert os.listdir() == []


def test_a_name_in_the_metadata_is_as_harmless_as_any(share: Share, hostile: Proxy) -> None:
    key, text, stored = encrypted_text(100)
    metadata = Metadata("../\x1b]0;x/.bashrc", "text/plain", len(text)).encrypt(key)["metadata"]
    ended = share.run("down", key.link(serve(hostile, stored, metadata)))
    assert ended.code == 0, ended.err
    assert os.listdir() == ["bashrc"]
