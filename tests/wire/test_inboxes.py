"""Many concurrent senders, senders that lie or vanish, and servers that are killed: the limits of an inbox hold."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InboxFull
from shared.inboxes import Inboxes
from shared.places import Delivery
from shared.sharing import Shares, utc_now
from shared.storage.directory.store import DirectoryStore
from shared.storage.inboxes import Place
from shared.sweeping import Sweep
from shared.uploads import Upload
from tests.properties.effort import EFFORT
from tests.wire.server import BOUNDARY, FORM_TAIL, FORM_TYPE, WITHIN, Server, until

SENDERS = 500
AT_ONCE = 50
# On S3, every change waits for all others that are made at once. A server gives up after ten seconds, and then a place
# stays reserved for an hour, so few may be made at once, however slow the machine is.
SENDERS_ON_S3 = 100
AT_ONCE_ON_S3 = 8
MAX_FILES = 5
SIZE = 100
# Room for exactly all files, so that a reservation that is too large would exclude another sender.
MAX_BYTES = MAX_FILES * SIZE
SMALL_INBOX = {"max_files": MAX_FILES, "max_bytes": MAX_BYTES}
# Servers also reserve places ahead in these: one in the first, and up to a quarter of what is left in the second.
ROOMY_INBOXES = [{"max_files": MAX_FILES, "max_bytes": 2**30}, {"max_files": 64, "max_bytes": 2**30}]


def make(server: Server, **options: int) -> dict[str, Any]:
    with contextlib.closing(server.client()) as client:
        client.request("POST", "/inbox", json.dumps(options), {"Content-Type": "application/json"})
        response = client.getresponse()
        assert response.status == 201
        inbox: dict[str, Any] = json.loads(response.read())
        return inbox


def look(server: Server, inbox: dict[str, Any]) -> dict[str, Any]:
    with contextlib.closing(server.client()) as client:
        client.request("GET", f"/inbox/{inbox['inbox_id']}", headers={"X-Owner-Token": inbox["owner_token"]})
        seen: dict[str, Any] = json.loads(client.getresponse().read())
        return seen


def close(server: Server, inbox: dict[str, Any]) -> None:
    with contextlib.closing(server.client()) as client:
        client.request("DELETE", f"/inbox/{inbox['inbox_id']}", headers={"X-Owner-Token": inbox["owner_token"]})
        assert client.getresponse().status == 204


def chunked(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks


def begin(client: HTTPConnection, path: str) -> None:
    """Send the beginning of a file of unknown size, whose place is reserved before its body has arrived."""
    client.putrequest("PUT", path)
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders(b"a\r\n" + b"x" * 10 + b"\r\n")


def send(server: Server, inbox: dict[str, Any], kind: str) -> int:
    """The status of one upload, after retries if the server asks for them; 0 if the sender vanished."""
    deadline = time.monotonic() + 4 * WITHIN
    path = f"/inbox/{inbox['inbox_id']}/a.bin"
    while True:
        with contextlib.closing(server.client()) as client, contextlib.suppress(ConnectionError):
            match kind:
                case "announced":
                    client.request("PUT", path, b"x" * SIZE)
                case "unknown":
                    client.request("PUT", path, chunked(b"x" * 50, b"x" * 50), encode_chunked=True)
                case "too much":
                    client.request("PUT", path, chunked(b"x" * SIZE, b"x"), encode_chunked=True)
                case "vanishes":
                    begin(client, path)
                    return 0
            response = client.getresponse()
            response.read()
            if response.status != 503:
                return response.status
            assert time.monotonic() < deadline
            time.sleep(0.1)


def has_left(server: Server, inbox: dict[str, Any], files: int) -> bool:
    return bool(look(server, inbox)["files_left"] == files)


def race(
    servers: list[Server], rounds: int, senders: int, at_once: int, limits: Mapping[str, int] = SMALL_INBOX
) -> None:
    max_files = limits["max_files"]
    for _ in range(rounds):
        inbox = make(servers[0], max_file_size=SIZE, **limits)
        kinds = itertools.cycle(["announced", "unknown", "too much", "vanishes"])
        start = threading.Barrier(at_once)

        def sender(number: int, kind: str, inbox: dict[str, Any] = inbox, start: threading.Barrier = start) -> int:
            if number < at_once:
                start.wait(WITHIN)
            return send(servers[number % len(servers)], inbox, kind)

        with ThreadPoolExecutor(at_once) as pool:
            statuses = Counter(pool.map(sender, range(senders), kinds))
        assert set(statuses) <= {0, 201, 413}, statuses
        assert statuses[201] <= max_files
        # Reservations of failed uploads are released.
        until(functools.partial(has_left, servers[-1], inbox, max_files - statuses[201]))
        for _ in range(max_files - statuses[201]):
            assert send(servers[0], inbox, "announced") == 201
        assert send(servers[-1], inbox, "announced") == 413
        seen = look(servers[0], inbox)
        assert (len(seen["files"]), seen["files_left"], seen["bytes_left"]) == (max_files, 0, 0)
        assert {file["file_size"] for file in seen["files"]} == {SIZE}


def test_workers_of_one_machine_keep_limits_together(workers: list[Server]) -> None:
    race(workers, 2 * EFFORT, SENDERS, AT_ONCE)


@pytest.mark.parametrize("limits", ROOMY_INBOXES)
def test_workers_that_reserve_places_ahead_keep_limits_together(workers: list[Server], limits: dict[str, int]) -> None:
    race(workers, EFFORT, SENDERS // 2, AT_ONCE, limits)


@pytest.mark.parametrize("limits", ROOMY_INBOXES)
def test_machines_that_reserve_places_ahead_keep_limits_together(
    machines: list[Server], limits: dict[str, int]
) -> None:
    race(machines, EFFORT, SENDERS_ON_S3, AT_ONCE_ON_S3, limits)


def test_machines_with_one_bucket_keep_limits_together(machines: list[Server]) -> None:
    race(machines, EFFORT, SENDERS_ON_S3, AT_ONCE_ON_S3)


def test_machines_on_seaweedfs_keep_limits_together(machines_on_seaweedfs: list[Server]) -> None:
    race(machines_on_seaweedfs, EFFORT, SENDERS_ON_S3, AT_ONCE_ON_S3)


@contextlib.contextmanager
def half_sent_from(server: Server, inbox: dict[str, Any]) -> Iterator[None]:
    """All remaining places, reserved by uploads that never end."""
    left = look(server, inbox)["files_left"]
    with contextlib.ExitStack() as stack:
        for _ in range(left):
            client = stack.enter_context(contextlib.closing(server.client()))
            begin(client, f"/inbox/{inbox['inbox_id']}/a.bin")
        until(lambda: look(server, inbox)["files_left"] == 0)
        yield


def test_a_small_file_that_arrives_slowly_keeps_nobody_out(tmp_path: Path) -> None:
    """Its place is reserved once it has arrived, so that it takes no longer than without an inbox."""
    with Server(tmp_path / "data") as server, contextlib.closing(server.client()) as slow:
        inbox = make(server, max_files=1)
        slow.putrequest("PUT", f"/inbox/{inbox['inbox_id']}/slow.bin")
        slow.putheader("Content-Length", str(SIZE))
        slow.endheaders(b"x" * 10)
        assert send(server, inbox, "announced") == 201
        slow.send(b"x" * (SIZE - 10))
        response = slow.getresponse()
        assert (response.status, json.loads(response.read())["title"]) == (413, "Inbox full")
        assert look(server, inbox)["files_left"] == 0


def test_places_that_a_killed_server_had_reserved_are_free_after_an_hour(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data) as server:
        inbox = make(server, max_files=MAX_FILES, max_bytes=MAX_BYTES, max_file_size=SIZE)
        assert send(server, inbox, "announced") == 201
        with half_sent_from(server, inbox):
            server.process.kill()
            server.process.wait()

    def after(hours: int) -> Shares:
        return Shares(DirectoryStore(data), max_file_size=SIZE, clock=lambda: utc_now() + timedelta(hours=hours))

    soon, later = after(0), after(1)
    with pytest.raises(InboxFull):
        Upload(soon, Delivery(inbox["inbox_id"]))
    inboxes = Inboxes(later)
    assert inboxes.left(inboxes.find(inbox["inbox_id"])) == (MAX_FILES - 1, MAX_BYTES - SIZE)
    # The sweep also removes them from the inbox.
    assert Sweep(after(2)).run().failed == 0
    assert [*inboxes.find(inbox["inbox_id"]).places.values()] == [Place(SIZE)]
    for _ in range(MAX_FILES - 1):
        Upload(later, Delivery(inbox["inbox_id"]))
    with pytest.raises(InboxFull):
        Upload(later, Delivery(inbox["inbox_id"]))


def send_form(server: Server, inbox: dict[str, Any], surplus: int, part_header: bytes) -> bool:
    """Whether a form is accepted whose announced length is its own and `surplus` bytes."""
    mark = b"--" + BOUNDARY
    field = mark + b'\r\nContent-Disposition: form-data; name="inbox"\r\n\r\n' + inbox["inbox_id"].encode()
    file = mark + b'\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n' + part_header
    form = field + b"\r\n" + file + b"\r\n" + b"x" * SIZE + FORM_TAIL
    head = f"POST /file/upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {FORM_TYPE}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), WITHIN) as client:
        client.sendall(f"{head}Content-Length: {len(form) + surplus}\r\n\r\n".encode() + form)
        if surplus > 0:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(65536):
                answer += data
    return b" 201 " in answer.partition(b"\r\n")[0]


def test_a_form_with_a_false_length_takes_no_more_than_its_place(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        # A part's own length means nothing (RFC 7578 section 4.8).
        for part_header in (b"", b"Content-Length: 10\r\n", b"Content-Length: 1000000\r\n"):
            inbox = make(server, max_files=1, max_bytes=SIZE)
            assert send_form(server, inbox, 0, part_header)
            seen = look(server, inbox)
            assert [file["file_size"] for file in seen["files"]] == [SIZE]
            assert send(server, inbox, "announced") == 413
        # The sender ends before the announced length, or goes on after it: then the end of the form is cut off.
        for surplus in (50, -10, -80):
            inbox = make(server, max_files=1, max_bytes=SIZE)
            assert not send_form(server, inbox, surplus, b"")
            until(functools.partial(has_left, server, inbox, 1))
            seen = look(server, inbox)
            assert (seen["files"], seen["bytes_left"]) == ([], SIZE)
            # The place is there for the next sender.
            assert send(server, inbox, "announced") == 201


def test_a_closed_inbox_refuses_the_next_part(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        inbox = make(server)

        def ask(method: str, path: str, body: object) -> tuple[int, bytes]:
            with contextlib.closing(server.client()) as client:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                client.request(method, path, content, {"Content-Type": "application/json"})
                response = client.getresponse()
                return response.status, response.read()

        metadata = {"inbox": inbox["inbox_id"]}
        status, answer = ask("POST", "/file/s3/multipart", {"filename": "a.bin", "metadata": metadata})
        started = json.loads(answer)
        part = f"/file/s3/multipart/{started['uploadId']}/1?key={started['key']}"
        assert (status, ask("PUT", part, b"x")[0]) == (200, 200)
        close(server, inbox)
        assert ask("PUT", part, b"y")[0] == 410
