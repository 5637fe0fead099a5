"""`share inbox`, and `share up --to`: what owners and senders see, and where the owner's token goes."""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from share.answers import RemoteFile
from share.folder import assign

from tests.client.conftest import Client, write_large
from tests.client.inprocess import FILE_ID, Share, answer, description
from tests.client.proxy import FirstBytes, HeldUp, Proxy
from tests.client.sizes import PART
from tests.wire.server import WITHIN, Server, until

TOKEN = "token-of-the-owner"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", SHARE_API_TOKEN=TOKEN) as running:
        yield running


@pytest.fixture
def owner(share: Share, proxy: Proxy) -> Share:
    """Someone with the access token."""
    return dataclasses.replace(share, server=proxy.address, environment={"SHARE_TOKEN": TOKEN})


@pytest.fixture
def sender(share: Share, tmp_path: Path) -> Share:
    """Someone without settings, who only has links."""
    (tmp_path / "sender").mkdir()
    return Share(tmp_path / "sender", "")


@pytest.fixture
def client(sender: Share, proxy: Proxy) -> Client:
    """The same sender, in a process that can be killed."""
    return Client(sender.home, Path.cwd(), proxy.address)


def make(owner: Share, *options: str) -> dict[str, Any]:
    made = owner.run("inbox", "new", "--json", *options)
    assert made.code == 0, made.err
    inbox: dict[str, Any] = json.loads(made.out)
    return inbox


def send(sender: Share, inbox: dict[str, Any], *arguments: str, data: bytes = b"") -> dict[str, Any]:
    sent = sender.run("up", *arguments, "--to", inbox["inbox_link"], "--json", data=data)
    assert sent.code == 0, sent.err
    receipt: dict[str, Any] = json.loads(sent.out)
    return receipt


def saved(share: Share, folder: str) -> list[Path]:
    return sorted((share.home / ".config" / "simple-file-sharing" / folder).glob("*"))


# The owner


def test_an_inbox_has_a_link_for_senders_and_one_for_its_owner(owner: Share, server: Server) -> None:
    ended = owner.run("inbox", "new", "--title", "Photos", "--max-files", "2", "--max-size", "1.5MB", "--expires", "2d")
    link = ended.out.decode().strip()
    assert (ended.code, ended.out.count(b"\n")) == (0, 1)
    (token_file,) = saved(owner, "inboxes")
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    token = json.loads(token_file.read_bytes())["owner_token"]
    assert "2 files, 1.5 MB" in ended.err
    assert f"{link}#owner={token}" in ended.err
    inbox_id = link.rpartition("/")[2]
    # Without the access token: by the ID, its first digits, either link, and the owner's link on another machine.
    for home, text in ((owner.home, inbox_id), (owner.home, inbox_id[:8]), (owner.home, link)):
        shown = Share(home, owner.server).run("inbox", "show", text, "--json")
        assert json.loads(shown.out)["max_bytes"] == 1_500_000, shown.err
    stranger = Share(owner.home.parent, "")
    assert json.loads(stranger.run("inbox", "show", f"{link}#owner={token}", "--json").out)["files"] == []
    assert "files" not in json.loads(stranger.run("inbox", "show", link, "--json").out)
    assert stranger.run("inbox", "close", link).code == 5
    assert stranger.run("inbox", "close", f"{link}#owner=wrong").code == 5
    # An access token does as well.
    assert Share(stranger.home, owner.server, owner.environment).run("inbox", "close", link).code == 0


def test_an_owner_changes_what_is_named_and_nothing_else(owner: Share, sender: Share) -> None:
    inbox = make(owner, "--title", "Photos", "--max-files", "1", "--max-file-size", "1MB", "--file-expires", "2d")
    send(sender, inbox, "-", data=b"hello")
    limits = ("--max-files", "3", "--max-size", "2MB", "--max-file-size", "default", "--note", "Thank you")
    ended = owner.run("inbox", "set", inbox["inbox_id"][:8], *limits)
    assert (ended.code, "2 of 3 left" in ended.out.decode()) == (0, True), ended.err
    changed = json.loads(owner.run("inbox", "set", inbox["owner_link"], "--expires", "30d", "--json").out)
    assert changed["expires_at"] > inbox["expires_at"]
    names = ("title", "note", "max_files", "max_bytes", "file_expires_in")
    assert [changed[name] for name in names] == ["Photos", "Thank you", 3, 2_000_000, 2 * 86400]
    assert changed["max_file_size"] > 1_000_000
    send(sender, inbox, "-", data=b"hello")
    # A link for senders changes nothing.
    assert sender.run("inbox", "set", inbox["inbox_link"], "--max-files", "9").code == 5


