"""Interrupted uploads and downloads of private links, and their keys: one key encrypts one text, and stays secret."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from share.faults import Changed
from share.private.chunks import CHUNK, Cipher, encrypted_size, offset_of
from share.private.keys import Key
from share.private.ledger import DIGEST, HEAD, Ledger
from share.private.metadata import FILE_CONTEXT

from tests import archives
from tests.client.conftest import DATA, SIZE, Client, write_large
from tests.client.inprocess import Share
from tests.client.proxy import FirstBytes, HeldUp, Proxy
from tests.client.sizes import BLOCK, MIB, PART
from tests.client.test_private import flipped, key_in, link_of
from tests.wire.server import WITHIN, Server, until

MARK = b"a-text-that-nobody-else-may-read"
NAME = "a-name-that-nobody-else-may-read.zip"


# Resuming


def interrupted_upload(client: Client, proxy: Proxy, *arguments: str) -> Path:
    """Kill an upload after two parts. Returns the file with its key."""
    proxy.before = hold = HeldUp(passing=2)
    process = client.fork("up", "--private", "large.bin", *arguments)
    hold.wait(proxy, held=4)
    process.end()
    hold.release()
    proxy.reset()
    (ledger,) = [path for path in client.kept("unfinished") if path.suffix == ".key"]
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    return ledger


def test_an_upload_that_was_killed_resumes(client: Client, proxy: Proxy) -> None:
    write_large(client)
    ledger = interrupted_upload(client, proxy)
    key = ledger.read_bytes()[DIGEST : DIGEST + 16]
    sent = client.json("up", "--private", "large.bin")
    assert key_in(link_of(sent)).secret == key
    assert proxy.part_bytes() == encrypted_size(SIZE) - 2 * PART
    assert client.kept("unfinished") == []
    assert client.json("down", link_of(sent), "-o", "copy.bin")["file_size"] == SIZE
    assert (client.here / "copy.bin").read_bytes() == DATA


def test_an_archive_that_was_interrupted_resumes(client: Client, proxy: Proxy) -> None:
    write_large(client)
    (client.here / "b.txt").write_text("b")
    interrupted_upload(client, proxy, "b.txt")
    sent = client.json("up", "--private", "large.bin", "b.txt")
    assert proxy.part_bytes() == encrypted_size(sent["file_size"]) - 2 * PART
    assert client.run("down", link_of(sent), "-x", "-o", "there").code == 0
    assert (client.here / "there" / "large.bin").read_bytes() == DATA


def change(path: Path, data: bytes, *, same_time: bool) -> None:
    before = path.stat()
    path.write_bytes(data)
    if same_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# Blocks are read ahead, so the last one may not have been encrypted by the first attempt.
CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "its first byte": lambda data: flipped(data, 0),
    "a byte of the second part": lambda data: flipped(data, PART + 5),
    "a byte of a part that was not sent": lambda data: flipped(data, 2 * PART + 100),
    "its last byte": lambda data: flipped(data, len(data) - 1),
    "all of it": lambda data: data[::-1],
    "longer": lambda data: data + b"x",
    "shorter": lambda data: data[:-1],
    "much shorter": lambda data: data[: 5 * PART],
}


@pytest.mark.parametrize("same_time", [True, False])
@pytest.mark.parametrize("title", CHANGES)
def test_no_key_encrypts_two_versions_of_a_file(client: Client, proxy: Proxy, title: str, same_time: bool) -> None:
    path = write_large(client)
    first = interrupted_upload(client, proxy).read_bytes()
    key, salt = first[DIGEST : DIGEST + 16], first[DIGEST + 16 : HEAD]
    blocks = (len(first) - HEAD) // DIGEST
    assert 2 <= blocks <= 6
    changed = CHANGES[title](DATA)
    change(path, changed, same_time=same_time)
    bodies: list[bytes] = []

    def listen(body: bytes) -> bytes:
        bodies.append(body)
        return body

    proxy.alter = listen
    sent = client.json("up", "--private", "large.bin")
    # Only what the first attempt had not encrypted yet can have changed.
    place = next((at for at in range(0, SIZE, BLOCK) if changed[at : at + BLOCK] != DATA[at : at + BLOCK]), SIZE)
    if place < blocks * BLOCK or len(changed) != SIZE or not same_time:
        assert key_in(link_of(sent)).secret != key
    old = Cipher(Key(key), salt, FILE_CONTEXT)
    for number in range(place // CHUNK, min(blocks * BLOCK, len(changed)) // CHUNK)[:20]:
        text = changed[number * CHUNK : (number + 1) * CHUNK]
        if text != DATA[number * CHUNK : (number + 1) * CHUNK]:
            assert not any(old.encrypt_from(number, text, is_end=len(text) < CHUNK)[:64] in body for body in bodies)
    assert not [path for path in client.kept("unfinished") if path.suffix == ".key"]
    assert client.run("down", link_of(sent), "-o", "copy.bin").code == 0
    assert (client.here / "copy.bin").read_bytes() == changed


def test_another_name_is_another_upload(client: Client, proxy: Proxy) -> None:
    write_large(client)
    key = interrupted_upload(client, proxy).read_bytes()[DIGEST : DIGEST + 16]
    sent = client.json("up", "--private", "large.bin", "--name", "other.bin")
    assert key_in(link_of(sent)).secret != key
    assert client.json("info", link_of(sent))["original_name"] == "other.bin"


def test_two_commands_cannot_upload_the_same_at_once(client: Client, proxy: Proxy) -> None:
    write_large(client)
    proxy.before = hold = HeldUp(passing=2)
    process = client.fork("up", "--private", "large.bin")
    try:
        hold.wait(proxy, held=4)
        ran = client.run("up", "--private", "large.bin")
        assert (ran.code, "Another command" in ran.err) == (8, True)
    finally:
        process.end()
        hold.release()


def test_the_key_of_an_upload_that_nobody_resumes_is_removed(client: Client, proxy: Proxy) -> None:
    path = write_large(client)
    ledger = interrupted_upload(client, proxy)
    path.rename(client.here / "moved.bin")
    client.json("up", "--private", "moved.bin")
    assert ledger.exists()
    week_ago = ledger.stat().st_mtime - 7 * 24 * 3600 - 60
    os.utime(ledger, (week_ago, week_ago))
    client.json("up", "--private", "moved.bin")
    assert not ledger.exists()


def digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def test_a_ledger_takes_each_block_in_one_version(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(share.home))
    with Ledger.open("place", "identity") as ledger:
        key, salt = ledger.key, ledger.salt
        ledger.require(0, digest(b"zero"))
        ledger.require(1, digest(b"one"))
        path = ledger._path
    # As a crash could leave it: half a digest.
    path.write_bytes(path.read_bytes() + bytes(10))
    with Ledger.open("place", "identity") as ledger:
        assert (ledger.is_resumed, ledger.key, ledger.salt) == (True, key, salt)
        ledger.require(0, digest(b"zero"))
        for text in (b"One", b"one ", b"on", b""):
            with pytest.raises(Changed):
                ledger.require(1, digest(text))
        ledger.require(2, digest(b"two"))
    with Ledger.open("place", "identity") as ledger:
        with pytest.raises(Changed):
            ledger.require(2, digest(b"another two"))
        ledger.require(2, digest(b"two"))
    with Ledger.open("place", "another identity") as ledger:
        assert (ledger.is_resumed, ledger.key == key, ledger.salt == salt) == (False, False, False)
        ledger.require(0, digest(b"another zero"))


@pytest.mark.parametrize("size", [SIZE, 5 * PART])
@pytest.mark.parametrize("kill", [True, False])
def test_a_download_resumes_at_a_chunk_and_counts_once(client: Client, proxy: Proxy, size: int, kill: bool) -> None:
    (client.here / "large.bin").write_bytes(DATA[:size])
    sent = client.json("up", "--private", "large.bin", "--downloads", "1")
    proxy.seen.clear()
    proxy.through = cut = FirstBytes(5 * PART // 2, hold=kill)
    if kill:
        process = client.fork("down", link_of(sent), "-o", "copy.bin")
        assert cut.reached.wait(WITHIN)
        part = client.here / "copy.bin.part"
        until(lambda: part.exists() and part.stat().st_size > MIB)
        process.end()
        cut.release()
    fetched = client.json("down", link_of(sent), "-o", "copy.bin")
    assert (client.here / "copy.bin").read_bytes() == DATA[:size]
    assert client.json("info", sent["file_id"])["download_count"] == 1
    ranges = [seen.headers.get("range") for seen in proxy.seen if seen.is_download]
    assert ranges[0] is None
    if kill:
        assert fetched["resumed_at"] % CHUNK == 0
        assert ranges[1:] == [f"bytes={offset_of(fetched['resumed_at'] // CHUNK)}-"]
    assert not list(client.here.glob("*.part*"))


# Where the key goes


def content_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_no_request_log_or_stored_byte_tells_of_the_file(tmp_path: Path, share: Share) -> None:
    """Everything that leaves the client, and everything that the server stores, in every way to send and fetch."""
    lock, sent_bytes = threading.Lock(), bytearray()

    def record(body: bytes) -> bytes:
        with lock:
            sent_bytes.extend(body)
        return body

    Path(NAME).write_bytes(archives.packed({NAME: MARK * 1000}) + MARK)
    Path("large.bin").write_bytes(MARK * (6 * MIB // len(MARK)))
    folder = Path(f"folder-{NAME}")
    folder.mkdir()
    (folder / NAME).write_bytes(MARK)
    with Server(tmp_path / "data") as server, Proxy(server.port) as proxy:
        proxy.alter = record
        share = Share(share.home, proxy.address)
        links = []
        for arguments in (
            (NAME,),
            ("large.bin", "--name", NAME),
            (str(folder),),
            ("-", "--name", NAME),
            (NAME, "--password", "--downloads", "9"),
        ):
            sent = share.run("up", "--private", "--json", *arguments, data=MARK * 100, SHARE_PASSWORD="secret")
            assert sent.code == 0, sent.err
            links.append(link_of(json.loads(sent.out)))
            assert Key.of_link(links[-1]) is not None
        for link in links:
            for command in (("info", link), ("down", link, "-o", "-"), ("down", link, "-o", "copy", "--force")):
                ended = share.run(*command, SHARE_PASSWORD="secret")
                assert ended.code == 0, ended.err
            share.run("ls", link)
            assert share.run("set", link, "--expires", "1d").code == 0
        assert share.run("rm", links[0]).code == 0
        heads = "\n".join(f"{seen.method} {seen.target} {seen.headers}" for seen in proxy.seen).encode()
    kept = b"".join(
        path.read_bytes() for path in [*(tmp_path / "data").rglob("*"), tmp_path / "data.log"] if path.is_file()
    )
    at_home = b"".join(path.read_bytes() for path in share.home.rglob("*") if path.is_file())
    for haystack in (heads, bytes(sent_bytes), kept):
        assert len(haystack) > 1000
        assert MARK not in haystack
        assert NAME.encode() not in haystack
        assert b"#" not in heads
    for link in links:
        fragment = link.partition("#")[2]
        for secret in (
            fragment.encode(),
            fragment[2:].encode(),
            key_in(link).secret,
            key_in(link).secret.hex().encode(),
        ):
            for haystack in (heads, bytes(sent_bytes), kept, at_home):
                assert secret not in haystack


def test_the_list_of_processes_does_not_show_the_key(client: Client, proxy: Proxy) -> None:
    (client.here / "a.txt").write_bytes(DATA[: 2 * MIB])
    sent = client.json("up", "--private", "a.txt")
    fragment = link_of(sent).partition("#")[2]
    proxy.through = hold = FirstBytes(MIB, hold=True)
    process = client.start("down", link_of(sent), "-o", "copy.bin")
    try:
        assert hold.reached.wait(WITHIN)
        shown = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        assert b"#k=\0" in shown[0]
        assert fragment[2:].encode() not in b"".join(shown)
    finally:
        process.kill()
        process.communicate()
        hold.release()
    proxy.reset()
    # Several links, one without a key, and one with an empty key.
    page = link_of(sent).partition("#")[0]
    (client.here / "there").mkdir()
    process = client.start("down", page, f"{page}#k=", link_of(sent), "-o", "there")
    process.communicate()
    assert process.returncode == 5
    assert (client.here / "there" / "a.txt").read_bytes() == DATA[: 2 * MIB]