def test_a_list_has_what_was_created_here(owner: Share, sender: Share) -> None:
    first, second = make(owner, "--title", "First\x1b[31m"), make(owner, "--title", "Second", "--max-files", "3")
    send(sender, second, "-", data=b"hello")
    rows = owner.run("inbox", "ls").out.decode().splitlines()
    assert [row.split("\t")[0] for row in rows] == [second["inbox_id"], first["inbox_id"]]
    assert (rows[0].split("\t")[1], rows[0].split("\t")[4]) == ("2", "Second")
    assert "\x1b" not in rows[1]
    assert " left\n" in owner.run("inbox", "show", first["inbox_id"]).out.decode()
    assert owner.run("inbox", "close", first["inbox_id"]).code == 0
    assert owner.run("inbox", "ls").out.decode().splitlines()[1].split("\t")[3] == "closed"
    closed = owner.run("inbox", "show", first["inbox_id"]).out.decode().splitlines()
    # Neither what it could still take nor its note, which is empty.
    assert [line.partition("  ")[0] for line in closed] == ["title", "accepts files", "link"]
    # A list needs no access token, and has nothing on another machine.
    assert len(Share(owner.home, owner.server).run("inbox", "ls", "--json").out.splitlines()) == 2
    assert Share(sender.home, owner.server).run("inbox", "ls").out == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ("new", "--max-size", "lots"),
        ("new", "--max-size", "0"),
        ("new", "--max-files", "0"),
        ("new", "--expires", "soon"),
        ("set", "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"),
        ("show", "https://example.org/download/3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"),
        ("show", "https://example.org/inbox/3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10#owner"),
        ("show", "not an inbox"),
    ],
)
def test_wrong_usage_is_reported_before_any_request(share: Share, hostile: Proxy, arguments: tuple[str, ...]) -> None:
    assert share.run("inbox", *arguments).code == 2
    assert hostile.seen == []


# Senders


def test_a_sender_gets_a_receipt_that_deletes_the_file_and_does_nothing_else(
    owner: Share, sender: Share, proxy: Proxy
) -> None:
    inbox = make(owner)
    Path("photo.jpg").write_bytes(b"photo")
    proxy.seen.clear()
    sent = sender.run("up", "photo.jpg", "--to", f"{inbox['owner_link']}", "--from", "Ada & Søn")
    assert sent.code == 0, sent.err
    link = sent.out.decode().strip()
    assert "sent     photo.jpg, 5 bytes, verified" in sent.err
    assert f"share rm {link}" in sent.err
    assert not [seen for seen in proxy.seen if {"authorization", "x-owner-token"} & seen.headers.keys()]
    (file,) = json.loads(owner.run("inbox", "show", inbox["inbox_id"], "--json").out)["files"]
    assert (file["sender"], link.endswith(file["file_id"])) == ("Ada & Søn", True)
    assert sender.run("info", link).code == 5
    assert sender.run("down", link).code == 5
    assert sender.run("rm", link).code == 0
    assert json.loads(owner.run("inbox", "show", inbox["inbox_id"], "--json").out)["files"] == []


def test_an_encrypted_file_is_reported_and_the_others_are_saved(owner: Share, sender: Share) -> None:
    inbox = make(owner, "--title", "Mixed")
    encryption = json.dumps({"scheme": "c2sp-chunked-v1-aes128gcm", "metadata": "AAAA"})
    fields = {"inbox": inbox["inbox_id"], "encryption": encryption}
    answer = httpx.post(f"{owner.server}/file/upload", data=fields, files={"file": ("a.txt", b"x" * 72)})
    assert (answer.status_code, answer.json()["original_name"]) == (201, "encrypted")
    Path("b.txt").write_bytes(b"hello")
    send(sender, inbox, "b.txt")
    ended = owner.run("inbox", "get", inbox["inbox_id"])
    assert ended.code == 5
    assert "This file is encrypted" in ended.err
    assert [path.name for path in Path("Mixed").glob("[!.]*")] == ["b.txt"]


def test_refusals_are_plain(owner: Share, sender: Share) -> None:
    inbox = make(owner, "--max-files", "1", "--max-file-size", "5MB")
    link = inbox["inbox_link"]
    Path("small").write_bytes(b"x" * 10)
    Path("large").write_bytes(b"x" * 5_000_001)
    too_large = sender.run("up", "large", "--to", link)
    assert (too_large.code, too_large.err) == (9, "error: Too large: this inbox accepts files up to 5000000 bytes.\n")
    send(sender, inbox, "small")
    Path("large").write_bytes(b"x" * 5_000_000)
    for name in ("small", "large"):
        ended = sender.run("up", name, "--to", link)
        full = "error: This inbox has no room for this file. Ask its owner to raise the limits.\n"
        assert (ended.code, ended.err) == (9, full)
    assert owner.run("inbox", "close", link).code == 0
    for name in ("small", "large"):
        ended = sender.run("up", name, "--to", link)
        assert (ended.code, ended.err) == (4, "error: This inbox no longer accepts files.\n")
        assert sender.run("up", name, "--to", link.replace(inbox["inbox_id"], FILE_ID)).code == 3
    assert saved(sender, "unfinished") == []


@pytest.mark.parametrize("option", ["--expires=1d", "--max-downloads=1", "--password", "--private", "--direct", "--qr"])
def test_the_owner_decides_about_the_link(share: Share, hostile: Proxy, option: str) -> None:
    Path("a.txt").write_bytes(b"a")
    ended = share.run("up", "a.txt", "--to", FILE_ID, option, SHARE_PASSWORD="secret")
    assert (ended.code, hostile.seen) == (2, [])
    assert share.run("up", "a.txt", "--from", "Ada").code == 2


def test_a_server_without_inboxes_keeps_nothing(share: Share, hostile: Proxy) -> None:
    hostile.before = lambda seen: answer(description(share.server), 201) if seen.method == "PUT" else answer({})
    Path("empty.txt").write_bytes(b"")
    ended = share.run("up", "empty.txt", "--to", FILE_ID)
    assert (ended.code, "does not support inboxes" in ended.err) == (9, True)
    assert [seen.method for seen in hostile.seen] == ["PUT", "DELETE"]


def test_an_upload_resumes_into_the_same_inbox_only(client: Client, owner: Share, proxy: Proxy) -> None:
    first, second = make(owner), make(owner)
    write_large(client)
    for inbox in (first, second):
        proxy.reset()
        proxy.before = hold = HeldUp(passing=2)
        process = client.fork("up", "large.bin", "--to", first["inbox_link"])
        hold.wait(proxy, held=4)
        process.end()
        hold.release()
        proxy.reset()
        sent = client.json("up", "large.bin", "--to", inbox["inbox_link"])
        assert (sent["inbox_id"], sent["file_size"]) == (inbox["inbox_id"], (client.here / "large.bin").stat().st_size)
        assert proxy.part_bytes() == sent["file_size"] - (2 * PART if inbox is first else 0)
    # The upload that was not resumed has given up its place.
    shown = json.loads(owner.run("inbox", "show", first["inbox_id"], "--json").out)
    assert (len(shown["files"]), shown["files_left"]) == (1, 99)


# What came in


def test_everything_that_came_in_is_saved_once_and_nothing_is_overwritten(owner: Share, sender: Share) -> None:
    inbox = make(owner, "--title", "../Trip")
    names = ["a.txt", "A.TXT", "../../.bashrc", "b.part", "a.txt"]
    for number, name in enumerate(names):
        send(sender, inbox, "-", "--name", name, data=b"x" * number)
    folder = Path("Trip")
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"mine")
    got = owner.run("inbox", "get", inbox["inbox_id"])
    assert got.code == 0, got.err
    assert got.out.decode().splitlines() == [
        str(folder / name) for name in ("a (2).txt", "A (3).TXT", "bashrc", "b.part_", "a (4).txt")
    ]
    assert (folder / "a.txt").read_bytes() == b"mine"
    assert [(folder / name).stat().st_size for name in ("a (2).txt", "A (3).TXT", "bashrc", "b.part_")] == [0, 1, 2, 3]
    # Again: only what is new or was removed, under the same names.
    (folder / "A (3).TXT").unlink()
    send(sender, inbox, "-", "--name", "new.txt", data=b"new")
    again = owner.run("inbox", "get", inbox["owner_link"], SHARE_TOKEN="")
    assert again.out.decode().splitlines() == [str(folder / "A (3).TXT"), str(folder / "new.txt")]
    assert "4 already in Trip" in again.err
    assert owner.run("inbox", "get", inbox["inbox_id"]).out == b""


def test_an_inbox_without_files_leaves_no_folder(owner: Share) -> None:
    got = owner.run("inbox", "get", make(owner, "--title", "Nothing")["inbox_id"])
    assert (got.code, got.out, got.err) == (0, b"", "No files in this inbox.\n")
    assert not Path("Nothing").exists()


def test_the_limit_of_a_file_is_shown_only_if_it_is_less_than_what_is_left(owner: Share) -> None:
    inbox = make(owner, "--max-size", "1MB")
    for size, shown in (("2MB", "1.0 MB left\n"), ("500kB", "1.0 MB left, at most 500.0 kB per file\n")):
        changed = owner.run("inbox", "set", inbox["inbox_id"], "--max-file-size", size)
        assert f"size           {shown}" in changed.out.decode(), changed.err


def test_some_files_are_chosen_by_name_or_id(owner: Share, sender: Share) -> None:
    inbox = make(owner)
    receipts = [send(sender, inbox, "-", "--name", name, data=b"data") for name in ("a", "b", "c")]
    got = owner.run("inbox", "get", inbox["inbox_id"], "a", receipts[2]["file_id"][:20], "-o", "there", "--json")
    assert got.code == 0, got.err
    files = [json.loads(line) for line in got.out.splitlines()]
    assert [(file["file_id"], file["verified"]) for file in files] == [
        (receipts[0]["file_id"], True),
        (receipts[2]["file_id"], True),
    ]
    assert sorted(path.name for path in Path("there").iterdir()) == [".share-inbox.json", "a", "c"]
    assert owner.run("inbox", "get", inbox["inbox_id"], "d").code == 3
    # A stranger with the link for senders gets nothing.
    assert sender.run("inbox", "get", inbox["inbox_link"]).code == 5


def test_a_download_of_what_came_in_resumes(client: Client, owner: Share, proxy: Proxy) -> None:
    inbox = make(owner)
    data = write_large(client).read_bytes()
    client.json("up", "large.bin", "--to", inbox["inbox_link"])
    proxy.through = cut = FirstBytes(2 * PART, hold=True)
    process = client.start("inbox", "get", inbox["owner_link"], "-o", "there")
    assert cut.reached.wait(WITHIN)
    part = client.here / "there" / "large.bin.part"
    until(lambda: part.exists() and part.stat().st_size > PART)
    # Meanwhile, the list of processes does not show the token.
    shown = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    process.kill()
    process.communicate()
    cut.release()
    assert b"#owner=\0" in shown
    assert inbox["owner_token"].encode() not in shown
    got = client.json("inbox", "get", inbox["owner_link"], "-o", "there")
    assert got["resumed_at"] > PART
    assert (client.here / "there" / "large.bin").read_bytes() == data


def test_the_owner_token_stays_out_of_logs_and_with_its_server(
    owner: Share, sender: Share, server: Server, proxy: Proxy
) -> None:
    inbox = make(owner, "--title", "a-title-for-no-log", "--note", "a-note-for-no-log")
    send(sender, inbox, "-", "--from", "a-name-for-no-log", data=b"data")
    for command in ("show", "get", "close"):
        assert sender.run("inbox", command, inbox["owner_link"]).code == 0
    assert not [seen for seen in proxy.seen if inbox["owner_token"] in seen.target]
    log = server.data.with_suffix(".log").read_text()
    assert "/inbox/" in log
    assert not [word for word in (inbox["owner_token"], "for-no-log") if word in log]
    # The same inbox on another server is another inbox, whose owner token is not here.
    with Proxy(1) as elsewhere:
        elsewhere.before = lambda _seen: answer({}, 404)
        owner.run("inbox", "show", f"{elsewhere.address}/inbox/{inbox['inbox_id']}")
        assert not {"x-owner-token", "authorization"} & elsewhere.seen[0].headers.keys()


def test_names_of_any_length_get_distinct_paths(tmp_path: Path) -> None:
    long = f"{'ü' * 200}.jpeg"
    files = [
        RemoteFile(
            file_id,
            description("http://a", original_name=long, download_link=f"http://a/{file_id}", download_page=None),
        )
        for file_id in (FILE_ID, FILE_ID.replace("3f", "4f"))
    ]
    first = assign(tmp_path / "there", files)
    assert len(set(first.values())) == 2
    for path in first.values():
        path.with_name(f"{path.name}.part.json").touch()
        assert path.suffix == ".jpeg"
    assert assign(tmp_path / "there", files) == first
